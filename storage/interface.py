"""The Storage interface: one class, put together from a database, a cache and an archive.

Each operation has two sides. The coroutine is for asynchronous callers; it runs the synchronous
twin (`..._sync`) on a small executor. Synchronous callers, such as Django views and commands,
call the twin directly: that is cheaper, and a caller that already holds a connection cannot
starve the executor of it.

What stands here holds for every backend: limits, paging rules, expiry, the cache around each
read and write, and the archive behind the hot rows. `storage.database` lists what a backend adds.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from storage import expiry, limits, searching
from storage.archive.archive import Archive
from storage.archive.cold import ATTEMPTS, ColdStorage
from storage.cache.base import Cache
from storage.coroutines import Runner, coroutine
from storage.database import Database
from storage.exceptions import (
    AnswerLookupOff,
    ForeignTimes,
    IdempotentInteractionGone,
    InvalidInteraction,
    InvalidInteractions,
)
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.models.interaction import CHECKS, CHECKS_OF_STORED, COMPLETED_FIELDS, Checks
from storage.neighbours import Neighbours, neighbours_of
from storage.records import pages
from storage.records.cursors import Position
from storage.records.json import Record, Stored, dumps, from_record, position_in
from storage.records.outcomes import Outcome
from storage.records.pages import JsonPage, Page, PageQuery, Slice, TextsOf, every
from storage.records.questions import Question
from storage.records.searches import Search, SearchPage
from storage.records.stubs import Segments, TakenByStub
from storage.records.texts import OBJECT


class Storage:
    """Keeps chat interactions. `storage.get_storage()` returns the one that is configured.

    Every method may raise `StorageUnavailable` or, when it writes, `StorageFull`; a write
    that breaks a limit raises `InvalidInteraction` and changes nothing. Maintenance also uses
    the parts, `database` and `archive`, for what one of them does alone.
    """

    def __init__(self, database: Database, cache: Cache, archive: Archive) -> None:
        self.database = database
        self.cache = cache
        self.archive = archive
        self.runner = Runner(database.threads, database.release)

    # The five operations of the data management decision.

    async def save_interaction(self, interaction: ChatInteraction) -> None:
        """Create the interaction, or replace the one with its id.

        `created_at` stays what the first save made it; `updated_at` becomes now. Both are
        set on `interaction`. An id never changes hands: raises InteractionConflict if it
        belongs to another user.
        """
        await self.runner.run(self.save_interaction_sync, interaction)

    def save_interaction_sync(self, interaction: ChatInteraction) -> None:
        interaction.updated_at = datetime.now(UTC)
        if problems := interaction.violations():
            raise InvalidInteraction(problems)
        with self.cache.writing(interaction.interaction_id, interaction) as writing:
            self.database.save(interaction)
            writing.committed = interaction

    async def get_interaction(self, interaction_id: str) -> ChatInteraction | None:
        """The interaction with this id, or None if it is unknown or has expired."""
        return await self.runner.run(self.get_interaction_sync, interaction_id)

    def get_interaction_sync(self, interaction_id: str) -> ChatInteraction | None:
        if limits.identifier_violation(interaction_id):
            return None
        found = self.cache.get(interaction_id, self.database.read)
        found = found or self._cold.read(interaction_id)
        return None if found is None else found.interaction

    async def get_user_interactions(self, user_id: str, limit: int) -> list[ChatInteraction]:
        """The newest `limit` interactions of a user, newest first, equal times by id."""
        return await self.runner.run(self.get_user_interactions_sync, user_id, limit)

    def get_user_interactions_sync(self, user_id: str, limit: int) -> list[ChatInteraction]:
        wanted = PageQuery(limit).slice(user_id)
        if limits.identifier_violation(user_id):
            return []
        return self.database.newest_interactions(wanted)

    async def cache_get(self, key: str) -> str | None:
        """The string cached under `key`, or None."""
        return await self.runner.run(self.cache_get_sync, key)

    def cache_get_sync(self, key: str) -> str | None:
        return self.cache.get_string(key)

    async def cache_set(self, key: str, value: str, ttl: int) -> None:
        """Cache `value` under `key` for `ttl` seconds (more than 0).

        Keys of the application never collide with those of cached interactions. A key
        `chat:{user_id}:{rest}` is deleted when that user is erased. The rest has no colon: an id
        may have some, so `chat:ada:drafts:7` is one of the user `ada:drafts`.
        """
        await self.runner.run(self.cache_set_sync, key, value, ttl)

    def cache_set_sync(self, key: str, value: str, ttl: int) -> None:
        self.cache.set_string(key, value, ttl)

    def get_json_sync(self, interaction_id: str, *, user_id: str | None = None) -> bytes | None:
        """The interaction with this id as `storage.records.json` writes it, or None.

        Cheaper than `get_interaction` and `to_json`: it goes past objects. With `user_id`, an
        interaction of another user counts as unknown.
        """
        if limits.identifier_violation(interaction_id):
            return None
        found = self.cache.get_stored(interaction_id, self.database.read_stored)
        found = found or self._cold.read(interaction_id)
        if found is None or (user_id is not None and user_id != found.user_id):
            return None
        return found.json

    get_json = coroutine(get_json_sync)

    def find_answer_sync(self, question: Question) -> ChatInteraction | None:
        """The newest answer that a user got to exactly this message, or None.

        On DynamoDB an answer may take a second to be found (the lag of an index). One that was
        changed since is given as it is now, or not at all. Raises AnswerLookupOff.
        """
        found = self._found_answer(question)
        return None if found is None else found.interaction

    find_answer = coroutine(find_answer_sync)

    def find_answer_json_sync(self, question: Question) -> bytes | None:
        """As `find_answer`, but returns JSON, for the reason of `get_json`."""
        found = self._found_answer(question)
        return None if found is None else found.json

    find_answer_json = coroutine(find_answer_json_sync)

    def check_available_sync(self) -> None:
        """Raises StorageUnavailable if interactions cannot be read from the database now."""
        self.database.check_available()

    check_available = coroutine(check_available_sync)

    # Creating, completing, deleting.

    def create_interaction_sync(
        self, interaction: ChatInteraction, idempotency: Idempotency | None = None
    ) -> tuple[ChatInteraction, bool]:
        """Save a new interaction; returns what is stored, and whether this call made it.

        A repeat with the same content returns the stored one and False; the same id with
        other content raises InteractionConflict. With `idempotency`, a repeat is told by its
        key instead: it returns what the first request made, raises IdempotencyKeyReused if the
        request differs, and IdempotentInteractionGone if the interaction was deleted since.
        """
        if problems := interaction.violations():
            raise InvalidInteraction(problems)
        try:
            with self.cache.writing(interaction.interaction_id, interaction) as writing:
                stored, created = self.database.create(interaction, idempotency)
                if created and stored is not None:
                    writing.committed = stored
        except TakenByStub as taken:
            stored, created = self._cold.repeated(interaction, taken), False
        if stored is None or stored.user_id != interaction.user_id:  # its id was free in between
            raise IdempotentInteractionGone(
                "The interaction made with this idempotency key was deleted."
            )
        return stored, created

    create_interaction = coroutine(create_interaction_sync)

    def create_interactions_sync(self, interactions: Sequence[ChatInteraction]) -> list[Outcome]:
        """Save many new interactions; one outcome each, in the same order.

        If any of them breaks a limit, InvalidInteractions is raised before anything is
        written. What exists already is never changed. Raises BatchUnfinished if a backend that
        saves each by itself (DynamoDB) has not done all in time. Repeating the call is safe.
        """
        return self._create_many(interactions, CHECKS)

    create_interactions = coroutine(create_interactions_sync)

    def update_interaction_sync(
        self, interaction_id: str, changes: Mapping[str, Any], *, user_id: str | None = None
    ) -> ChatInteraction | None:
        """Complete an interaction (response, model_used, tokens); returns it, or None if unknown.

        With `user_id`, an interaction of another user counts as unknown.
        """
        if unknown := set(changes).difference(COMPLETED_FIELDS):
            allowed = ", ".join(COMPLETED_FIELDS)
            raise InvalidInteraction(
                dict.fromkeys(sorted(unknown), f"cannot be changed; only {allowed} can.")
            )
        if limits.identifier_violation(interaction_id):
            return None
        for _ in range(ATTEMPTS):
            updated = self._update(interaction_id, changes, user_id)
            if updated is not None or not self._cold.refuse_change(interaction_id, user_id):
                return updated
        return None  # not found in any attempt; others may have created it since

    update_interaction = coroutine(update_interaction_sync)

    def delete_interaction_sync(self, interaction_id: str, *, user_id: str | None = None) -> bool:
        """Delete an interaction from every read at once; False if it is unknown.

        With `user_id`, an interaction of another user counts as unknown.
        """
        if limits.identifier_violation(interaction_id):
            return False
        for _ in range(ATTEMPTS):
            with self.cache.writing(interaction_id):
                deleted: bool | None = self.database.delete(interaction_id, user_id)
            deleted = deleted or self._cold.delete(interaction_id, user_id)
            if deleted is not None:
                return deleted
        return False  # not found in any attempt; others may have created it since

    delete_interaction = coroutine(delete_interaction_sync)

    # Lists, newest first.

    def list_user_interactions_sync(self, user_id: str, query: PageQuery) -> Page:
        """One page of a user's interactions. Raises InvalidCursor for a cursor of another query."""
        if limits.identifier_violation(user_id):
            return Page([], None)
        return self._page(user_id, query)

    list_user_interactions = coroutine(list_user_interactions_sync)

    def list_user_interactions_json_sync(self, user_id: str, query: PageQuery) -> JsonPage:
        """As `list_user_interactions`, but returns JSON, for the reason of `get_json`."""
        if limits.identifier_violation(user_id):
            return JsonPage([], None)
        return self._json_page(user_id, query)

    list_user_interactions_json = coroutine(list_user_interactions_json_sync)

    def list_interactions_sync(self, query: PageQuery) -> Page:
        """One page of everyone's interactions. Raises as `list_user_interactions` does."""
        return self._page(None, query)

    list_interactions = coroutine(list_interactions_sync)

    def list_interactions_json_sync(self, query: PageQuery) -> JsonPage:
        """As `list_interactions`, but returns JSON, for the reason of `get_json`."""
        return self._json_page(None, query)

    list_interactions_json = coroutine(list_interactions_json_sync)

    def search_interactions_sync(self, search: Search) -> SearchPage:
        """One page of a search, with a bounded amount of work (`SearchPage`).

        Raises InvalidSearch for what cannot be searched, SearchTooWide for text in all there is
        where no index has the words, and InvalidCursor for a cursor of another search.
        """
        return searching.search(self._cold, search)

    search_interactions = coroutine(search_interactions_sync)

    def neighbours_sync(self, interaction: ChatInteraction) -> Neighbours:
        """What the same user asked before and after an interaction, whatever their tiers.

        Large texts of hot ones are not fetched; bytes stand in for them. One that was saved within
        the last second may be missing (the lag of an index).
        """
        return neighbours_of(self._cold, interaction)

    neighbours = coroutine(neighbours_sync)

    # For maintenance and pages of staff; synchronous only, as they are.

    def read_record(self, interaction_id: str, texts_of: TextsOf) -> Record | None:
        """The record with this id, or None, read past the cache.

        If `texts_of` is false, large texts of a hot one are not fetched; bytes stand in for them.
        """
        if limits.identifier_violation(interaction_id):
            return None
        found = self._cold.read_many([interaction_id], texts_of).get(interaction_id)
        return found and {name: value for name, value in found.items() if name != OBJECT}

    def oldest(
        self,
        until: datetime,
        limit: int,
        after: Position | None = None,
        texts_of: TextsOf = every,
    ) -> list[ChatInteraction]:
        """Up to `limit` hot interactions created at or before `until`, oldest first.

        Those that have expired are among them. `after` is where the previous page ended. Fewer, but
        not none, where texts are large. With `never` as `texts_of`, large texts may be left out.
        """
        page = self.database.oldest(until, limit, after, texts_of)
        if page and after == page[0].position:
            raise ForeignTimes  # the next page would begin with the same row, for ever
        return page

    def hot_of_user(
        self,
        user_id: str,
        limit: int,
        before: Position | None = None,
        texts_of: TextsOf = every,
    ) -> list[ChatInteraction]:
        """The newest hot interactions of a user (before a time and id), expired ones among them.

        Fewer than `limit`, but not none, where texts are large. For `texts_of`, see `oldest`.
        """
        wanted = Slice(user_id, limit, expiry.BEGINNING, before, None, pages.PAGE_TEXT, texts_of)
        return self.database.newest_interactions(wanted)

    def move_to_cold(self, interactions: Sequence[ChatInteraction], segment: Segments) -> int:
        """Replace interactions by stubs that name `segment`, which has them; returns the count.

        With a mapping, the stub of each names the segment that is there for its id.

        One whose fields are not exactly those given has changed, and stays.
        """
        with self.cache.moving([moved.interaction_id for moved in interactions]):
            return self.database.move_to_cold(interactions, segment)

    def return_from_cold(self, interactions: Sequence[ChatInteraction], segment: str) -> int:
        """Replace stubs that name `segment` by these interactions; returns the count."""
        with self.cache.moving([moved.interaction_id for moved in interactions]):
            return self.database.return_from_cold(interactions, segment)

    def copy_interactions(self, interactions: Sequence[ChatInteraction]) -> list[Outcome]:
        """As `create_interactions`, for what another store has: ids may be older than a rule."""
        return self._create_many(interactions, CHECKS_OF_STORED)

    def erase_hot(self, interactions: Sequence[ChatInteraction], user_id: str) -> int:
        """Delete a user's hot interactions, from the cache as well; returns the count.

        Raises CacheNotErased. Then repeat it with the same interactions, or call `forget_user`.
        """
        with self.cache.erasing(interactions):
            return self.database.remove_of_user(interactions, user_id)

    def forget_user(
        self, user_id: str, check_time: Callable[[], None] = lambda: None
    ) -> dict[str, int]:
        """Delete what is kept of a user besides interactions; returns counts by kind.

        That is what the cache has (here and in other processes) and idempotency keys. Raises
        CacheNotErased, and what `check_time` raises, which is called again and again.
        """
        counts = self.database.forget_user(user_id, check_time)
        cached = self.cache.erase_user(user_id, check_time)
        return counts if cached is None else counts | {"cached": cached}

    # Shared by the methods above.

    def _create_many(
        self, interactions: Sequence[ChatInteraction], checks: Checks
    ) -> list[Outcome]:
        cutoff = expiry.cutoff()
        by_index = {
            index: problems
            for index, interaction in enumerate(interactions)
            if (problems := interaction.violations(checks, cutoff))
        }
        if by_index:
            raise InvalidInteractions(by_index)
        with self.cache.creating(interactions):
            outcomes = self.database.create_many(interactions)
        return self._cold.compared(interactions, outcomes)

    def _found_answer(self, question: Question) -> Stored | None:
        if not settings.ANSWER_LOOKUP:
            raise AnswerLookupOff
        if not question.can_be_answered():
            return None
        found = self.cache.answer(question, self.database.find_answer, self.database.read)
        # If the newest is not recent, none is.
        return found if found is not None and question.is_recent(found.created_at) else None

    def _page(self, user_id: str | None, query: PageQuery) -> Page:
        wanted = query.slice(user_id, pages.PAGE_TEXT)
        if query.tier == "archive":
            records, last = self._cold.page(wanted)
        else:
            records, more = self.database.newest(wanted)
            last = from_record(records[-1]).position if more else None
        return Page(records, query.cursor_after(user_id, last))

    def _json_page(self, user_id: str | None, query: PageQuery) -> JsonPage:
        wanted = query.slice(user_id, pages.PAGE_TEXT)
        if query.tier == "archive":
            records, last = self._cold.page(wanted)
            items = [dumps(record) for record in records]
        else:
            items, more = self.database.newest_json(wanted)
            last = position_in(items[-1]) if more else None
        return JsonPage(items, query.cursor_after(user_id, last))

    def _update(
        self, interaction_id: str, changes: Mapping[str, Any], user_id: str | None
    ) -> ChatInteraction | None:
        with self.cache.writing(interaction_id) as writing:
            updated = self.database.update(interaction_id, changes, user_id, writing.will_commit)
            if updated is not None:
                writing.committed = updated
        return updated

    @property
    def _cold(self) -> ColdStorage:
        return ColdStorage(self.database, self.archive)


class LocalStorage(Storage):
    """SQLite with an in-memory cache: `LocalStorage(sqlite, memory_cache, archive)`."""


class CloudStorage(Storage):
    """DynamoDB with Redis as its cache, or with none: `CloudStorage(dynamodb, redis, archive)`."""
