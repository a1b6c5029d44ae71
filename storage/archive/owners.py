"""Whom the files belong to that root makes, as a command with `sudo` does.

A service that runs as another user could not read them: what was archived would be a 503, and the
next backup would fail. So they are given to the owner of their folder. SQLite does the same with
its logs.
"""

import os
from contextlib import suppress
from pathlib import Path


def give(descriptor: int, folder: Path) -> None:
    """Let a file in a folder that root has made belong to whom the folder belongs."""
    if os.geteuid() == 0:
        with suppress(OSError):  # the file system keeps no owners, or the folder is removed already
            owner = folder.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def give_folder(folder: Path) -> None:
    """Let a folder that root has made belong to whom the one above it belongs."""
    if os.geteuid() != 0:
        return
    with suppress(OSError):  # it is a link, or another process has removed it
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            give(descriptor, folder.parent)
        finally:
            os.close(descriptor)
