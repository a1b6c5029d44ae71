"""The words of interactions, in parts by the time of creation.

# Note [Parts]

Each part is an FTS5 table of its own, of some days. FTS5 looks up `inter*` by merging the entries
of all words that begin so, before it returns the first row: 700 ms among a million rows, and a
period of time does not shorten that. In parts, newest first, a search has its page after one or
two of them, and what has expired goes by dropping a table.

# Note [Exact words]

The tables are contentless: to delete a row, FTS5 needs the exact text that was indexed, or its
words stay in the file, without an error. So each entry keeps that text, compressed. FTS5's own
`contentless_delete` would leave them there, whatever `secure-delete` says.
"""
# ruff: noqa: S608  (only names and numbers of this module become part of statements)

import json
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from storage.database import LAST_MOMENT
from storage.records.cursors import Position
from storage.records.words import Phrase
from storage.sqlite import queries
from storage.sqlite.text_newest import LOOKED_AT, newest_having
from storage.sqlite.text_positions import NUMBERS, first_position, page_of
from storage.sqlite.text_words import Text, expression, packer, quoted, unpacker, user_token

SCHEMA = """
CREATE TABLE part (number INTEGER PRIMARY KEY);
CREATE TABLE entry (
    position INTEGER PRIMARY KEY,
    interaction_id TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    words BLOB NOT NULL
);
"""

SECURE_DELETE = 1
"""The words of deleted rows are overwritten, and not only marked until segments are merged."""

SEGMENTS = 8
"""That FTS5 merges at once. With its 4, a row takes 15 % more to index, and 30 % less to delete."""

ONE_BY_ONE = 50
"""How many rows go into a new table in the time in which one is deleted with `secure-delete`."""

TURN = 16
"""Texts after which requests that wait for the interpreter get it."""


