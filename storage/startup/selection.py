"""Selects the backend by `ENVIRONMENT`, and makes its storage."""

import functools
import os
import threading
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from django.core.cache.backends.base import BaseCache

    from storage.archive.archive import Archive
    from storage.dynamodb.client import Client
    from storage.interface import CloudStorage, LocalStorage, Storage


S3 = "s3://"


def get_storage() -> "Storage":
    """Returns the storage of this process. Threads share it. A forked child gets its own."""
    with _one_at_a_time:  # otherwise several threads could make one each
        return _storage_of(os.getpid())


def _forget_parent() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()  # another thread of the parent may have held it


_one_at_a_time = threading.Lock()
os.register_at_fork(after_in_child=_forget_parent)


@functools.lru_cache(maxsize=1)
def _storage_of(process_id: int) -> "Storage":
    from django.core.cache import caches

    from storage.archive.archive import configured_archive

    archive = configured_archive()
    if is_production():
        return cloud_storage(configured_client(), caches["default"], archive)
    return local_storage("default", caches["default"], archive)


def local_storage(alias: str, values: "BaseCache", archive: "Archive") -> "LocalStorage":
    """Returns the storage in the SQL database `alias`, with an in-memory cache in `values`."""
    from storage.cache.in_memory import InMemoryCache
    from storage.interface import LocalStorage
    from storage.large.texts import LargeTexts
    from storage.sqlite.database import SqliteDatabase

    sqlite = SqliteDatabase(alias, LargeTexts(archive.files))
    memory_cache = InMemoryCache(values, sqlite.changes, settings.CACHE_TTL)
    return LocalStorage(sqlite, memory_cache, archive)


def cloud_storage(client: "Client", cache: "BaseCache", archive: "Archive") -> "CloudStorage":
    """Returns the storage in the table of a client, cached if `cache` is one of django-redis."""
    from storage.cache.shared import shared_cache
    from storage.dynamodb.database import DynamoDBDatabase
    from storage.dynamodb.generations import DynamoDBGenerations
    from storage.interface import CloudStorage
    from storage.large.texts import LargeTexts

    dynamodb = DynamoDBDatabase(client, settings.DYNAMODB_CONNECTIONS, LargeTexts(archive.files))
    return CloudStorage(dynamodb, shared_cache(cache, DynamoDBGenerations(client)), archive)


def is_production() -> bool:
    """Whether interactions are kept in DynamoDB, and not in the SQL database."""
    return bool(settings.ENVIRONMENT == "production")


def configured_client() -> "Client":
    """A client of the table that the settings name. Raises ImproperlyConfigured."""
    from storage.dynamodb.configured import configured_client

    return configured_client()


def storage_named(name: str, archive: "Archive | None" = None) -> "Storage":
    """Returns the storage `local` or `cloud`, for processes that use both.

    With `archive`, over that one in place of the configured. Raises ImproperlyConfigured.
    """
    if is_production():
        raise ImproperlyConfigured(
            "With ENVIRONMENT=production interactions cannot be in the SQL database. Run this with "
            "ENVIRONMENT unset, with AWS_REGION and DYNAMODB_TABLE set, and with REDIS_URL and "
            "ARCHIVE_BUCKET set if the servers have them."
        )
    from django.core.cache import caches

    from storage.archive.archive import configured_archive

    if name == "cloud":
        archive = archive or configured_archive()
        return cloud_storage(configured_client(), _cache_of_servers(), archive)
    return local_storage("default", caches["default"], archive) if archive else get_storage()


def place_named(name: str) -> str:
    """Returns the file or table that `storage_named` uses."""
    if name == "local":
        return f"file {settings.DATABASES['default']['NAME']}"
    where = settings.DYNAMODB_ENDPOINT_URL or settings.AWS_REGION
    return f"table {settings.DYNAMODB_TABLE} in {where}"


def archive_at(place: str) -> "Archive":
    """Returns the archive in a folder, or in `s3://bucket` in the region of the settings."""
    from storage.archive.archive import Archive
    from storage.archive.bucket import ArchiveBucket
    from storage.archive.folder import ArchiveFolder

    if not place.startswith(S3):
        return Archive(ArchiveFolder(place))
    endpoint = settings.ARCHIVE_ENDPOINT_URL or None
    return Archive(ArchiveBucket(_bucket(place), settings.AWS_REGION or None, endpoint))


def is_configured_archive(place: str) -> bool:
    """Whether `archive_at` would return the archive of the settings."""
    options = settings.STORAGES["archive"]["OPTIONS"]
    if place.startswith(S3):
        return options.get("bucket_name") == _bucket(place)
    folder = options.get("location")
    return folder is not None and os.path.realpath(folder) == os.path.realpath(place)


def _bucket(place: str) -> str:
    return place.removeprefix(S3).rstrip("/")


def _cache_of_servers() -> "BaseCache":
    """Returns the cache of the production servers, whatever ENVIRONMENT is."""
    from django.core.cache import CacheHandler

    from storage.cache.redis import redis_cache

    cache = settings.NO_CACHE
    if settings.REDIS_URL:
        connections = settings.DYNAMODB_CONNECTIONS + 2  # one for this thread, one for repairs
        cache = redis_cache(settings.REDIS_URL, max_connections=connections)
    return CacheHandler({"default": cache})["default"]
