"""The search index: which hot and cold interactions have which words.

# Note [In step]

Triggers of the database append the id of each interaction whose text is new, changed or gone to an
outbox, in the transaction of the change. A pass takes ids from there, reads what is stored under
them now, and writes that to the index in one transaction, which needs the write lock of the index;
then it deletes the ids from the outbox in another. Both give their file the same new token
(`storage.sqlite.text_outbox`). Of a pass that is killed between both, the next one does the second.

Until then a search finds the changed ones in the outbox itself. What is archived stays indexed: an
interaction whose row has given way to a stub has the same words.

# Note [Phases]

An index that is made anew first goes through all rows (`rows`), in the order of their ids. What
changes meanwhile is in the outbox. Then it compares itself with the stubs (`stubs`): is one not
indexed, only the archive has its text (`archive`), and `manage.py rebuild_search` reads that. Only
when nothing is missing (`complete`) does a search use it.
"""

import functools
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from storage.batched import batched
from storage.exceptions import StorageError, StorageUnavailable
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.words import Phrase
from storage.sqlite import queries
from storage.sqlite.base import close_before_fork
from storage.sqlite.statements import Statements
from storage.sqlite.text_file import Contents, IndexFile, State, is_damage, missing_feature
from storage.sqlite.text_outbox import Outbox, Overtaken, text_of
from storage.sqlite.text_parts import Text
from storage.sqlite.text_thread import Background

logger = logging.getLogger(__name__)

ENABLED = True
"""Tests that are not about it turn it off."""

PENDING_AT_MOST = 200
"""Changes that a search looks through by itself."""

CHANGES_AT_ONCE = 100
PASS_CHANGES = 2_000
PASS_CHARACTERS = 1_000_000
"""What a pass takes: some 100 ms of work, after which others may write to the index."""

SEARCH_SECONDS = 1.0
"""How long a search works on an index that is behind."""

REWRITTEN_PER_SECOND = 50_000_000
"""Bytes of the file, at least."""

WAIT_SECONDS = 20.0
"""How long an erasure or an archive run waits for a pass of another process."""

Failed = (sqlite3.Error, DatabaseError, OSError, StorageError)


