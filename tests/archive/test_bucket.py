"""The archive in an S3 bucket keeps the contract, and what S3 takes besides."""

import pytest

from tests import buckets
from tests.archive.contract import ArchiveContract


class TestArchiveBucket(ArchiveContract):
    @pytest.fixture
    def backend(self, s3_server):
        return buckets.make_bucket(s3_server.url)


class TestVersionedBucket(ArchiveContract):
    @pytest.fixture
    def backend(self, s3_server):
        return buckets.make_bucket(s3_server.url, versions=True)
