"""The Storage interface: what every backend owes, and the checks that all of them share.

Each operation has two sides. The coroutine is for asynchronous callers; it runs the
synchronous twin (`..._sync`) on a small executor of the backend's own. Synchronous
callers, such as Django views and commands, call the twin directly: that is cheaper, and
a caller that already holds a connection cannot starve the executor of it.

A public method checks limits once; a backend supplies the private hooks.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from storage import expiry, limits
from storage.exceptions import (
    IdempotentInteractionGone,
    InvalidInteraction,
    InvalidInteractions,
)
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.models.interaction import COMPLETED_FIELDS
from storage.records import cursors
from storage.records.json import Record, Stored, from_record
from storage.records.outcomes import Outcome
from storage.records.pages import Page, PageQuery, Slice
from storage.records.questions import Question
from storage.records.stubs import TakenByStub
from storage.tiers import ATTEMPTS, Tiers

if TYPE_CHECKING:
    from storage.cache.audit import Audit


class Storage(Tiers):
    """Keeps chat interactions. `storage.get_storage()` gives the one that is configured.

    Every method may raise `StorageUnavailable` or, when it writes, `StorageFull`; a write
    that breaks a limit raises `InvalidInteraction` and changes nothing.
    """

    # The five operations of the data management decision.

    async def save_interaction(self, interaction: ChatInteraction) -> None:
        """Create the interaction, or replace the one with its id.

        `created_at` stays what the first save made it; `updated_at` becomes now. Both are
        set on `interaction`. An id never changes hands: raises InteractionConflict if it
        belongs to another user.
        """
        await self._run(self.save_interaction_sync, interaction)

    def save_interaction_sync(self, interaction: ChatInteraction) -> None:
        """The synchronous side of `save_interaction`."""
        interaction.updated_at = datetime.now(UTC)
        self._save(_checked(interaction))

    async def get_interaction(self, interaction_id: str) -> ChatInteraction | None:
        """The interaction with this id, or None if it is unknown or has expired."""
        return await self._run(self.get_interaction_sync, interaction_id)

    def get_interaction_sync(self, interaction_id: str) -> ChatInteraction | None:
        """The synchronous side of `get_interaction`."""
        found = self._found(interaction_id)
        return None if found is None else found.interaction

    async def get_user_interactions(self, user_id: str, limit: int) -> list[ChatInteraction]:
        """The newest `limit` interactions of a user, newest first, equal times by id."""
        return await self._run(self.get_user_interactions_sync, user_id, limit)

    def get_user_interactions_sync(self, user_id: str, limit: int) -> list[ChatInteraction]:
        """The synchronous side of `get_user_interactions`."""
        _check_limit(limit)
        if limits.identifier_violation(user_id):
            return []
        wanted = Slice(user_id, limit, _unexpired())
        return [from_record(record) for record in self._newest(wanted)[0]]

    async def cache_get(self, key: str) -> str | None:
        """The string cached under `key`, or None."""
        return await self._run(self.cache_get_sync, key)

    @abstractmethod
    def cache_get_sync(self, key: str) -> str | None:
        """The synchronous side of `cache_get`."""

    async def cache_set(self, key: str, value: str, ttl: int) -> None:
        """Cache `value` under `key` for `ttl` seconds (more than 0).

        What is cached besides is out of reach, whatever the key. A key of the form
        `chat:{user_id}:...` lies among those of its user.
        """
        await self._run(self.cache_set_sync, key, value, ttl)

    @abstractmethod
    def cache_set_sync(self, key: str, value: str, ttl: int) -> None:
        """The synchronous side of `cache_set`."""

    # An interaction as JSON.

    async def get_json(self, interaction_id: str, *, user_id: str | None = None) -> bytes | None:
        """The interaction with this id as `storage.records.json` writes it, or None.

        Cheaper than to get and then write it: a cached one is given as it is. With `user_id`,
        an interaction of another user counts as unknown.
        """
        return await self._run(self.get_json_sync, interaction_id, user_id=user_id)

    def get_json_sync(self, interaction_id: str, *, user_id: str | None = None) -> bytes | None:
        """The synchronous side of `get_json`."""
        found = self._found(interaction_id)
        if found is None or (user_id is not None and user_id != found.interaction.user_id):
            return None
        return found.json

    # Answers already given.

    async def find_answer(self, question: Question) -> ChatInteraction | None:
        """The newest answer that a user got to exactly this message, or None.

        On DynamoDB an answer may take a second to be found (the lag of an index). One that was
        changed since is given as it is now, or not at all.
        """
        return await self._run(self.find_answer_sync, question)

    def find_answer_sync(self, question: Question) -> ChatInteraction | None:
        """The synchronous side of `find_answer`."""
        found = self._found_answer(question)
        return None if found is None else found.interaction

    async def find_answer_json(self, question: Question) -> bytes | None:
        """As `find_answer`, in the form and for the reason of `get_json`."""
        return await self._run(self.find_answer_json_sync, question)

    def find_answer_json_sync(self, question: Question) -> bytes | None:
        """The synchronous side of `find_answer_json`."""
        found = self._found_answer(question)
        return None if found is None else found.json

    async def check_available(self) -> None:
        """Raises StorageUnavailable if interactions cannot be read from the database now."""
        await self._run(self.check_available_sync)

    @abstractmethod
    def check_available_sync(self) -> None:
        """The synchronous side of `check_available`."""

    async def audit_cache(self, sample: int | None) -> "Audit":
        """Compare about `sample` cached entries, or all if None, with the database.

        The entries are chosen at random. Raises NoSharedCache if there is none to look at.
        """
        return await self._run(self.audit_cache_sync, sample)

    @abstractmethod
    def audit_cache_sync(self, sample: int | None) -> "Audit":
        """The synchronous side of `audit_cache`."""

    # Creating, completing, deleting.

    async def create_interaction(
        self, interaction: ChatInteraction, idempotency: Idempotency | None = None
    ) -> tuple[ChatInteraction, bool]:
        """Save a new interaction; gives what is stored, and whether this call made it.

        A repeat with the same content gives the stored one and False; the same id with
        other content raises InteractionConflict. With `idempotency`, a repeat is told by its
        key instead: it gives what the first request made, raises IdempotencyKeyReused if the
        request differs, and IdempotentInteractionGone if the interaction was deleted since.
        """
        return await self._run(self.create_interaction_sync, interaction, idempotency)

    def create_interaction_sync(
        self, interaction: ChatInteraction, idempotency: Idempotency | None = None
    ) -> tuple[ChatInteraction, bool]:
        """The synchronous side of `create_interaction`."""
        try:
            stored, created = self._create(_checked(interaction), idempotency)
        except TakenByStub as taken:
            return self._same_as_archived(interaction, taken), False
        if stored is None:
            raise IdempotentInteractionGone(
                "The interaction made with this idempotency key was deleted."
            )
        return stored, created

    async def create_interactions(self, interactions: Sequence[ChatInteraction]) -> list[Outcome]:
        """Save many new interactions; one outcome each, in the same order.

        If any of them breaks a limit, InvalidInteractions is raised before anything is
        written. What exists already is never changed. Raises BatchUnfinished if a backend that
        saves each by itself (DynamoDB) has not done all in time. Repeating the call is safe.
        """
        return await self._run(self.create_interactions_sync, interactions)

    def create_interactions_sync(self, interactions: Sequence[ChatInteraction]) -> list[Outcome]:
        """The synchronous side of `create_interactions`."""
        by_index = {
            index: problems
            for index, interaction in enumerate(interactions)
            if (problems := limits.violations(interaction))
        }
        if by_index:
            raise InvalidInteractions(by_index)
        return self._compared(interactions, self._create_many(interactions))

    async def update_interaction(
        self, interaction_id: str, changes: Mapping[str, Any], *, user_id: str | None = None
    ) -> ChatInteraction | None:
        """Complete an interaction (response, model_used, tokens); gives it, or None if unknown.

        With `user_id`, an interaction of another user counts as unknown.
        """
        return await self._run(
            self.update_interaction_sync, interaction_id, changes, user_id=user_id
        )

    def update_interaction_sync(
        self, interaction_id: str, changes: Mapping[str, Any], *, user_id: str | None = None
    ) -> ChatInteraction | None:
        """The synchronous side of `update_interaction`."""
        if unknown := set(changes).difference(COMPLETED_FIELDS):
            allowed = ", ".join(COMPLETED_FIELDS)
            raise InvalidInteraction(
                dict.fromkeys(sorted(unknown), f"cannot be changed; only {allowed} can.")
            )
        if limits.identifier_violation(interaction_id):
            return None
        for _ in range(ATTEMPTS):
            updated = self._update(interaction_id, changes, user_id)
            if updated is not None or not self._refuse_archived(interaction_id, user_id):
                return updated
        return None  # it was not there each time, though others may have made it anew

    async def delete_interaction(self, interaction_id: str, *, user_id: str | None = None) -> bool:
        """Delete an interaction from every read at once; False if it is unknown.

        With `user_id`, an interaction of another user counts as unknown.
        """
        return await self._run(self.delete_interaction_sync, interaction_id, user_id=user_id)

    def delete_interaction_sync(self, interaction_id: str, *, user_id: str | None = None) -> bool:
        """The synchronous side of `delete_interaction`."""
        if limits.identifier_violation(interaction_id):
            return False
        for _ in range(ATTEMPTS):
            deleted = self._delete(interaction_id, user_id) or self._delete_archived(
                interaction_id, user_id
            )
            if deleted is not None:
                return deleted
        return False  # it was not there each time, though others may have made it anew

    # Lists, newest first.

    async def list_user_interactions(self, user_id: str, query: PageQuery) -> Page:
        """One page of a user's interactions. Raises InvalidCursor for a cursor of another query."""
        return await self._run(self.list_user_interactions_sync, user_id, query)

    def list_user_interactions_sync(self, user_id: str, query: PageQuery) -> Page:
        """The synchronous side of `list_user_interactions`."""
        if limits.identifier_violation(user_id):
            return Page([], None)
        return self._page(user_id, query)

    async def list_interactions(self, query: PageQuery) -> Page:
        """One page of everyone's interactions. Raises as `list_user_interactions` does."""
        return await self._run(self.list_interactions_sync, query)

    def list_interactions_sync(self, query: PageQuery) -> Page:
        """The synchronous side of `list_interactions`."""
        return self._page(None, query)

    # Shared by the methods above.

    def _found(self, interaction_id: str) -> Stored | None:
        if limits.identifier_violation(interaction_id):
            return None
        return self._get(interaction_id) or self._cold(interaction_id)

    def _found_answer(self, question: Question) -> Stored | None:
        if not question.can_be_answered():
            return None
        found = self._answer(question)
        # If the newest is not recent, none is.
        return found if found is not None and question.is_recent(found.interaction) else None

    def _page(self, user_id: str | None, query: PageQuery) -> Page:
        _check_limit(query.limit)
        scope = (user_id, str(query.created_after), str(query.created_before), query.tier)
        before = cursors.decode(query.cursor, scope) if query.cursor else None
        earliest = _unexpired(query.created_after)
        wanted = Slice(user_id, query.limit, earliest, before, query.created_before)
        if query.tier == "archive":
            records, last = self._cold_page(wanted)
        else:
            records, last = self._hot_page(wanted)
        return Page(records, None if last is None else cursors.encode(last, scope))

    def _hot_page(self, wanted: Slice) -> tuple[list[Record], cursors.Position | None]:
        found, more = self._newest(wanted)
        if not more:
            return found, None
        last = from_record(found[-1])
        return found, (last.created_at, last.interaction_id)


def _checked(interaction: ChatInteraction) -> ChatInteraction:
    if problems := limits.violations(interaction):
        raise InvalidInteraction(problems)
    return interaction


def _unexpired(created_after: datetime | None = None) -> datetime:
    """The earliest time that a list may show."""
    earliest = expiry.cutoff() + expiry.MICROSECOND
    return earliest if created_after is None else max(created_after, earliest)


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}.")