class TextIndex:
    """The index of one database. Threads share one."""

    def __init__(self, statements: Statements) -> None:
        database: Any = connections[statements.alias]
        self._outbox = Outbox(statements)
        self._statements = statements
        self._file = IndexFile(str(database.settings_dict["NAME"]))
        self._is_kept = not database.is_in_memory_db()
        close_before_fork(self._file)
        self._background = Background(self._work)

    @property
    def is_used(self) -> bool:
        """Whether there is to be an index: not beside a copy that a restore works on."""
        return (
            ENABLED
            and self._is_kept
            and self._statements.alias == DEFAULT_DB_ALIAS
            and _missing_feature() is None
        )

    def changed(self) -> None:
        """Texts may have changed: bring the index up to date soon, in a thread."""
        if ENABLED and self._is_kept and self._statements.alias == DEFAULT_DB_ALIAS:
            self._background.wake()

    def after(self, count: int) -> int:
        """Returns the count of what was changed, as it is, and does as `changed`."""
        self.changed()
        return count

    def find(
        self,
        phrases: Sequence[Phrase],
        user_id: str | None,
        after: datetime,
        before: Position | None,
        limit: int,
    ) -> list[Position] | None:
        """See `Database.find_text`."""
        if not phrases or not self.is_used or self._statements.in_transaction():
            return None
        for _ in range(3):
            try:
                found = self._found(phrases, user_id, after, before, limit)
                if found is not None:
                    return found
                if not self.catch_up(SEARCH_SECONDS):
                    break
            except Failed as error:
                _warn(error)
                break
        self.changed()
        return None

    def catch_up(self, seconds: float) -> bool:
        """Make passes for so many seconds. Returns whether the index is complete and up to date.

        Raises what keeps the index from being written.
        """
        end = time.monotonic() + seconds
        while self._pass(max(end - time.monotonic(), 0)):
            if time.monotonic() >= end:
                return False
        with self._file.reading() as contents:
            return contents is not None and contents.state.phase == "complete"

    def start_anew(self) -> None:
        """Empty the index. The next passes go through all rows."""
        with self._file.writing(WAIT_SECONDS, anew=lambda _: True):
            pass

    def add(self, interactions: Sequence[ChatInteraction]) -> None:
        """Index those of these that are archived and not indexed."""
        ids = [interaction.interaction_id for interaction in interactions]
        with self._file.writing(WAIT_SECONDS, anew=lambda _: False) as contents:
            missing = set(contents.parts.without(ids)) & self._outbox.archived(ids)
            contents.parts.put(_texts(interactions, missing))

    def compare_again(self) -> None:
        """After `add`: let the next pass look whether a stub is still not indexed."""
        with self._file.writing(WAIT_SECONDS, anew=lambda _: False) as contents:
            if contents.state.phase == "archive":
                contents.note(phase="stubs", done_until="")

    def before_archiving(self, interactions: Sequence[ChatInteraction]) -> None:
        """See to it that these are indexed while the database still has their texts.

        If that fails they are archived all the same, and the index knows that it lacks them.
        """
        if not self.is_used:
            return
        try:
            self.catch_up(WAIT_SECONDS)
            ids = [interaction.interaction_id for interaction in interactions]
            with self._file.writing(WAIT_SECONDS, anew=lambda _: False) as contents:
                contents.parts.put(_texts(interactions, set(contents.parts.without(ids))))
        except Failed as error:
            _warn(error)

    def forget_user(self, user_id: str) -> None:
        """Leave no word of what is gone of a user in the index, or an id of it in the outbox.

        Raises StorageUnavailable if that cannot be confirmed.
        """
        last = self._outbox.last()
        if not (self.is_used and self._file.exists()):
            self._file.remove()
            self._outbox.discard()
            return
        try:
            while self._outbox.has_any_until(last):
                self._pass(WAIT_SECONDS)
            with self._file.writing(WAIT_SECONDS, anew=lambda _: False) as contents:
                self._put(contents, *self._look(contents.parts.of_user(user_id)))
            self._file.empty_log()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise StorageUnavailable(
                    f"Something of the user may be left in the search index: {error}. Try again."
                ) from error
            self._file.remove()
            self._outbox.discard()

    def scrub(self, check_time: Callable[[], None]) -> None:
        """Leave no byte of what was removed in the file. Raises as `Database.scrub` does."""
        if not self.is_used:
            self._outbox.discard()  # nobody else does, in a copy that is being restored
        if self._file.exists():
            self._file.scrub(check_time)

    def scrub_seconds(self) -> float:
        """About how long that takes."""
        return self.bytes() / REWRITTEN_PER_SECOND

    def bytes(self) -> int:
        """The size of the index; 0 if there is none."""
        return self._file.path.stat().st_size if self._file.exists() else 0

    def _found(
        self,
        phrases: Sequence[Phrase],
        user_id: str | None,
        after: datetime,
        before: Position | None,
        limit: int,
    ) -> list[Position] | None:
        """None if the index is not complete, or not up to date."""
        with self._statements.snapshot():  # before the index: see Note [In step]
            pending = self._outbox.pending(PENDING_AT_MOST)
        if pending is None:
            return None
        with self._file.reading() as contents:
            if contents is None or contents.state.phase != "complete":
                return None
            if not self._fits(contents.state):  # or a pass ended just now
                return None
            found = set(contents.parts.matching(phrases, user_id, after, before, limit))
        for change in pending:
            if change.created_at is None or (user_id and change.user_id not in (None, user_id)):
                continue
            position = queries.to_time(change.created_at), change.interaction_id
            if position[0] >= after and (before is None or position < before):
                found.add(position)
        if pending:
            self.changed()
        return sorted(found, reverse=True)[:limit]

    def _work(self) -> bool:
        """Work of the thread: returns whether there may be more to do."""
        if not self.is_used:
            _say_once(_missing_feature())
            self._outbox.discard()
            return False
        try:
            return self._pass(0)
        except Failed as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                return True  # another process makes a pass
            _warn(error)
            raise

    def _pass(self, wait: float) -> bool:
        """Take from the outbox, or go on with an index that is incomplete.

        Returns whether there may be more to do. Raises Failed.
        """
        with self._file.writing(wait, anew=lambda state: not self._fits(state)) as contents:
            token, state = self._outbox.token(), contents.state
            if state.token is not None and token != state.token:  # the last one was killed
                new, last = state.token, state.last
            else:
                last = self._take(contents, self._outbox.oldest(PASS_CHANGES))
                if not last and state.phase in ("complete", "archive"):
                    return False
                if not last:
                    self._go_on(contents)
                new = secrets.token_hex(16) if last or state.token is None else state.token
                if new != state.token:
                    contents.note(token=new, previous=token, last=last)
        if new != token:
            with suppress(Overtaken):  # another process has done it, or the database has changed
                self._outbox.done(token, new, last)
        return True

    def _fits(self, state: State) -> bool:
        """Whether the index has missed nothing of the database."""
        with self._statements.snapshot():
            token = self._outbox.token()
            if token is None or state.token is None:
                return False
            return token == state.token or (
                token == state.previous and self._outbox.has(state.last)
            )

    def _take(self, contents: Contents, changes: Sequence[tuple[int, str]]) -> int:
        """Index what has changed. Returns the last change that was taken, or 0."""
        found: dict[str, Text | None] = {}
        cold: set[str] = set()
        last = size = 0
        for some in batched(changes, CHANGES_AT_ONCE):
            if size >= PASS_CHARACTERS:
                break
            looked, archived = self._look([each for _, each in some])
            found |= looked
            cold |= archived
            size += sum(text.characters for text in looked.values() if text is not None)
            last = some[-1][0]
        self._put(contents, found, cold)
        return last

    def _put(
        self, contents: Contents, found: Mapping[str, Text | None], cold: Collection[str]
    ) -> None:
        """Index the texts, and remove those that are None. What is archived is indexed already."""
        contents.parts.remove([each for each, text in found.items() if text is None])
        contents.parts.put([text for text in found.values() if text is not None])
        if contents.state.phase in ("stubs", "complete") and contents.parts.without(list(cold)):
            contents.note(phase="archive")

    def _look(self, interaction_ids: Sequence[str]) -> tuple[dict[str, Text | None], set[str]]:
        """The texts of these interactions, None of those that are gone; and those archived."""
        ids = list(dict.fromkeys(interaction_ids))
        with self._statements.snapshot():
            hot = self._outbox.texts(ids)
            cold = self._outbox.archived(ids)
        return {each: hot.get(each) for each in ids if each not in cold}, cold

    def _go_on(self, contents: Contents) -> None:
        """Take a step in making an index that is not complete: see Note [Phases]."""
        state = contents.state
        if state.phase == "rows":
            texts = self._outbox.texts_after(state.done_until, CHANGES_AT_ONCE)
            contents.parts.put(texts)
            if texts:
                contents.note(done_until=texts[-1].interaction_id)
            else:
                contents.note(phase="stubs", done_until="")
            return
        ids = self._outbox.archived_after(state.done_until, PASS_CHANGES)
        if contents.parts.without(ids):
            contents.note(phase="archive")
        elif ids:
            contents.note(done_until=ids[-1])
        else:
            contents.note(phase="complete")


def _texts(interactions: Sequence[ChatInteraction], ids: set[str]) -> list[Text]:
    rows = map(queries.to_parameters, interactions)
    return [text_of(row) for row in rows if row["interaction_id"] in ids]


_missing_feature = functools.cache(missing_feature)


def _warn(error: Exception) -> None:
    if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
        logger.warning("The search index is not up to date: %s", error)


@functools.cache
def _say_once(why: str | None) -> None:
    if why is not None:
        logger.warning("There is no search index: %s. Searches go through the interactions.", why)
