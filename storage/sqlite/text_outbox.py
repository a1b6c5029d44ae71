"""The outbox of changed texts in the database, and the token by which the index is known to fit.

Each pass of the indexer gives the index and the database the same new token. An index that has
another one has missed something: the database was restored, or the index was, and it is made anew.
"""
# ruff: noqa: S608  (only names and numbers of this module become part of statements)

import json
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError

from storage.large.rows import LargeRows
from storage.models import ArchivedInteraction, ChatInteraction, Lock, TextChange
from storage.records.texts import OBJECT
from storage.sql.errors import is_broken_text
from storage.sqlite import queries
from storage.sqlite.statements import Statements
from storage.sqlite.text_words import LargeText, Text

logger = logging.getLogger(__name__)

NAME = "text index"
"""The row in the table of locks that has the token."""

_CHANGES = TextChange._meta.db_table
_ROWS = ChatInteraction._meta.db_table
_STUBS = ArchivedInteraction._meta.db_table
_TOKENS = Lock._meta.db_table

Change = tuple[int, str]
"""The id of an entry, and of the interaction that it is about."""


class Overtaken(Exception):
    """Another process has given the database another token meanwhile."""


@dataclass(frozen=True)
class Pending:
    """An interaction that has changed since it was indexed."""

    interaction_id: str
    created_at: str | None
    """None if it is gone."""
    user_id: str | None
    """None if it is archived, or gone."""


