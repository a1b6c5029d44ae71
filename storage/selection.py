"""Which backend `ENVIRONMENT` selects."""

import functools
import os
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from storage.interface import Storage


def get_storage() -> "Storage":
    """The storage of this process. Threads share it; a forked child gets its own."""
    return _storage_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _storage_of(process_id: int) -> "Storage":
    if settings.ENVIRONMENT == "production":
        raise ImproperlyConfigured(
            "ENVIRONMENT=production selects DynamoDB and Redis, which this version does not "
            "have yet. Use another name, such as ENVIRONMENT=staging, to run on SQLite."
        )
    from django.core.cache import caches

    from storage.sqlite.storage import LocalStorage

    return LocalStorage("default", caches["default"])
