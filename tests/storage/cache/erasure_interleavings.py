"""A user is erased while others read, write and delete the user's interaction.

Once the cache has confirmed the erasure, no read that starts then may show what was erased; not
even if another process has changed or deleted it before and could not say so to the cache. What is
written after the erasure is there again, as it should be.
"""

from collections.abc import Iterator
from typing import Any

from redis.exceptions import TimeoutError as RedisTimeoutError

from storage.exceptions import StorageUnavailable
from tests.storage.cache.interleavings import NONE, NeverOpen, OfOneId, numbered, step

ATTEMPTS = 20


class CutOff:
    """The cells of a process that cannot reach them until the others have done what they do."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Any:
        def fail(*arguments: Any) -> Any:
            if not self._run.active:
                return getattr(self._run.stepped, name)(*arguments)
            step()
            raise RedisTimeoutError

        return fail


class OfErasure(OfOneId):
    """`scans`: the cache is searched for what was the user's, as `forget_user` does; then the
    second process, if there is one, may be cut off. `marks`: the erased row's key is marked.
    """

    losses = 0.02

    def __init__(
        self, *arguments: Any, scans: bool = True, marks: bool = True, **options: Any
    ) -> None:
        self._scans, self._marks = scans, marks
        super().__init__(*arguments, **options)

    def set_up(self) -> None:
        super().set_up()
        self.erased = 0
        self.active = 0
        """Readers and erasers that are not done yet."""
        self._deletes = True
        if len(self._caches) == 2 and self._scans and self.fault == NONE:
            connected: Any = self.stepped
            self.stepped = CutOff(self)
            self._caches[1] = self._cache(1)
            self._caches[1].cells._guards._guards = [NeverOpen()]
            self.stepped = connected
        if not self._marks:
            for cache in self._caches:
                cache._confirm = lambda marked: None

    def tasks(self) -> Iterator[Any]:
        yield "eraser", self._counted(self.erase)
        yield from ((f"writer {number}", self.write) for number in range(2))
        yield from ((f"reader {number}", self._counted(self.read)) for number in range(3))

    def _counted(self, do: Any) -> Any:
        self.active += 1

        def done() -> None:
            try:
                do()
            finally:
                self.active -= 1

        return done

    def erase(self) -> None:
        for _ in range(self.chance.choice((1, 2))):
            for _ in range(self.chance.randrange(60)):
                step()
            for _ in range(ATTEMPTS):
                try:
                    erased = self._erase(self._caches[0])
                except StorageUnavailable:
                    continue
                self.erased = max(self.erased, erased)
                self.note("erased", erased)
                break

    def _erase(self, cache: Any) -> Any:
        """The version that is gone, and with it all before it."""
        step()
        seen = self.version
        gone = seen if self._scans else 0
        if seen and seen not in self.deleted:
            with cache.erasing([numbered(seen)]):
                gone = self.commit(lambda: self._write(True))
        if self._scans:
            cache.erase_user("ada")
        return gone

    def read(self) -> None:
        cache = self.a_cache()
        for _ in range(15):
            erased, misses = self.erased, []
            found = cache.get("i", lambda _, misses=misses: self._find(misses))
            self.reads += 1
            self.hits += not misses
            self.judge(None if found is None else found.interaction.input_tokens, erased)

    def judge(self, version: Any, erased: Any) -> None:
        stale = version is not None and version < erased
        self.note("STALE" if stale else "found", version)
        self.stale += stale
