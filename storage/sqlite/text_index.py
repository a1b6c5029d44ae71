"""The search index: which hot and cold interactions have which words. It finds; the row decides."""

import functools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from storage.database import Indexed
from storage.exceptions import StorageError, StorageUnavailable
from storage.large.rows import LargeRows
from storage.models import ChatInteraction
from storage.records.cursors import Position
from storage.records.words import Phrase
from storage.sqlite import queries, scrubbing, text_scrubbing
from storage.sqlite.base import close_before_fork
from storage.sqlite.checkpoints import empty_log
from storage.sqlite.statements import Statements
from storage.sqlite.text_damage import is_damage
from storage.sqlite.text_file import IndexFile, missing_feature
from storage.sqlite.text_outbox import Outbox, text_of
from storage.sqlite.text_passes import PASS_CHANGES, Passes
from storage.sqlite.text_thread import Background
from storage.sqlite.text_words import Text

logger = logging.getLogger(__name__)

ENABLED = True
"""Tests that are not about it turn it off."""

PENDING_AT_MOST = 200
"""Changes that a search looks through by itself."""

SEARCH_SECONDS = 0.5
"""How long a search works on an index that is behind."""

WAIT_SECONDS = 20.0
"""How long an erasure or an archive run waits for a pass of another process."""

Failed = (sqlite3.Error, DatabaseError, OSError, StorageError)