@dataclass(frozen=True)
class Parts:
    """The parts, as a transaction on `connection` sees them."""

    connection: Any
    part_seconds: int

    def put(self, texts: Sequence[Text]) -> None:
        """Index these texts, if not gone, in place of what is indexed under their ids."""
        known = self._known([text.interaction_id for text in texts])
        changed = []
        pack = packer()
        for number, text in enumerate(texts):
            if (words := text.words) is None:
                continue
            blob = pack(words)
            if known.get(text.interaction_id) != (text.created_at, blob):
                changed.append((text, words, blob))
            if number % TURN == 0:
                time.sleep(0)
        self.remove([text.interaction_id for text, _, _ in changed if text.interaction_id in known])
        self._insert(changed)

    def remove(self, interaction_ids: Sequence[str]) -> None:
        """Leave no word of these, wherever they are indexed."""
        rows = self.connection.execute(
            "SELECT position FROM entry"
            " WHERE interaction_id IN (SELECT value FROM json_each(?)) ORDER BY position",
            [json.dumps(interaction_ids)],
        )
        found = [position for (position,) in rows]
        for number, positions in groupby(found, self._part_of):
            self._remove_from(number, list(positions))

    def without(self, interaction_ids: Sequence[str]) -> list[str]:
        """Those of these ids that are not indexed."""
        known = self._known(interaction_ids)
        return [each for each in interaction_ids if each not in known]

    def numbers(self) -> list[int]:
        """The numbers of all parts, newest first."""
        rows = self.connection.execute("SELECT number FROM part ORDER BY number DESC")
        return [number for (number,) in rows]

    def of_user(self, user_id: str) -> list[str]:
        """The ids of all that is indexed of a user."""
        return [
            interaction_id
            for number in self.numbers()
            for (interaction_id,) in self.connection.execute(
                "SELECT interaction_id FROM entry"
                f" WHERE position IN (SELECT rowid FROM part_{number} WHERE part_{number} MATCH ?)",
                [quoted(user_token(user_id))],
            )
        ]

    def remove_user(self, number: int, user_id: str) -> None:
        """Leave no word of a user in a part."""
        rows = self.connection.execute(
            f"SELECT rowid FROM part_{number} WHERE part_{number} MATCH ? ORDER BY rowid",
            [quoted(user_token(user_id))],
        )
        if positions := [position for (position,) in rows]:
            self._remove_from(number, positions)

    def matching(
        self,
        phrases: Sequence[Phrase],
        user_id: str | None,
        after: datetime,
        before: Position | None,
        limit: int,
    ) -> list[Position]:
        """See `Database.find_text`. Of words that must follow each other, it finds all that occur.

        Costs as much as the parts that it has to look into, newest first.
        """
        low = first_position(after)
        high = first_position(before[0] if before else LAST_MOMENT) + NUMBERS - 1
        wanted = expression(phrases, user_id)
        if user_id is None and limit <= LOOKED_AT:
            newest = newest_having(self.connection, phrases, (low, high))
            if len(found := page_of(newest, after, before, limit)) >= limit:
                return found[:limit]
        found = []
        for number in self.numbers():
            first, last = self._range(number)
            if last < low or len(found) >= limit:
                break
            if first <= high:
                within = max(first, low), min(last, high)
                found += self._found_in(number, wanted, within, after, before, limit - len(found))
        return found[:limit]

    def _found_in(
        self,
        number: int,
        wanted: str,
        within: tuple[int, int],
        after: datetime,
        before: Position | None,
        limit: int,
    ) -> list[Position]:
        """Up to `limit` matches in a part, and those of the second of the last one."""
        rows = self.connection.execute(
            f"SELECT p.rowid, created_at, interaction_id FROM part_{number} p"
            " JOIN entry ON position = p.rowid"
            f" WHERE part_{number} MATCH ? AND p.rowid BETWEEN ? AND ? ORDER BY p.rowid DESC",
            [wanted, *within],
        )
        found = page_of(rows, after, before, limit)
        rows.close()
        return found

    def _known(self, interaction_ids: Sequence[str]) -> dict[str, tuple[str, bytes]]:
        rows = self.connection.execute(
            "SELECT interaction_id, created_at, words FROM entry"
            " WHERE interaction_id IN (SELECT value FROM json_each(?))",
            [json.dumps(interaction_ids)],
        )
        return {interaction_id: (created_at, words) for interaction_id, created_at, words in rows}

    def _insert(self, texts: Sequence[tuple[Text, str, bytes]]) -> None:
        """Index texts, with their words as they are and packed, that are not indexed."""
        entries: dict[int, list[tuple[int, str]]] = {}
        packed = []
        next_ones: dict[int, int] = {}
        for text, words, blob in texts:
            first = first_position(queries.to_time(text.created_at))
            position = next_ones.get(first) or self._free_position(first)
            next_ones[first] = position + 1
            entries.setdefault(self._part_of(position), []).append((position, words))
            packed.append((position, text.interaction_id, text.created_at, blob))
        for number, of_part in entries.items():
            if self.connection.execute(
                "INSERT INTO part VALUES (?) ON CONFLICT DO NOTHING RETURNING 1", [number]
            ).fetchall():
                self._create(f"part_{number}")
            self._fill(f"part_{number}", of_part)
        self.connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?)", packed)

    def _fill(self, table: str, rows: Iterable[tuple[int, str]]) -> None:
        self.connection.executemany(f"INSERT INTO {table} (rowid, words) VALUES (?, ?)", rows)

    def _free_position(self, first: int) -> int:
        ((last,),) = self.connection.execute(
            "SELECT max(position) FROM entry WHERE position BETWEEN ? AND ?",
            [first, first + NUMBERS - 1],
        )
        return first if last is None else int(last) + 1

    def _create(self, table: str) -> None:
        self.connection.execute(
            f"CREATE VIRTUAL TABLE {table} USING fts5"
            "(words, content='', columnsize=0, detail=none, tokenize='ascii')"
        )
        for option, value in (("secure-delete", SECURE_DELETE), ("automerge", SEGMENTS)):
            self.connection.execute(
                f"INSERT INTO {table} ({table}, rank) VALUES (?, ?)", [option, value]
            )

    def _remove_from(self, number: int, positions: Sequence[int]) -> None:
        left = self._left(number, len(positions) * (1 + ONE_BY_ONE) + 1) - len(positions)
        if 0 < left < len(positions) * ONE_BY_ONE:
            self._rewrite(number, set(positions))
        elif left:
            self.connection.executemany(
                f"INSERT INTO part_{number} (part_{number}, rowid, words) VALUES ('delete', ?, ?)",
                self._words(positions),
            )
        else:
            self.connection.execute(f"DROP TABLE part_{number}")
            self.connection.execute("DELETE FROM part WHERE number = ?", [number])
        self.connection.executemany(
            "DELETE FROM entry WHERE position = ?", ([position] for position in positions)
        )

    def _left(self, number: int, at_most: int) -> int:
        ((count,),) = self.connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM entry WHERE position BETWEEN ? AND ? LIMIT ?)",
            [*self._range(number), at_most],
        )
        return int(count)

    def _words(self, positions: Iterable[int]) -> Iterator[tuple[int, str]]:
        unpacked = unpacker()
        for position in positions:
            ((words,),) = self.connection.execute(
                "SELECT words FROM entry WHERE position = ?", [position]
            )
            yield position, unpacked(words)

    def _rewrite(self, number: int, without: Set[int]) -> None:
        """Replace a part by one without these entries."""
        self._create("rewritten")
        unpacked = unpacker()
        rows = self.connection.execute(
            "SELECT position, words FROM entry WHERE position BETWEEN ? AND ?", self._range(number)
        )
        self._fill(
            "rewritten",
            ((position, unpacked(words)) for position, words in rows if position not in without),
        )
        self.connection.execute(f"DROP TABLE part_{number}")
        self.connection.execute(f"ALTER TABLE rewritten RENAME TO part_{number}")

    def _part_of(self, position: int) -> int:
        return position // NUMBERS // self.part_seconds

    def _range(self, number: int) -> tuple[int, int]:
        """The first and the last position of a part."""
        first = number * self.part_seconds * NUMBERS
        return first, first + self.part_seconds * NUMBERS - 1
