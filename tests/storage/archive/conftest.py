"""What the tests of the archive share."""

import pytest

from storage.archive.files import Files


@pytest.fixture
def reads(monkeypatch):
    """What is read from files: names and numbers of bytes."""
    made = []
    read = Files.read

    def counted(self, name, *args):
        content = read(self, name, *args)
        made.append((name, len(content or b"")))
        return content

    monkeypatch.setattr(Files, "read", counted)
    return made
