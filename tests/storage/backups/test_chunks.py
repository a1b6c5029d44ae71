"""Chunks of a backup, which several threads write."""

import threading
from itertools import count
from pathlib import Path

import pytest

from storage.archive import durable
from storage.backups.chunks import GROUP, Chunks

SECONDS = 60


def test_what_two_threads_write_at_the_same_moment_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, numbers, both = durable.create, count(), threading.Barrier(2)

    def create_together(path: Path):
        if next(numbers) < both.parties:
            both.wait(SECONDS)
        return create(path)

    monkeypatch.setattr(durable, "create", create_together)
    contents = [b"the same"] * 2 * GROUP  # a thread takes a group at once
    kept = list(Chunks(tmp_path).keep(contents))
    (chunk,) = tmp_path.iterdir()
    assert sum(each.written for each in kept) == chunk.stat().st_size
    assert {each.name for each in kept} == {chunk.stem}
