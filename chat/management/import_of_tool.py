"""What `import_interactions` reads of other tools.

A module of its own, because an import of our own form does not need what counts and translates.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from chat.importing import STEP, STEP_BYTES, Placed
from chat.ingest import counts
from chat.ingest.calls import LeftOut, ModelCall, Translated
from chat.ingest.interactions import interactions
from chat.ingest.keeping import Taken, is_stored
from chat.ingest.reasons import Reason
from storage.models import ChatInteraction

DETAILS = 20
"""The most lines about one reason. Files of other tools may have millions that are left out."""

EXPECTED = frozenset({Reason.TOOL_STEP, Reason.NO_CALL, Reason.FAILED, Reason.EXPIRED})
"""Reasons that are no mistake: nothing could be done about them."""

_REMEDIES = {
    Reason.NO_USER: "Say whose they are: --user USER.",
    Reason.NO_TEXT: "The tool has logged no text.",
}
"""Of a file. Others are as the reasons themselves say."""


class FormOfTool:
    """A file of another tool, as a reader in `chat.ingest.files` makes calls of it.

    `source` is its name in counts; without one, nothing is counted.
    """

    def __init__(
        self,
        read: Callable[[IO[bytes]], Iterator[Translated]],
        source: str | None,
        write: Callable[[str], None],
    ) -> None:
        self._read = read
        self._source = source
        self._write = write
        self._reasons: Counter[Reason] = Counter()
        self._told: Counter[str] = Counter()

    @property
    def left_out(self) -> int:
        return self._reasons.total()

    def placed(self, file: IO[bytes]) -> Iterator[Placed]:
        for chunk in _chunks(self._read(file)):
            left_out = []
            for made in interactions(chunk, None):
                if isinstance(made, LeftOut):
                    left_out.append(made)
                    self._leave_out(made)
                else:
                    yield made[0].place, made[1]
            self._count(Taken(len(left_out), left_out=left_out))

    def _leave_out(self, one: LeftOut) -> None:
        self._reasons[one.reason] += 1
        if one.reason not in EXPECTED:
            label = one.reason.label
            self._detail(label, f"{one.place}: {label}: {one.detail or _remedy(one.reason)}")

    def is_same(self, interaction: ChatInteraction) -> bool:
        return is_stored(interaction)

    def tell(self, place: str, problem: str) -> None:
        self._detail("not saved", f"{place}: {problem}")

    def _detail(self, kind: str, text: str) -> None:
        self._told[kind] += 1
        if self._told[kind] <= DETAILS:
            self._write(text)
        elif self._told[kind] == DETAILS + 1:
            self._write(f"... and more like these; from here on they are only counted: {kind}")

    def saved(self, outcomes: Counter[str]) -> None:
        conflicts, erased = outcomes["conflict"], outcomes["erased"]
        left_out = [LeftOut(Reason.CONFLICT)] * conflicts + [LeftOut(Reason.ERASED)] * erased
        created, unchanged = outcomes["created"], outcomes["unchanged"]
        self._count(Taken(outcomes.total(), created, unchanged, left_out))

    def _count(self, taken: Taken) -> None:
        if self._source is not None:
            counts.record(self._source, taken)

    def summary(self) -> tuple[str, list[str]]:
        lines = [
            f"  {number} {reason.label}: {_remedy(reason)}"
            for reason, number in self._reasons.most_common()
        ]
        return f"{self.left_out} left out", lines

    @property
    def is_sound(self) -> bool:
        return not self._reasons.keys() - EXPECTED


def _chunks(translated: Iterable[Translated]) -> Iterator[list[Translated]]:
    """What is taken together, in which steps give their tokens to the answer of their turn."""
    chunk: list[Translated] = []
    characters = 0
    for one in translated:
        chunk.append(one)
        if isinstance(one, ModelCall):
            characters += len(one.message or "") + len(one.response or "")
        if len(chunk) == STEP or characters >= STEP_BYTES:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _remedy(reason: Reason) -> str:
    return _REMEDIES.get(reason, reason.remedy)
