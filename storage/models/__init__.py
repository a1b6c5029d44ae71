"""The models of the SQL database: API keys and, where it is the backend, interactions."""

from storage.models.api_key import ApiKey
from storage.models.archived import ArchivedInteraction
from storage.models.idempotency import IdempotencyRecord
from storage.models.intake import IntakeCount
from storage.models.interaction import ChatInteraction
from storage.models.lock import Lock

__all__ = [
    "ApiKey",
    "ArchivedInteraction",
    "ChatInteraction",
    "IdempotencyRecord",
    "IntakeCount",
    "Lock",
]
