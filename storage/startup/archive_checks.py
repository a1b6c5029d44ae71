"""System checks of the archive: its folder or bucket must exist and be usable by this process."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core import checks
from django.core.files.storage import Storage, storages

from storage.archive.folder import ArchiveFolder
from storage.startup.selection import is_production

Messages = list[checks.CheckMessage]


@checks.register(checks.Tags.files)
def check_folder(**kwargs: Any) -> Messages:
    """storage.E009: this process must be able to write to the archive's folder."""
    backend = _backend()
    if not isinstance(backend, ArchiveFolder):
        return []
    location = Path(backend.location)
    existing = next(path for path in (location, *location.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return []
    return [
        checks.Error(
            f"The archive cannot be in {location}: {existing} is not a folder to which the user of "
            "this process may write.",
            hint="Set ARCHIVE_DIR to a folder of that user, or set ARCHIVE_BUCKET.",
            id="storage.E009",
        )
    ]


@checks.register(checks.Tags.files, deploy=True)
def check_place(**kwargs: Any) -> Messages:
    """storage.E010: the bucket must answer. storage.W005: production should have a bucket."""
    return list(_of_place(_backend()))


def _of_place(backend: Storage) -> Iterator[checks.CheckMessage]:
    if isinstance(backend, ArchiveFolder):
        if is_production():
            yield checks.Warning(
                f"The archive is in {backend.location}, on this machine. Servers on other machines "
                "cannot read it, and this disk has its only copy.",
                hint="Set ARCHIVE_BUCKET, or use a folder that all servers share.",
                id="storage.W005",
            )
        return
    from storage.archive.bucket import ArchiveBucket

    try:
        cast("ArchiveBucket", backend).look()
    except OSError as error:
        yield checks.Error(
            f"The archive in ARCHIVE_BUCKET cannot be listed: {error.strerror}.",
            hint="Check ARCHIVE_BUCKET, AWS_REGION, ARCHIVE_ENDPOINT_URL, and that the policy has "
            "s3:ListBucket, s3:ListBucketVersions, s3:GetObject, s3:PutObject, s3:DeleteObject "
            "and s3:DeleteObjectVersion.",
            id="storage.E010",
        )


def _backend() -> Storage:
    parameters: Any = settings.STORAGES["archive"]
    return storages.create_storage(parameters)
