"""Damaged files of the archive: they keep nothing else from being done, but a run fails by them."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from chat.maintenance.runs import LockLost
from storage.exceptions import DamagedArchive, StorageError, StorageUnavailable


class Damage:
    """What a run has come across. At the end of its `with` block it tells.

    Then it raises DamagedArchive, or one error for all if there are more; also if the block ends
    because there is no time left or nothing to do, which would look as if no more was wrong.
    """

    def __init__(self) -> None:
        self.found: list[DamagedArchive] = []

    def __enter__(self) -> "Damage":
        """Nothing is damaged yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell, unless something as bad has ended the block."""
        is_as_bad = isinstance(error, StorageUnavailable | LockLost)
        if error is None or (isinstance(error, StorageError) and not is_as_bad):
            self._tell()

    @contextmanager
    def passed_over(self) -> Iterator[None]:
        """What is in the block ends where it meets a damaged file, and the run goes on."""
        try:
            yield
        except DamagedArchive as error:
            self.found.append(error)

    def _tell(self) -> None:
        by_name = {error.name: error for error in self.found}
        if len(by_name) > 1:
            raise StorageUnavailable(" ".join(str(error) for error in by_name.values()))
        for error in by_name.values():
            raise error