class TextIndex:
    """The index of one database. Threads share one."""

    def __init__(self, statements: Statements, large: LargeRows) -> None:
        database: Any = connections[statements.alias]
        self._outbox = Outbox(statements, large)
        self._statements = statements
        self._file = IndexFile(str(database.settings_dict["NAME"]))
        self._passes = Passes(statements, self._outbox, self._file)
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
        caught_up = True
        for _ in range(3):
            try:
                found = self._found(phrases, user_id, after, before, limit)
                if found is not None:
                    return found
                if not caught_up:
                    break
                caught_up = self.catch_up(SEARCH_SECONDS)  # if not, that may still be enough
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
        while self._passes.take(max(end - time.monotonic(), 0)):
            if time.monotonic() >= end:
                return False
        with self._file.reading() as contents:
            return contents is not None and contents.state.phase == "complete"

    def bring_up_to_date(self, seconds: float, *, anew: bool) -> Indexed | None:
        """See `Database.index_texts`."""
        if not self.is_used:
            return None
        if anew:
            with self._file.writing(WAIT_SECONDS, anew=lambda _: True):
                pass
        try:
            if self.catch_up(seconds):
                return Indexed.COMPLETE
        except sqlite3.OperationalError as error:
            if not _is_busy(error):  # else another process makes a pass
                raise
        with self._file.reading() as contents:
            lacks = contents is not None and contents.state.phase == "archive"
            return Indexed.LACKS_ARCHIVED if lacks else Indexed.BEHIND

    def indexed(self) -> Indexed | None:
        """See `Database.texts_indexed`."""
        if not self.is_used:
            return None
        with self._file.reading() as contents:
            state = None if contents is None else contents.state
        if state is not None and state.phase == "archive":
            return Indexed.LACKS_ARCHIVED
        is_complete = state is not None and state.phase == "complete" and self._passes.fits(state)
        return Indexed.COMPLETE if is_complete and not self._outbox.last() else Indexed.BEHIND

    def missing(self) -> Iterator[list[str]]:
        """The archived ones that are not indexed, in the order of their ids."""
        after = ""
        while ids := self._outbox.archived_after(after, PASS_CHANGES):
            with self._file.reading() as contents:
                yield contents.parts.without(ids) if contents else ids
            after = ids[-1]

    def add(self, interactions: Sequence[ChatInteraction]) -> int:
        """See `Database.index_archived`. The next pass looks again what is missing."""
        ids = [interaction.interaction_id for interaction in interactions]
        with self._file.writing(WAIT_SECONDS, anew=lambda _: False) as contents:
            missing = set(contents.parts.without(ids)) & self._outbox.archived(ids)
            contents.parts.put(_texts(interactions, missing))
            if contents.state.phase == "archive":
                contents.note(phase="stubs", done_until="")
            return len(missing)

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
                left = self._outbox.among(ids)  # if that took too long
                missing = [*left, *contents.parts.without(ids)]
                # Of one that was deleted since it was read, no pass would find the entry again.
                contents.parts.put(_texts(interactions, self._outbox.stored(missing)))
        except Failed as error:
            _warn(error)

    def before_erasing(self, user_id: str, check_time: Callable[[], None]) -> None:
        """Take a user out, part by part, whose rows are about to be deleted.

        Later, as a change of each row, it would cost a part to be written anew for some of them.
        Raises what `check_time` raises, which is called before each part; the next call goes on.
        """
        if not (self.is_used and self._file.exists()):
            return
        for number in self._numbers():
            check_time()
            try:
                with self._file.writing(WAIT_SECONDS, anew=lambda _: False) as contents:
                    if number in contents.parts.numbers():
                        contents.parts.remove_user(number, user_id)
            except Failed as error:  # `forget_user` does what is left
                _warn(error)
                return

    def index_again(self, user_id: str) -> None:
        """Bring back what `before_erasing` has taken out of a user whose rows are to stay.

        Passes find what is hot by the outbox, and that something archived is missing by its stub.
        """
        if not (self.is_used and self._file.exists()):
            return
        self._outbox.add_user(user_id)
        with self._file.writing(WAIT_SECONDS, anew=lambda _: False) as contents:
            if contents.state.phase in ("stubs", "complete"):
                contents.note(phase="stubs", done_until="")
        self.changed()

    def forget_user(self, user_id: str, check_time: Callable[[], None]) -> None:
        """Leave no word of what is gone of a user in the index, or an id of it in the outbox.

        Raises StorageUnavailable if that cannot be confirmed, and what `check_time` raises, which
        is called between passes; the next call goes on.
        """
        last = self._outbox.last()
        if not (self.is_used and self._file.exists()):
            self._file.remove()
            self._outbox.discard()
            return
        try:
            self._take_until(last, check_time)
            with self._file.writing(WAIT_SECONDS, anew=lambda _: False) as contents:
                self._passes.put(contents, *self._passes.look(contents.parts.of_user(user_id)))
            empty_log(self._file.is_log_emptied, check_time)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise StorageUnavailable(
                    f"Something of the user may be left in the search index: {error}. Try again."
                ) from error
            self._file.remove()
            self._outbox.discard()

    def scrub(self, since: datetime, check_time: Callable[[], None]) -> datetime:
        """Leave no byte of what was removed in the file. As `Database.scrub`."""
        if not self.is_used:
            self._file.remove()
            self._outbox.discard()  # nobody else does, in a copy that is being restored
        return text_scrubbing.scrub(self._file, since, check_time)

    def scrub_seconds(self) -> float:
        """About how long that takes."""
        return self.bytes() / scrubbing.BYTES_PER_SECOND

    def bytes(self) -> int:
        """The size of the index with its log; 0 if there is none."""
        size = 0
        for file in (self._file.path, Path(f"{self._file.path}-wal")):
            with suppress(FileNotFoundError):
                size += file.stat().st_size
        return size

    def _numbers(self) -> list[int]:
        """The numbers of all parts; none if the index cannot be read."""
        try:
            with self._file.reading() as contents:
                return contents.parts.numbers() if contents else []
        except Failed as error:
            _warn(error)
            return []

    def _take_until(self, last: int, check_time: Callable[[], None]) -> None:
        """Make passes until no change up to this one is left, here or in another process."""
        while oldest := self._outbox.first_until(last):
            check_time()
            try:
                self._passes.take(WAIT_SECONDS)
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or self._outbox.first_until(last) == oldest:
                    raise

    def _found(
        self,
        phrases: Sequence[Phrase],
        user_id: str | None,
        after: datetime,
        before: Position | None,
        limit: int,
    ) -> list[Position] | None:
        """None if the index is not complete, or not up to date."""
        with self._statements.snapshot():  # before it looks into the index, which may go on
            pending = self._outbox.pending(PENDING_AT_MOST)
        if pending is None:
            return None
        with self._file.reading() as contents:
            if contents is None or contents.state.phase != "complete":
                return None
            if not self._passes.fits(contents.state):  # or a pass ended just now
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
            return self._passes.take(SEARCH_SECONDS)
        except Failed as error:
            if _is_busy(error):
                return True  # another process makes a pass
            _warn(error)
            raise
        except Exception:  # a mistake of ours, of which nobody else would learn
            logger.exception("The search index is not up to date.")
            raise


def _texts(interactions: Sequence[ChatInteraction], ids: set[str]) -> list[Text]:
    rows = map(queries.to_parameters, interactions)
    return [text_of(row) for row in rows if row["interaction_id"] in ids]


_missing_feature = functools.cache(missing_feature)


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _warn(error: Exception) -> None:
    if not _is_busy(error):
        logger.warning("The search index is not up to date: %s", error)


@functools.cache
def _say_once(why: str | None) -> None:
    if why is not None:
        logger.warning("There is no search index: %s. Searches go through the interactions.", why)
