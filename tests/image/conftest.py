"""The image that `make image-test` has built."""

import os

import pytest

from tests.image.containers import docker


def pytest_collection_modifyitems(items):
    if "IMAGE" not in os.environ:
        skip = pytest.mark.skip(reason="make image-test builds the image first")
        for item in items:
            if "tests/image/" in item.nodeid:
                item.add_marker(skip)


@pytest.fixture
def volume(request):
    """An empty volume."""
    name = f"chat-image-test-{os.getpid()}"
    docker("volume", "create", name)
    yield f"{name}:/data"
    docker("volume", "rm", "--force", name)
