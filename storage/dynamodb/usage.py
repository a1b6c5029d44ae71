"""Follows the table's stream, and adds what changed to the roll-ups of usage in the SQL database.

The stream is the outbox: no write of the table is added to any call. What a page of it adds up to
and the new position in its shard are committed in one transaction, and only if the position is
still the one that the page was read from. So each change counts once, however many processes
follow and whenever they are killed. See docs/decisions/0040-usage-from-the-stream.md.
"""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db import transaction

from storage.dynamodb import stream, usage_rows
from storage.dynamodb.client import Client, IteratorExpired
from storage.dynamodb.stream import Record, Shard, Stream
from storage.dynamodb.usage_rows import ALIAS, Positions
from storage.exceptions import StorageError
from storage.models import StreamPosition
from storage.models.usage import ROLL_UPS_OF_USERS
from storage.sql.errors import translated
from storage.sql.vendors import lock_until_commit

logger = logging.getLogger(__name__)

KEPT = timedelta(hours=23)
"""A stream keeps a change for 24 hours. Whoever was away for longer than this may miss some."""

EMPTY_PAGES = 2
"""So many in a row are taken for the end by an iterator that is near it. A page may be empty
although more follows."""

EMPTY_PAGES_AT_FIRST = 10
"""The same for another iterator: there may be hours without a change behind a position."""

NEAR_END = timedelta(minutes=1)
"""An iterator is near the end behind a change that is not older. A shard that is written to all the
time has seldom ten empty pages in a row."""

REMEMBERED_SECONDS = 600.0
"""How long an iterator is used again. It is valid for 15 minutes."""

LOOK_SECONDS = 60.0
"""How old the knowledge may be which stream the table has."""

NOTED_EVERY = timedelta(seconds=30)
"""How much time a position may have gone without a change until that is written down."""


def is_near_end(records: Sequence[Record], asked_at: datetime) -> bool:
    """Whether an iterator that has just returned these is near the end, as far as they tell."""
    return bool(records) and asked_at - stream.time_of(records[-1]) < NEAR_END


