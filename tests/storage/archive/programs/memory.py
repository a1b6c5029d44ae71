"""Writes a segment, reads it, and rewrites it; prints the most memory it has taken, in KiB.

Argument: the number of rows. They have about 2 KiB each, and a user each.
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
    count = int(sys.argv[1])
    django.setup()
    from storage.archive.archive import configured_archive
    from tests.storage.archive.rows import DAY, START, row

    text = random.Random(1).randbytes(1_000_000).hex()

    def rows() -> Iterator[Any]:
        for number in range(count):
            start = number * 7_919 % 1_900_000
            yield row(
                number,
                user_id=f"user {number}",
                response=text[start : start + 2_000],
                created_at=START + timedelta(milliseconds=number),
            )

    archive = configured_archive()
    segment = archive.new_segment(DAY)
    assert archive.write(segment, rows()).count == count
    assert sum(1 for _ in archive.rows(segment)) == count
    assert sum(1 for _ in archive.newest(segment)) == count
    assert archive.verify(segment).count == count
    kept = (each for each in archive.rows(segment) if each.input_tokens % 2)
    assert archive.write(segment, kept).count == count // 2
    # getrusage would count what the process that started this one has taken, too.
    print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])


if __name__ == "__main__":
    main()
