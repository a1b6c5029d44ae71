"""The errors of the storage layer, the same for every backend.

Every error that a caller can meet at run time is a `StorageError`. A mistake in the configuration
is Django's `ImproperlyConfigured`, raised at start. No message contains text of an interaction.
"""

from collections.abc import Mapping, Sequence


class StorageError(Exception):
    """Base class of the errors of the storage layer."""


class InvalidInteraction(StorageError):
    """A value breaks one of the limits (`storage.limits`). Nothing was written.

    `violations` maps the name of a field to a sentence that says what is wrong and what is allowed.
    """

    def __init__(self, violations: Mapping[str, str]) -> None:
        self.violations = dict(violations)
        super().__init__("; ".join(f"{name}: {text}" for name, text in self.violations.items()))


class InvalidInteractions(InvalidInteraction):
    """Some interactions of a batch break limits. Nothing was written.

    `by_index` maps the index of an invalid interaction to its violations. `violations` are those
    of the first one.
    """

    def __init__(self, by_index: Mapping[int, Mapping[str, str]]) -> None:
        self.by_index = dict(by_index)
        super().__init__(next(iter(self.by_index.values())))


class InvalidCursor(StorageError):
    """The cursor was changed, or belongs to another query. Start from the first page."""


class InvalidSearch(StorageError):
    """A search asks for what no search can find.

    `violations` maps the name of a field of the search to a sentence that says what is allowed.
    """

    def __init__(self, violations: Mapping[str, str]) -> None:
        self.violations = dict(violations)
        super().__init__("; ".join(f"{name}: {text}" for name, text in self.violations.items()))


class SearchTooWide(InvalidSearch):
    """A text is looked for in all interactions, where no index has their words."""

    def __init__(self, days: int) -> None:
        self.days = days
        problem = (
            f"needs user_id, or created_after and created_before within {days} days, beside it: "
            "no index has all words, or not yet."
        )
        super().__init__({"text": problem})


class AnswerLookupOff(StorageError):
    """ANSWER_LOOKUP is false, so no answer can be looked up."""

    def __init__(self) -> None:
        super().__init__("Answers cannot be looked up: this service runs with ANSWER_LOOKUP=false.")


class InteractionConflict(StorageError):
    """An interaction with this id exists and has other content. Nothing was written."""

    def __init__(self, interaction_id: str) -> None:
        self.interaction_id = interaction_id
        super().__init__("An interaction with this id and other content exists.")


class IdempotencyKeyReused(StorageError):
    """The idempotency key was used for a different request. Use a new key for a new request."""

    def __init__(self) -> None:
        super().__init__("This idempotency key came with another request before.")


class IdempotentInteractionGone(StorageError):
    """The interaction that the first request with this idempotency key created was deleted."""


class InteractionArchived(InteractionConflict):
    """The interaction is archived and so cannot be changed. Nothing was written."""

    def __init__(self, interaction_id: str) -> None:
        self.interaction_id = interaction_id
        StorageError.__init__(
            self,
            "The interaction is archived and cannot be changed; restore its day first.",
        )


class ForeignTimes(StorageError):
    """A row's `created_at` is not formatted as this project does it, so the row sorts wrongly."""

    def __init__(self) -> None:
        super().__init__(
            "A created_at in the database was written by another program in a format that breaks "
            "the order of rows. Rewrite it as Django does: '2026-10-23 09:30:00.123456', and "
            "without the fraction if the microseconds are zero."
        )


class NoSharedCache(StorageError):
    """There is no cache that this process shares with the servers."""


class StorageUnavailable(StorageError):
    """The backend did not answer in time. A write may or may not have happened; try again.

    `retry_after` says after how many seconds another attempt makes sense.
    """

    retry_after = 1


class CacheNotErased(StorageUnavailable):
    """The cache did not confirm that it holds no more data of a user. Repeat the erasure."""

    retry_after = 60

    def __init__(self) -> None:
        super().__init__(
            "The cache did not confirm that it holds no more data of this user. Check that it is "
            "running, then erase the user again."
        )


class BatchUnfinished(StorageUnavailable):
    """Only part of a batch was saved. Repeating the whole call is safe and completes it.

    `interaction_ids` are the ids of those that may not have been saved.
    """

    def __init__(self, interaction_ids: Sequence[str]) -> None:
        self.interaction_ids = list(interaction_ids)
        super().__init__(
            f"{len(self.interaction_ids)} interactions of the batch may not have been saved. "
            "Send the batch again: saved ones stay as they are."
        )


class DamagedArchive(StorageUnavailable):
    """The file `name` of the archive is damaged. Replace it with a copy."""

    retry_after = 60

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"{name} in the archive is damaged: {problem}.")


class DamagedItem(StorageUnavailable):
    """The item of an interaction in the table is not as this or an earlier version writes it."""

    retry_after = 60

    def __init__(self, interaction_id: str, problem: str) -> None:
        self.interaction_id = interaction_id
        super().__init__(
            f"The item of interaction {interaction_id} is damaged, or of a later version: "
            f"{problem}. Delete the interaction, or restore the table."
        )


class StorageFull(StorageError):
    """The disk is full. Nothing was written. Writes work again as soon as there is space."""

    retry_after = 60
