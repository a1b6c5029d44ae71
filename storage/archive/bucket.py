"""The archive as an S3 bucket.

Deleting is final: if the bucket keeps versions, those of deleted and replaced objects are deleted
as well. This needs s3:ListBucketVersions and s3:DeleteObjectVersion.
"""

import errno
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from os.path import commonprefix
from typing import Any

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    ReadTimeoutError,
)
from botocore.exceptions import ConnectionError as NoConnection
from django.core.files import File
from storages.backends.s3 import S3Storage

from storage.archive.files import Entry
from storage.compat import batched
from storage.records.http_dates import time_in

CLIENT = Config(
    connect_timeout=2,
    read_timeout=4,
    retries={"mode": "standard", "total_max_attempts": 3},
    signature_version="s3v4",
)
"""Seconds. While S3 hangs, a request for a large text or a cold interaction ends after eight or
nine, as one does while DynamoDB hangs: see `_no_answer_twice`."""

READS_AT_ONCE = 4
"""Reads of a process that wait for S3: fewer than the threads of a server, so that those who need
nothing of S3 go on while it hangs."""

READ_WAITS_SECONDS = 1
"""How long a read waits for one of these places."""

DELETED_AT_ONCE = 1_000
"""The most that S3 deletes in one call."""


class ArchiveBucket(S3Storage):
    """Objects that are written in one request, whatever their size, and read in parts.

    Errors of S3 and of the network are raised as OSError. No ACL is sent: objects are private
    without one, and a bucket with ACLs disabled, as new ones are, would refuse it.
    """

    def __init__(self, bucket_name: str, region_name: str | None, endpoint_url: str | None) -> None:
        super().__init__(
            bucket_name=bucket_name,
            region_name=region_name,
            endpoint_url=endpoint_url,
            client_config=_config(endpoint_url),
            default_acl=None,
            file_overwrite=True,
            location="",
        )
        self._reads = threading.BoundedSemaphore(READS_AT_ONCE)

    def _create_session(self) -> Any:
        session = super()._create_session()
        session.events.register("needs-retry.s3", _no_answer_twice)
        return session

    def look(self) -> None:
        """Check access: list objects, and versions of objects."""
        with _as_os_errors():
            self._client.list_objects_v2(Bucket=self.bucket_name, MaxKeys=1)
            self._client.list_object_versions(Bucket=self.bucket_name, MaxKeys=1)

    def server_time(self) -> datetime | None:
        """What the clock of S3 says, to the second; None if its answer does not tell."""
        with _as_os_errors():
            answer = self._client.list_objects_v2(Bucket=self.bucket_name, MaxKeys=1)
        return time_in(answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date"))

    def read_range(self, name: str, offset: int, length: int | None) -> bytes:
        """`length` bytes from `offset`, or all if it is None; fewer at the end of the object."""
        last = "" if length is None else offset + length - 1
        with self._place_to_read(), _as_os_errors():
            try:
                answer = self._client.get_object(**self._at(name), Range=f"bytes={offset}-{last}")
                return answer["Body"].read()[:length]  # a range cannot be empty
            except ClientError as error:
                if _code(error) == "InvalidRange":  # the object ends before `offset`
                    return b""
                raise

    @contextmanager
    def _place_to_read(self) -> Iterator[None]:
        if not self._reads.acquire(timeout=READ_WAITS_SECONDS):
            raise TimeoutError(errno.ETIMEDOUT, "too many reads are waiting for S3")
        try:
            yield
        finally:
            self._reads.release()

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """The folders and objects in a folder, at 1,000 a request."""
        with _as_os_errors():
            return super().listdir(path)

    def entries(self, prefix: str, after: str) -> Iterator[Entry]:
        """The objects whose names begin with `prefix` and come after `after`, sorted."""
        with _as_os_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket_name, Prefix=prefix, StartAfter=after
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    yield Entry(found["Key"], found["Size"], found["LastModified"])

    def delete(self, name: str) -> None:
        """Delete an object with all its versions."""
        with _as_os_errors():
            answer = self._client.delete_object(**self._at(name))
            if _has_versions(answer):
                self._delete_versions(
                    version for version in self._versions(name) if version["Key"] == name
                )

    def create_all(self, names: Sequence[str]) -> None:
        """Create empty objects. Their names are new, so there are no earlier versions."""
        with _as_os_errors():
            for name in names:
                self._client.put_object(**self._at(name), Body=b"")

    def delete_all(self, names: Sequence[str]) -> None:
        """Delete objects with all their versions, many in one request."""
        with _as_os_errors():
            for batch in batched(names, DELETED_AT_ONCE):
                deleted = self._delete_objects([{"Key": name} for name in batch], "DeleteObject")
                if any(map(_has_versions, deleted)):
                    versions = self._versions(commonprefix(batch))  # noqa: RUF071
                    self._delete_versions(each for each in versions if each["Key"] in set(batch))

    def remove_leftovers(self, prefixes: tuple[str, ...], seconds: float = 0) -> None:
        """Delete earlier versions of objects whose names begin with one of these prefixes."""
        with _as_os_errors():
            leftovers = (
                version
                for versions in self._versions_by_name(commonprefix(prefixes))  # noqa: RUF071
                if versions[0]["Key"].startswith(prefixes)
                for version in _leftovers(versions)
            )
            for batch in batched(leftovers, DELETED_AT_ONCE):
                self._delete_versions(batch)

    def _save(self, name: str, content: "File[Any]") -> str:
        with _as_os_errors():
            content.seek(0)
            answer = self._client.put_object(**self._at(name), Body=content.file)
            if _has_versions(answer):
                self._delete_versions(
                    version
                    for version in self._versions(name)
                    if version["Key"] == name and not version["IsLatest"]
                )
        return name

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": self._normalize_name(name)}

    def _versions(self, prefix: str) -> Iterator[dict[str, Any]]:
        """All versions, and delete markers, of objects whose names begin with `prefix`."""
        pages = self._client.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self.bucket_name, Prefix=prefix):
            yield from page.get("Versions", ())
            yield from page.get("DeleteMarkers", ())

    def _versions_by_name(self, prefix: str) -> Iterator[list[dict[str, Any]]]:
        """The same, all versions of one object together. Those of few are in memory."""
        pages = self._client.get_paginator("list_object_versions")
        left: list[dict[str, Any]] = []
        for page in pages.paginate(Bucket=self.bucket_name, Prefix=prefix):
            found = [*left, *page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            by_name: dict[str, list[dict[str, Any]]] = {}
            for version in found:
                by_name.setdefault(version["Key"], []).append(version)
            left = by_name.pop(max(by_name), []) if by_name else []  # may go on in the next page
            yield from by_name.values()
        if left:
            yield left

    def _delete_versions(self, versions: Iterable[dict[str, Any]]) -> None:
        """Delete versions. Delete markers go last, so that no version reappears meanwhile."""
        found = sorted(versions, key=lambda version: "Size" not in version)
        for batch in batched(found, DELETED_AT_ONCE):
            objects = [{name: version[name] for name in ("Key", "VersionId")} for version in batch]
            self._delete_objects(objects, "DeleteObjectVersion")

    def _delete_objects(self, objects: list[dict[str, str]], action: str) -> list[dict[str, Any]]:
        """Delete up to DELETED_AT_ONCE objects, or versions of objects. Returns S3's answers."""
        answer = self._client.delete_objects(
            Bucket=self.bucket_name, Delete={"Objects": objects, "Quiet": False}
        )
        if errors := answer.get("Errors"):
            raise OSError(None, f"S3 answered {errors[0]['Code']} to {action}")
        deleted: list[dict[str, Any]] = answer.get("Deleted", [])
        return deleted


def _no_answer_twice(attempts: int, caught_exception: Exception | None, **_: Any) -> None:
    """A botocore handler: an attempt that was not answered in time is repeated once.

    A third would keep a person waiting for another five seconds. Errors of S3 have three attempts.
    """
    if attempts > 1 and isinstance(caught_exception, ConnectTimeoutError | ReadTimeoutError):
        raise caught_exception


def _config(endpoint_url: str | None) -> Config:
    # S3 from others than AWS has no host name for each bucket.
    return CLIENT.merge(Config(s3={"addressing_style": "path" if endpoint_url else "auto"}))


def _leftovers(versions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of an object's versions that are not what it is now; delete markers come last."""
    is_there = any(version["IsLatest"] and "Size" in version for version in versions)
    found = [version for version in versions if not (is_there and version["IsLatest"])]
    return sorted(found, key=lambda version: "Size" not in version)


def _has_versions(answer: dict[str, Any]) -> bool:
    return "VersionId" in answer or answer.get("DeleteMarker", False)


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if _code(error) == "NoSuchKey":
            raise FileNotFoundError from None
        raise OSError(None, f"S3 answered {_code(error)} to {error.operation_name}") from error
    except (NoConnection, HTTPClientError) as error:  # its message would show the address
        raise OSError(None, f"S3 does not answer ({type(error).__name__})") from error
    except BotoCoreError as error:
        raise OSError(None, str(error)) from error
