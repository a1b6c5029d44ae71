"""Common words: the newest interactions have them, and need not be looked up.

FTS5 merges all entries of a word, or of all words with a beginning, before it returns the first. Of
a word that every other interaction has, that is most of the work of a page, and of one letter it is
nearly all. So the newest entries are looked at first, as they are kept.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from storage.records.words import Phrase, have
from storage.sqlite.text_positions import NUMBERS, Entry
from storage.sqlite.text_words import unpacker

SAMPLE = 20
"""Entries by which a word is judged: it is common if half of them have it."""

LOOKED_AT = 200
CHARACTERS = 1_000_000
"""What is looked at, at most, for one page."""


def newest_having(
    connection: Any, phrases: Sequence[Phrase], within: tuple[int, int]
) -> Iterator[Entry]:
    """The newest entries that have the phrases, as far as these are common.

    Of a second, it names all or none: within it, entries are in no order.
    """
    rows = connection.execute(
        "SELECT position, created_at, interaction_id, words FROM entry"
        " WHERE position BETWEEN ? AND ? ORDER BY position DESC",
        within,
    )
    of_second: list[Entry] = []
    hits = size = second = 0
    unpacked = unpacker()
    for number, (position, created_at, interaction_id, words) in enumerate(rows):
        if position // NUMBERS != second:
            yield from of_second
            second, of_second = position // NUMBERS, []
        is_rare = number == SAMPLE and hits * 2 < SAMPLE
        if is_rare or number == LOOKED_AT or size > CHARACTERS:
            return
        text, _, _ = unpacked(words).rpartition(" ")  # without the token of the user
        size += len(text)
        if have([text], phrases):
            of_second.append((position, created_at, interaction_id))
            hits += 1
    yield from of_second
