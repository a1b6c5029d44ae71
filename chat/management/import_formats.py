"""What `import_interactions` reads: files of this project here, and of other tools beside it."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, Protocol

from chat import interchange
from chat.importing import Placed
from storage.models import ChatInteraction

Tell = Callable[[str], None]


class Format(Protocol):
    """The interactions in a file, and what becomes of all else in it."""

    @property
    def left_out(self) -> int:
        """How many entries are no interaction that can be saved."""

    def placed(self, file: IO[bytes]) -> Iterator[Placed]:
        """The interactions, each with its place. Raises BrokenFile."""

    def is_same(self, interaction: ChatInteraction) -> bool:
        """Whether what is stored under its id is the same, although it differs."""

    def tell(self, place: str, problem: str) -> None:
        """Tell why an interaction was not saved."""

    def saved(self, outcomes: Counter[str]) -> None:
        """Take note of what has become of the interactions."""

    def summary(self) -> tuple[str, list[str]]:
        """How many were left out; and further lines about them."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing was left out that somebody could mend."""


ANOTHER_TOOL = (
    "  Did another tool write the file? Then say which: --format llm, litellm, openai or langfuse."
)


class OwnForm:
    """Lines as `export_interactions` writes them. Each bad one is named."""

    def __init__(self, write: Tell) -> None:
        self._bad = 0
        self._has_good = False
        self._write = write

    @property
    def left_out(self) -> int:
        return self._bad

    def placed(self, file: IO[bytes]) -> Iterator[Placed]:
        for number, line in enumerate(interchange.lines(file), start=1):
            if not line.strip():
                continue
            try:
                record = interchange.parse(line)
                self._has_good = True
                yield f"line {number}", record
            except interchange.BadLine as error:
                if not interchange.is_end(line):
                    self._bad += 1
                    self.tell(f"line {number}", str(error))

    def is_same(self, interaction: ChatInteraction) -> bool:
        return False

    def tell(self, place: str, problem: str) -> None:
        self._write(f"{place}: {problem}")

    def saved(self, outcomes: Counter[str]) -> None:
        pass

    def summary(self) -> tuple[str, list[str]]:
        strange = self._bad and not self._has_good
        return f"{self._bad} bad lines", [ANOTHER_TOOL] if strange else []

    @property
    def is_sound(self) -> bool:
        return not self._bad
