"""A backend of an archive that fails at a chosen operation."""

import itertools
from collections.abc import Iterator
from typing import Any

OPERATIONS = (
    "save",
    "create_all",
    "delete",
    "delete_all",
    "listdir",
    "read_range",
    "remove_leftovers",
)


class Failing:
    """Raises OSError from the `number`-th operation: before it does anything, or after; once, or
    from then on.
    """

    def __init__(self, backend: Any, number: int, *, after: Any, once: Any) -> None:
        self._backend = backend
        self._number = number
        self._after = after
        self._once = once
        self._count = itertools.count(1)
        self.has_failed = False

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._backend, name)
        if name not in OPERATIONS:
            return operation

        def call(*args: Any) -> Any:
            number = next(self._count)
            fails = number == self._number or (number > self._number and not self._once)
            if not fails:
                return operation(*args)
            self.has_failed = True
            if self._after and number == self._number:
                operation(*args)
            raise OSError(5, "made to fail")

        return call


WAYS = [{"after": after, "once": once} for after in (False, True) for once in (False, True)]
"""Both ways to fail, and both to go on."""


def each_crash(prepare: Any, act: Any, ways: Any = WAYS) -> Iterator[Any]:
    """Runs `act(failing)` on what `prepare()` gives, failing at each operation, until it runs
    through; gives each backend after a failure.
    """
    for number, how in ((number, how) for number in itertools.count(1) for how in ways):
        backend = prepare()
        failing = Failing(backend, number, **how)
        try:
            act(failing)
        except Exception:
            assert failing.has_failed
        if not failing.has_failed:
            return
        yield backend
