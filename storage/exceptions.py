"""What can go wrong while interactions are kept, whichever backend keeps them.

Every error a caller can meet at run time is a `StorageError`. A mistake in the
configuration is Django's `ImproperlyConfigured`, raised at start and not here.
No message ever holds text of an interaction.
"""

from collections.abc import Mapping, Sequence


class StorageError(Exception):
    """Anything the storage layer refuses or cannot do."""


class InvalidInteraction(StorageError):
    """A value is outside the limits that hold on every backend (`storage.limits`).

    `violations` maps each field's name to a sentence saying what is wrong and what would be right.
    """

    def __init__(self, violations: Mapping[str, str]) -> None:
        self.violations = dict(violations)
        super().__init__("; ".join(f"{name}: {text}" for name, text in self.violations.items()))


class InvalidInteractions(InvalidInteraction):
    """Some of many interactions break limits; nothing was written.

    `by_index` maps the position of each bad one to its violations; `violations` are those of
    the first.
    """

    def __init__(self, by_index: Mapping[int, Mapping[str, str]]) -> None:
        self.by_index = dict(by_index)
        super().__init__(next(iter(self.by_index.values())))


class InvalidCursor(StorageError):
    """The cursor was not issued by this store, or for another query. Start from the first page."""


class InteractionConflict(StorageError):
    """The id is taken by an interaction with other content. Nothing was written."""

    def __init__(self, interaction_id: str) -> None:
        self.interaction_id = interaction_id
        super().__init__("An interaction with this id and other content exists.")


class IdempotencyKeyReused(StorageError):
    """The idempotency key came with another request before. Use a new key for a new request."""


class IdempotentInteractionGone(StorageError):
    """What the first request with this idempotency key made has been deleted since."""


class InteractionArchived(InteractionConflict):
    """The interaction is in cold storage, where nothing changes. Nothing was written."""

    def __init__(self, interaction_id: str) -> None:
        self.interaction_id = interaction_id
        StorageError.__init__(
            self,
            "The interaction is archived and cannot be changed any more; restore its day first.",
        )


class ForeignTimes(StorageError):
    """A row's time is not written as this project writes times, so it sorts elsewhere."""

    def __init__(self) -> None:
        super().__init__(
            "A created_at in the database was written by another program, in a form that sorts "
            "otherwise. Write it as Django does: without microseconds that are zero."
        )


class NoSharedCache(StorageError):
    """There is no cache that this process shares with the servers."""


class StorageUnavailable(StorageError):
    """The backend did not answer in time. Nothing is known to be written; try again.

    `retry_after` is the pause in seconds after which another attempt makes sense.
    """

    retry_after = 1


class CacheNotErased(StorageUnavailable):
    """The cache has not confirmed that it has nothing of a person any more. Do it again."""

    retry_after = 60

    def __init__(self) -> None:
        super().__init__(
            "The cache did not confirm that it has nothing of this user any more. See that it "
            "answers, and erase the user again."
        )


class BatchUnfinished(StorageUnavailable):
    """Some of many interactions were saved; repeating the whole call is safe and goes on.

    `interaction_ids` are those that may not have been saved.
    """

    def __init__(self, interaction_ids: Sequence[str]) -> None:
        self.interaction_ids = list(interaction_ids)
        super().__init__(
            f"{len(self.interaction_ids)} interactions of the batch may not have been saved. "
            "Send it again: what was saved stays as it is."
        )


class DamagedArchive(StorageUnavailable):
    """A file of the archive is not what was written. Put it back from a copy; `name` says which."""

    retry_after = 60

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name} in the archive is damaged: {problem}.")


class StorageFull(StorageError):
    """No space is left. Nothing was written; writes work again as soon as there is space."""

    retry_after = 60
