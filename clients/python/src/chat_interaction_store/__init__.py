"""Saves and reads chat interactions with language models in a chat interaction store."""

from chat_interaction_store.async_store import AsyncStore
from chat_interaction_store.background import BackgroundStore
from chat_interaction_store.errors import (
    Conflict,
    InvalidRequest,
    Mistake,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Refused,
    StoreError,
    StoreUnavailable,
)
from chat_interaction_store.interactions import Interaction, NewInteraction, Saved
from chat_interaction_store.store import Store
from chat_interaction_store.usage import Usage, UsageReport

__all__ = [
    "AsyncStore",
    "BackgroundStore",
    "Conflict",
    "Interaction",
    "InvalidRequest",
    "Mistake",
    "NewInteraction",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "Refused",
    "Saved",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "Usage",
    "UsageReport",
]
