"""Buckets on the S3 server that the tests start."""

import itertools
import os
from typing import Any

from botocore.config import Config

from storage.archive.bucket import ArchiveBucket

REGION = "eu-central-1"
PATIENT = Config(connect_timeout=60, read_timeout=300)
"""A busy machine takes longer than a bucket is given in production."""

_numbers = itertools.count()
_connections = {}


def make_bucket(url: str, *, versions: bool = False) -> Any:
    """A new bucket, as the storage of an archive. With `versions`, it keeps them.

    Connections to one server are shared, since they take long to make.
    """
    bucket = ArchiveBucket(f"test-{os.getpid()}-{next(_numbers)}", REGION, url)
    bucket.client_config = bucket.client_config.merge(PATIENT)
    bucket._connections = _connections.setdefault(url, bucket._connections)
    client = bucket.connection.meta.client
    client.create_bucket(
        Bucket=bucket.bucket_name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    if versions:
        client.put_bucket_versioning(
            Bucket=bucket.bucket_name, VersioningConfiguration={"Status": "Enabled"}
        )
    return bucket


def contents(bucket: Any) -> list[Any]:
    """All that a bucket holds: names with all their versions, and markers of deletions."""
    pages = bucket.connection.meta.client.get_paginator("list_object_versions")
    return [
        each["Key"]
        for page in pages.paginate(Bucket=bucket.bucket_name)
        for kind in ("Versions", "DeleteMarkers")
        for each in page.get(kind, ())
    ]