@dataclass(frozen=True)
class Outbox:
    """The outbox of one database."""

    statements: Statements
    large: LargeRows

    def token(self) -> str | None:
        """The token of the last pass, or None if there was none."""
        rows = self._rows(f"SELECT owner FROM {_TOKENS} WHERE name = :name", {"name": NAME})
        return str(rows[0][0]) if rows else None

    def oldest(self, limit: int) -> list[Change]:
        """The oldest changes, in their order."""
        sql = f"SELECT id, interaction_id FROM {_CHANGES} ORDER BY id LIMIT :limit"
        return [(number, each) for number, each in self._rows(sql, {"limit": limit})]

    def last(self) -> int:
        """The id of the newest change; 0 if there is none."""
        return int(self._rows(f"SELECT coalesce(max(id), 0) FROM {_CHANGES}", {})[0][0])

    def has(self, number: int) -> bool:
        """Whether the change with this id is there."""
        sql = f"SELECT 1 FROM {_CHANGES} WHERE id = :number"
        return bool(self._rows(sql, {"number": number}))

    def first_until(self, last: int) -> int | None:
        """The id of the oldest change, if it is not newer than `last`."""
        sql = f"SELECT min(id) FROM {_CHANGES} WHERE id <= :last"
        number: int | None = self._rows(sql, {"last": last})[0][0]
        return number

    def among(self, interaction_ids: Sequence[str]) -> list[str]:
        """Those of these that have changed. Looks at all changes."""
        sql = (
            f"SELECT DISTINCT interaction_id FROM {_CHANGES}"
            " WHERE interaction_id IN (SELECT value FROM json_each(:ids))"
        )
        return [each for (each,) in self._rows(sql, {"ids": json.dumps(interaction_ids)})]

    def pending(self, limit: int) -> list[Pending] | None:
        """All that have changed; None if there are more than `limit` changes."""
        changes = self.oldest(limit + 1)
        if len(changes) > limit:
            return None
        found = self._rows(
            f"SELECT value, coalesce(r.created_at, s.created_at), r.user_id FROM json_each(:ids)"
            f" LEFT JOIN {_ROWS} r ON r.interaction_id = value"
            f" LEFT JOIN {_STUBS} s ON s.interaction_id = value",
            {"ids": json.dumps(list(dict.fromkeys(each for _, each in changes)))},
        )
        return [Pending(*row) for row in found]

    def texts(self, interaction_ids: Sequence[str]) -> dict[str, Text]:
        """The hot ones of these as they are now, by id."""
        sql = queries.select_by_ids(self.statements.alias)
        try:
            rows = self._rows(sql, {"ids": json.dumps(interaction_ids)})
        except DatabaseError as error:
            if not is_broken_text(error):
                raise
            return {text.interaction_id: text for text in self._each(interaction_ids)}
        return {row[0]: self._text_of(row) for row in rows}

    def texts_after(self, interaction_id: str, limit: int) -> list[Text]:
        """Hot ones in the order of their ids, after this id."""
        rest = f"FROM {_ROWS} WHERE interaction_id > :after ORDER BY interaction_id LIMIT :limit"
        parameters = {"after": interaction_id, "limit": limit}
        try:
            rows = self._rows(f"SELECT {', '.join(queries.NAMES)} {rest}", parameters)
        except DatabaseError as error:
            if not is_broken_text(error):
                raise
            with self.statements.snapshot():
                ids = self._rows(f"SELECT interaction_id {rest}", parameters)
                return list(self._each([each for (each,) in ids]))
        return [self._text_of(row) for row in rows]

    def archived(self, interaction_ids: Sequence[str]) -> set[str]:
        """The archived ones among these."""
        sql = f"SELECT interaction_id FROM {_STUBS}, json_each(:ids) WHERE interaction_id = value"
        return {each for (each,) in self._rows(sql, {"ids": json.dumps(interaction_ids)})}

    def stored(self, interaction_ids: Sequence[str]) -> set[str]:
        """The hot and the archived ones among these."""
        sql = (
            "SELECT value FROM json_each(:ids)"
            f" WHERE EXISTS (SELECT 1 FROM {_ROWS} WHERE interaction_id = value)"
            f" OR EXISTS (SELECT 1 FROM {_STUBS} WHERE interaction_id = value)"
        )
        return {each for (each,) in self._rows(sql, {"ids": json.dumps(interaction_ids)})}

    def archived_after(self, interaction_id: str, limit: int) -> list[str]:
        """Archived ones in the order of their ids, after this id."""
        sql = (
            f"SELECT interaction_id FROM {_STUBS}"
            " WHERE interaction_id > :after ORDER BY interaction_id LIMIT :limit"
        )
        return [each for (each,) in self._rows(sql, {"after": interaction_id, "limit": limit})]

    def done(self, before: str | None, token: str, last: int) -> None:
        """Delete the changes up to `last`, and put `token` in the place of `before`.

        Raises Overtaken, and changes nothing, if the token is not `before`.
        """

        def work() -> None:
            if self.token() != before:
                raise Overtaken
            self._set_token(token)
            self._rows(f"DELETE FROM {_CHANGES} WHERE id <= :last", {"last": last})

        self.statements.transaction(work)

    def add_user(self, user_id: str) -> None:
        """Add all hot ones of a user, as if they had changed."""
        sql = (
            f"INSERT INTO {_CHANGES} (interaction_id)"
            f" SELECT interaction_id FROM {_ROWS} WHERE user_id = :user_id"
        )
        self.statements.transaction(lambda: self._rows(sql, {"user_id": user_id}))

    def discard(self) -> None:
        """Delete all changes: there is no index, and one that is there fits no more."""

        def work() -> None:
            self._set_token(secrets.token_hex(16))
            self._rows(f"DELETE FROM {_CHANGES}", {})

        if self.last():
            self.statements.transaction(work)

    def _set_token(self, token: str) -> None:
        self._rows(
            f"INSERT INTO {_TOKENS} (name, owner, until) VALUES (:name, :token, '9999-12-31')"
            " ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner",
            {"name": NAME, "token": token},
        )

    def _text_of(self, row: tuple[Any, ...]) -> Text:
        values = dict(zip(queries.NAMES, row, strict=True))
        if values[OBJECT] is None:
            return text_of(values)
        return LargeText(
            values["interaction_id"],
            values["user_id"],
            values["created_at"],
            "",
            "",
            row=queries.to_interaction(row),
            large=self.large,
            read_again=self._now,
        )

    def _each(self, interaction_ids: Sequence[str]) -> Iterator[Text]:
        """The hot ones of these, read one by one.

        One whose text is broken has no words, or nothing else would be indexed either.
        """
        columns = "interaction_id, user_id, created_at"
        outline = f"SELECT {columns} FROM {_ROWS} WHERE interaction_id = :interaction_id"
        for interaction_id in interaction_ids:
            parameters = {"interaction_id": interaction_id}
            try:
                rows = self._rows(queries.select_by_id(self.statements.alias), parameters)
                yield from map(self._text_of, rows)
            except DatabaseError as error:
                if not is_broken_text(error):
                    raise
                logger.warning("Not in the search index: %s: %s.", interaction_id, error)
                for found, user_id, created_at in self._rows(outline, parameters):
                    yield Text(found, user_id, created_at, "", "")

    def _now(self, interaction_id: str) -> ChatInteraction | None:
        """The hot interaction, which may have stand-ins."""
        sql = queries.select_by_id(self.statements.alias)
        rows = self._rows(sql, {"interaction_id": interaction_id})
        return queries.to_interaction(rows[0]) if rows else None

    @property
    def _rows(self) -> Callable[[str, dict[str, Any]], list[tuple[Any, ...]]]:
        return self.statements.rows


def text_of(row: dict[str, Any]) -> Text:
    """The text in a row, as `queries.to_parameters` returns it."""
    return Text(
        row["interaction_id"], row["user_id"], row["created_at"], row["message"], row["response"]
    )
