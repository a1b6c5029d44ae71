"""How much memory a server process may use before the system kills it."""

import os
import sys
from pathlib import Path

from django.conf import settings

_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where Linux tells a container its limit: by cgroups of version 2, and of version 1."""


def memory_of_process() -> int:
    """Bytes for each of the WORKERS: of the container's limit, if it has one, or of the machine."""
    limits = [limit for path in _LIMITS if (limit := _limit_in(path))]
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    workers: int = settings.WORKERS
    return min([machine, *limits]) // workers


def _limit_in(path: Path) -> int:
    """The limit in a file of cgroups; 0 if there is none."""
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    number = int(text) if text.isdecimal() else 0  # "max"
    return number if number < sys.maxsize // 2 else 0  # what version 1 says instead
