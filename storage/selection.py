"""Which backend `ENVIRONMENT` selects."""

import functools
import os
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from django.core.cache.backends.base import BaseCache

    from storage.archive.archive import Archive
    from storage.interface import Storage


def get_storage() -> "Storage":
    """The storage of this process. Threads share it; a forked child gets its own."""
    return _storage_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _storage_of(process_id: int) -> "Storage":
    from django.core.cache import caches

    from storage.archive.archive import configured_archive

    archive = configured_archive()
    if settings.ENVIRONMENT == "production":
        return _cloud_storage(caches["default"], archive)

    from storage.sqlite.storage import LocalStorage

    return LocalStorage("default", caches["default"], archive)


def _cloud_storage(cache: "BaseCache", archive: "Archive") -> "Storage":
    from storage.dynamodb.configured import configured_client
    from storage.dynamodb.storage import CloudStorage

    return CloudStorage(configured_client(), cache, settings.DYNAMODB_CONNECTIONS, archive)
