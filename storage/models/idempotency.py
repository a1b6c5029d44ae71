"""`IdempotencyRecord`: the interaction that a request with an `Idempotency-Key` created."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import models

from storage import limits

IDEMPOTENCY_LIFETIME = timedelta(hours=24)
"""How long a key is remembered. After that, a repeated request counts as a new one."""


@dataclass(frozen=True)
class Idempotency:
    """A client's idempotency key and its request, both as keyed hashes.

    The hash `key` must include the caller, so that two callers can use the same key. `earlier` has
    both as they were hashed before SECRET_KEY was changed: a request that was remembered under one
    of them is the same request. New ones are remembered under `key` only.
    """

    key: str
    request: str
    earlier: "tuple[Idempotency, ...]" = ()

    @property
    def known_as(self) -> "tuple[Idempotency, ...]":
        """All that it may be remembered as."""
        return (self, *self.earlier)


class IdempotencyRecord(models.Model):
    """Written in the same transaction as the interaction. Contains hashes, never text."""

    key = models.CharField(primary_key=True, max_length=64)
    request = models.CharField(max_length=64)
    interaction_id = models.CharField(max_length=limits.IDENTIFIER_MAX_LENGTH)
    user_id = models.CharField(max_length=limits.IDENTIFIER_MAX_LENGTH, default="", db_index=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
