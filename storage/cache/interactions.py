"""Interactions in the cache: by id, and as the newest answer to a message.

Under an id's key is the interaction itself. Under the keys of a message is only the id of the
newest answer: the interaction is then read by id, and tells whether it is still an answer to
that message. So a change or a deletion needs to know one key, that of the id; only what may have
become the newest answer must be told to the keys of its message.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from storage import expiry, limits
from storage.cache import keys, metrics
from storage.cache.cells import Cells
from storage.cache.read_through import Reading, ReadThrough, Unfit, new_token
from storage.exceptions import CacheNotErased, StorageUnavailable
from storage.models import ChatInteraction
from storage.records.json import Stored
from storage.records.questions import Question

VALUE_MAX_BYTES = 2_500_000
"""More than the longest JSON of an interaction: 390,000 bytes of text, each escaped as six."""

Read = Callable[[str], ChatInteraction | None]
Find = Callable[[Question], ChatInteraction | None]


class Writing:
    """One write to an interaction; says `committed` as soon as the database has it."""

    def __init__(self, cells: Cells, marked: Sequence[str]) -> None:
        self._cells = cells
        self.marked = list(marked)
        self.result: ChatInteraction | None = None

    def will_commit(self, interaction: ChatInteraction) -> None:
        """Before the commit of what only a read of the database could tell."""
        self.marked += [key for key in keys.answer_keys(interaction) if key not in self.marked]
        self._cells.mark(self.marked)

    def committed(self, interaction: ChatInteraction) -> None:
        """The database has this now. Without it, the key is just freed."""
        self.result = interaction


class InteractionCache:
    """Read-through and write-through, in cells, for `ttl` seconds and never past expiry."""

    def __init__(self, cells: Cells, ttl: float) -> None:
        self._cells = cells
        self._ttl = ttl
        self._through = ReadThrough(cells)

    def get(self, interaction_id: str, read: Read) -> Stored | None:
        """The cached interaction, or the one that `read` finds, which is then cached.

        `read` must give what the database has at that moment, all commits included.
        """
        return self._through.get(_ById(self, interaction_id, read))

    def answer(self, question: Question, find: Find, read: Read) -> Stored | None:
        """The cached newest answer, or the one that `find` finds, which is then cached.

        `read` is as for `get`.
        """
        return self._through.get(_Answer(self, question, find, read))

    @contextmanager
    def writing(
        self, interaction_id: str, interaction: ChatInteraction | None = None
    ) -> Iterator[Writing]:
        """Around a write to the database, from before its first to after its last request.

        `interaction` is what will be saved, if that is known already.
        """
        key = keys.interaction_key(interaction_id)
        writing = Writing(self._cells, [] if interaction is None else keys.answer_keys(interaction))
        begun = self._cells.begin(key, new_token(), writing.marked)
        token = begun or b""
        try:
            yield writing
        except StorageUnavailable:
            # It may take effect yet, so the key stays busy until the mark ends.
            self._cells.mark([key, *writing.marked])
            raise
        except BaseException:
            self._cells.end(key, token, None, 0, writing.marked)
            raise
        result = writing.result
        if result is None or begun is None:
            self._cells.end(key, token, None, 0, writing.marked)
        else:
            value = Stored(interaction=result).json
            self._cells.end(key, token, value, self.seconds_for(result), writing.marked)

    @contextmanager
    def creating(self, interactions: Sequence[ChatInteraction]) -> Iterator[None]:
        """Around a batch of new interactions. Nothing is cached of ids that do not exist."""
        marked = list({key for each in interactions for key in keys.answer_keys(each)})
        self._cells.mark(marked)
        try:
            yield
        finally:
            self._cells.mark(marked)

    @contextmanager
    def moving(self, interaction_ids: Sequence[str]) -> Iterator[None]:
        """Around a change of tiers, of which what is cached by id does not know."""
        marked = [keys.interaction_key(interaction_id) for interaction_id in interaction_ids]
        self._cells.mark(marked)
        try:
            yield
        finally:
            self._cells.mark(marked)

    @contextmanager
    def erasing(self, interactions: Sequence[ChatInteraction]) -> Iterator[None]:
        """Around a deletion of which the cache must have nothing left.

        Raises CacheNotErased: before it, and then nothing is to be deleted; or after it, and then
        the deletion is to be repeated with the same interactions, or `erase_user` to follow.
        """
        marked = {keys.interaction_key(each.interaction_id) for each in interactions}
        marked.update(key for each in interactions for key in keys.answer_keys(each))
        self._confirm(list(marked))
        try:
            yield
        except BaseException:
            self._cells.mark(list(marked))  # some of it may be done, or take effect yet
            raise
        self._confirm(list(marked))

    def erase_user(self, user_id: str) -> int:
        """Remove all that is of a user, the application's strings too; how much.

        What is read at this moment may be back unless the database has nothing more of the user.
        Raises CacheNotErased.
        """
        return self._cells.erase_user(user_id)

    def _confirm(self, marked: Sequence[str]) -> None:
        if not self._cells.confirmed_mark(marked):
            raise CacheNotErased

    def seconds_for(self, interaction: ChatInteraction) -> float:
        """How long it may be cached."""
        return min(self._ttl, expiry.seconds_left(interaction.created_at))


class _ById(Reading[Stored]):
    counts = metrics.counts_of("interaction")

    def __init__(self, cache: InteractionCache, interaction_id: str, read: Read) -> None:
        self.key = keys.interaction_key(interaction_id)
        self._cache = cache
        self._interaction_id = interaction_id
        self._read = read

    def from_cache(self, value: bytes) -> Stored | None:
        found = Stored(json=value)
        try:
            if len(value) > VALUE_MAX_BYTES or (
                found.interaction.interaction_id != self._interaction_id
            ):
                raise Unfit
        except (ValueError, RecursionError) as error:
            raise Unfit from error
        return None if expiry.has_expired(found.interaction.created_at) else found

    def from_database(self) -> Stored | None:
        interaction = self._read(self._interaction_id)
        return None if interaction is None else Stored(interaction=interaction)

    def to_cache(self, found: Stored) -> tuple[bytes, float]:
        return found.json, self._cache.seconds_for(found.interaction)


class _Answer(Reading[Stored]):
    counts = metrics.counts_of("answer")

    def __init__(self, cache: InteractionCache, question: Question, find: Find, read: Read) -> None:
        self.key = keys.answer_key(question)
        self._cache = cache
        self._question = question
        self._find = find
        self._read = read

    def from_cache(self, value: bytes) -> Stored | None:
        try:
            interaction_id: Any = orjson.loads(value) if len(value) <= VALUE_MAX_BYTES else None
        except ValueError as error:
            raise Unfit from error
        if limits.identifier_violation(interaction_id):
            raise Unfit
        found = self._cache.get(interaction_id, self._read)
        if found is None or not self._question.is_answered_by(found.interaction):
            return None
        return found

    def from_database(self) -> Stored | None:
        interaction = self._find(self._question)
        return None if interaction is None else Stored(interaction=interaction)

    def to_cache(self, found: Stored) -> tuple[bytes, float]:
        interaction = found.interaction
        return orjson.dumps(interaction.interaction_id), self._cache.seconds_for(interaction)
