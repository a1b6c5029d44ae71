"""The models of the SQL database: API keys and, where it is the backend, interactions."""

from storage.models.api_key import ApiKey, ApiKeyUse
from storage.models.archived import ArchivedInteraction
from storage.models.audit_entry import AuditEntry
from storage.models.idempotency import IdempotencyRecord
from storage.models.intake import IntakeCount
from storage.models.interaction import ChatInteraction
from storage.models.lock import Lock
from storage.models.text_change import TextChange
from storage.models.usage import (
    ForgottenUser,
    ModelPrice,
    StreamPosition,
    UsageOfModel,
    UsageOfUser,
    UsageRebuild,
)

__all__ = [
    "ApiKey",
    "ApiKeyUse",
    "ArchivedInteraction",
    "AuditEntry",
    "ChatInteraction",
    "ForgottenUser",
    "IdempotencyRecord",
    "IntakeCount",
    "Lock",
    "ModelPrice",
    "StreamPosition",
    "TextChange",
    "UsageOfModel",
    "UsageOfUser",
    "UsageRebuild",
]
