"""What the SQL database keeps: interactions (where it is the backend), keys, replay protection."""

from storage.models.api_key import ApiKey
from storage.models.archived import ArchivedInteraction
from storage.models.idempotency import IdempotencyRecord
from storage.models.interaction import ChatInteraction
from storage.models.lock import Lock

__all__ = ["ApiKey", "ArchivedInteraction", "ChatInteraction", "IdempotencyRecord", "Lock"]
