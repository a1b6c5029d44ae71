"""Common words: the newest interactions have them, and need not be looked up.

FTS5 merges all entries of a word, or of all words with a beginning, before it returns the first. Of
a word that every other interaction has, that is most of the work of a page, and of one letter it is
nearly all. So the newest entries are looked at first, as they are kept.
"""

from collections.abc import Sequence
from typing import Any

from storage.records.words import Phrase, have
from storage.sqlite.text_positions import NUMBERS, Entry
from storage.sqlite.text_words import unpacked, user_token

SAMPLE = 20
"""Entries by which a word is judged: it is common if half of them have it."""

LOOKED_AT = 200
CHARACTERS = 1_000_000
"""What is looked at, at most, for one page."""


def newest_having(
    connection: Any, phrases: Sequence[Phrase], user_id: str | None, within: tuple[int, int]
) -> list[Entry]:
    """The newest entries that have the phrases, if these are common; or none.

    None is left out that is newer than the last one.
    """
    token = None if user_id is None else user_token(user_id)
    rows = connection.execute(
        "SELECT position, created_at, interaction_id, words FROM entry"
        " WHERE position BETWEEN ? AND ? ORDER BY position DESC LIMIT ?",
        [*within, LOOKED_AT + 1],
    )
    found: list[Entry] = []
    size = 0
    for number, (position, created_at, interaction_id, words) in enumerate(rows):
        if number == SAMPLE and len(found) * 2 < SAMPLE:
            return []
        if number == LOOKED_AT or size > CHARACTERS:
            # Within a second, entries are in no order: some of the last one may be missing.
            return [row for row in found if row[0] // NUMBERS > position // NUMBERS]
        text, _, owner = unpacked(words).rpartition(" ")
        size += len(text)
        if token in (None, owner) and have([text], phrases):
            found.append((position, created_at, interaction_id))
    return found
