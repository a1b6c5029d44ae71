"""The bytes of a database file, read or written beside SQLite's own connections.

# Note [Never closed]

POSIX drops all locks that a process holds on a file as soon as the process closes any descriptor of
it. Closed beside SQLite's connections, a descriptor of ours would silently take their locks away,
and another process could delete the write-ahead log that they write to. So a descriptor is opened
once for each file and stays open until the process ends.
https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
"""

import os
import threading

_descriptors: dict[tuple[int, int], int] = {}
_lock = threading.Lock()


def descriptor(database: str) -> int:
    """A descriptor of the file that now has this name, for `os.pread` and `os.pwrite`.

    Do not close it: see Note [Never closed]. Raises OSError if there is no such file.
    """
    with _lock:
        found = os.stat(database)  # noqa: PTH116  (as in `open_files`)
        identity = (found.st_dev, found.st_ino)
        if identity not in _descriptors:
            opened = os.open(database, os.O_RDWR | os.O_CLOEXEC)
            _descriptors[identity] = opened
        return _descriptors[identity]
