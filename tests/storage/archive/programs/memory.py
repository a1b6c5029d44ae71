"""Writes segments, reads and rewrites them; prints the most memory that each round took, in KiB.

Arguments: the number of rows of each round. They have about 8 KiB each, and a user each.
"""

import random
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import django


def main() -> None:
    django.setup()
    for count in map(int, sys.argv[1:]):
        work(count)
        # getrusage would count what the process that started this one has taken, too.
        print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])


def work(count: int) -> None:
    """Write so many rows, read and rewrite them, and leave nothing of them in the archive."""
    from chat.maintenance.archiving import SEGMENT_ROWS
    from storage.archive.archive import configured_archive
    from storage.compat import batched
    from tests.storage.archive.rows import DAY, START, row

    text = random.Random(1).randbytes(1_000_000).hex()

    def rows() -> Iterator[Any]:
        for number in range(count):
            start = number * 7_919 % 1_900_000
            yield row(
                number,
                user_id=f"user {number}",
                response=text[start : start + 8_000],
                created_at=START + timedelta(milliseconds=number),
            )

    archive = configured_archive()
    for batch in batched(rows(), SEGMENT_ROWS):
        segment = archive.new_segment(DAY)
        assert archive.write(segment, batch).count == len(batch)
    segments = archive.segments(DAY)
    assert sum(1 for segment in segments for _ in archive.rows(segment)) == count
    assert sum(1 for segment in segments for _ in archive.newest(segment)) == count
    assert sum(archive.verify(segment).count for segment in segments) == count
    kept = [archive.rewrite(segment, lambda rows: rows[::2]).kept for segment in segments]
    assert sum(kept) == count // 2
    for segment in segments:
        archive.remove(segment)


if __name__ == "__main__":
    main()
