"""Damaged files of the archive. A run does everything else, and then fails and names them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chat.maintenance.runs import LockLost
from storage.exceptions import DamagedArchive, StorageError, StorageFull, StorageUnavailable


class DamagedFiles(StorageUnavailable):
    """Several files of the archive are damaged."""

    def __init__(self, found: Sequence[DamagedArchive]) -> None:
        self.found = found
        super().__init__(" ".join(map(str, found)))


class Damage:
    """The damage that a run has found. It is raised at the end of the `with` block.

    One damaged file is a DamagedArchive; several are one DamagedFiles that names them all.
    They replace other errors such as OutOfTime, which would hide that there is damage.
    """

    def __init__(self) -> None:
        self.found: list[DamagedArchive] = []

    def __enter__(self) -> "Damage":
        """Start with nothing found."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raise what was found, unless the block failed with something as severe."""
        is_as_bad = isinstance(error, StorageUnavailable | StorageFull | LockLost)
        if is_as_bad or not isinstance(error, StorageError | None):
            return
        by_name = {found.name: found for found in self.found}
        if len(by_name) > 1:
            raise DamagedFiles(list(by_name.values()))
        for found in by_name.values():
            raise found

    @contextmanager
    def passed_over(self) -> Iterator[None]:
        """End the block at damaged files, note the damage, and let the run go on."""
        try:
            yield
        except DamagedArchive as error:
            self.found.append(error)
        except DamagedFiles as error:
            self.found += error.found