class UsageFollower:
    """Follows the stream of one table. Threads share one; one of them follows at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._turn = threading.Lock()
        self._stream: tuple[float, Stream | None] | None = None
        self._shards: dict[str, Shard] = {}
        self._iterators: dict[tuple[str, str], tuple[float, str]] = {}
        self._near_end: set[str] = set()
        """Shards of which an iterator has come to the end, or near it, and goes on from there."""

    def follow(self, seconds: float) -> datetime | None:
        """See `Database.count_usage`. If the stream does not answer, what is counted is returned.

        Raises StorageError if the SQL database fails.
        """
        deadline = time.monotonic() + seconds
        if not self._turn.acquire(timeout=max(seconds, 0)):
            return self._until()
        try:
            return self._follow(deadline)
        except StorageError as error:
            logger.warning("The usage could not be counted up to now: %s", error)
            return self._until()
        finally:
            self._turn.release()

    def _follow(self, deadline: float) -> datetime | None:
        current = self._current_stream()
        if current is None:
            return None
        while (positions := self._positions(current)) is not None:
            reads = [self._read(position, deadline) for position in self._readable(positions)]
            if all(reads) or time.monotonic() >= deadline:
                return usage_rows.complete_until(positions.values())
        return None

    def _current_stream(self) -> Stream | None:
        now = time.monotonic()
        if self._stream is None or now - self._stream[0] > LOOK_SECONDS:
            found = stream.current(self._client)
            self._shards.clear()  # so that no shard stays unknown for long
            if self._stream is None or found != self._stream[1]:
                self._iterators.clear()
            self._stream = now, found
        return self._stream[1]

    def _until(self) -> datetime | None:
        """The time up to which all is counted according to the database, or None."""
        rows = StreamPosition.objects.using(ALIAS)
        if self._stream is not None:
            current = self._stream[1]
            rows = rows.filter(stream="" if current is None else current.arn)
        with translated:
            return usage_rows.complete_until(rows)

    def _positions(self, current: Stream) -> Positions | None:
        """The positions in all shards, or None if changes are lost.

        Where nothing was counted yet, counting begins, if the stream has everything.
        """
        with translated:
            rows = usage_rows.positions(current.arn)
            if not rows and usage_rows.waits_for_rebuild():
                return None  # the rebuild begins to follow; until then a reader has nothing to do
        if not rows or self._may_have_others(rows):
            rows = self._with_new_shards(current, rows)
        if not rows or self._missed_changes(rows):
            self._lose()
            return None
        return rows

    def _may_have_others(self, rows: Positions) -> bool:
        """Whether there may be shards without a position. New ones go on where others ended."""
        is_open = {name for name, row in rows.items() if not row.is_closed}
        parents = {shard.parent for name, shard in self._shards.items() if name in rows}
        ended = self._shards.keys() - is_open
        return not is_open <= self._shards.keys() or not ended <= parents

    def _with_new_shards(self, current: Stream, rows: Positions) -> Positions:
        found = stream.shards(self._client, current.arn)
        self._shards = {shard.name: shard for shard in found}
        with translated, transaction.atomic(ALIAS):
            if rows:
                usage_rows.add_shards(current.arn, found, rows)
                if not self._missed_changes(rows):
                    # DynamoDB has removed them, a day after their last change.
                    usage_rows.close(row for name, row in rows.items() if name not in self._shards)
            elif current.has_everything:
                usage_rows.begin(current.arn, list(self._shards), current.created_at)
            return usage_rows.positions(current.arn)

    def _lose(self) -> None:
        with translated:
            if usage_rows.waits_for_rebuild():
                return
            usage_rows.lose()
        logger.warning(
            "Changes of the table %s are not in its stream, so usage is missing. The next run of "
            "manage.py archive_interactions or rebuild_usage counts it again.",
            self._client.table,
        )

    def _missed_changes(self, rows: Positions) -> bool:
        oldest = datetime.now(UTC) - KEPT
        return any(
            not row.is_closed and self._known_until(row, rows) < oldest for row in rows.values()
        )

    def _known_until(self, row: StreamPosition, rows: Positions) -> datetime:
        """When nothing was missing yet. A shard that nobody has begun begins with its parent."""
        parent = rows.get(self._parent_of(row) or "")
        return row.counted_until if parent is None else max(row.counted_until, parent.counted_until)

    def _parent_of(self, row: StreamPosition) -> str | None:
        shard = self._shards.get(row.shard)
        return None if shard is None else shard.parent

    def _readable(self, rows: Positions) -> list[StreamPosition]:
        """Shards that have not ended, and whose parents are counted to their ends."""
        found = []
        for row in rows.values():
            parent = rows.get(self._parent_of(row) or "")
            if not row.is_closed and (parent is None or parent.is_closed):
                found.append(row)
        return found

    def _read(self, position: StreamPosition, deadline: float) -> bool:
        """Count a shard until now. Returns False if there is more to do."""
        empty = 0
        while time.monotonic() < deadline:
            asked_at = datetime.now(UTC)
            page = self._page(position)
            records = stream.after(position.sequence, page.records)
            if records:
                empty, until = 0, stream.time_of(records[-1])
            else:
                empty, until = empty + 1, asked_at
            if is_near_end(records, asked_at):
                self._near_end.add(position.shard)
            is_closed = page.following is None
            is_over = empty >= self._empty_at_end(position)
            if (records or is_closed or is_over) and not self._count(
                position, records, until, is_closed=is_closed
            ):
                return False
            if is_closed:
                self._near_end.discard(position.shard)
                return False  # its children are next
            self._remember(position, str(page.following))
            if is_over:
                self._near_end.add(position.shard)
                return True
        return False

    def _empty_at_end(self, position: StreamPosition) -> int:
        return EMPTY_PAGES if position.shard in self._near_end else EMPTY_PAGES_AT_FIRST

    def _page(self, position: StreamPosition) -> stream.Page:
        key = position.shard, position.sequence
        at, iterator = self._iterators.pop(key, (0.0, ""))
        if iterator and time.monotonic() - at < REMEMBERED_SECONDS:
            try:
                return stream.page(self._client, iterator)
            except IteratorExpired:
                pass
        self._near_end.discard(position.shard)
        place = position.stream, position.shard, position.sequence
        return stream.page(self._client, stream.iterator_after(self._client, *place))

    def _remember(self, position: StreamPosition, iterator: str) -> None:
        self._iterators[position.shard, position.sequence] = time.monotonic(), iterator

    def _count(
        self,
        position: StreamPosition,
        records: Sequence[Record],
        until: datetime,
        *,
        is_closed: bool,
    ) -> bool:
        """Count a page and move the position behind it, or do neither. Returns whether it did.

        It does not if another process has moved the position meanwhile.
        """
        sequence = stream.sequence_of(records[-1]) if records else position.sequence
        noted, until = position.counted_until, max(until, position.counted_until)
        if records or is_closed or until - noted >= NOTED_EVERY:
            with translated, transaction.atomic(ALIAS):
                lock_until_commit(ROLL_UPS_OF_USERS, ALIAS)
                if not usage_rows.move(position, sequence, until, is_closed=is_closed):
                    return False
                usage_rows.count(records)
        position.sequence, position.counted_until = sequence, until
        position.is_closed = is_closed
        return True
