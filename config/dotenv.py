"""Reads `.env` into the environment with django-environ, and refuses what that would pass over.

django-environ ignores a file that it may not read, a line with spaces around `=`, and a first line
after a byte order mark. A value that somebody has written down is read, or the start says why not.
"""

import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z_0-9]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""'(?!".*"')[^']*'|"(?:[^"\\]|\\["\\])*\"""")
_LEFTOVER = (
    "In an env file of Docker or Podman that is part of the value: remove the {}. If a store was "
    "used with such a SECRET_KEY, keep all of it in SECRET_KEY_FALLBACKS."
)
_CLOSE = 0.8
"""How alike two names must be for one to be a mistyped other: HOSTS and HOST, not HOSTNAME."""


def read(path: Path, known: Collection[str]) -> None:
    """Set the variables in a `.env` that the environment does not have. No file is no variables.

    Raises ImproperlyConfigured with one line for each mistake. It never shows a value.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{path} is not in UTF-8. Save it as UTF-8.") from None
    except OSError as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error.strerror}.") from None
    file = _File(path, known)
    lines = [file.line(number, line) for number, line in enumerate(text.split("\n"), start=1)]
    if file.mistakes:
        raise ImproperlyConfigured("\n".join(file.mistakes))
    environ.Env.read_env(io.StringIO("\n".join(lines)))


def refuse_leftovers(values: Mapping[str, str], known: Iterable[str]) -> None:
    """Raise ImproperlyConfigured if values have what belongs to the file that they come from.

    The env files of Docker and Podman have no quotes and no comments behind values: both become
    part of a value, and so of a SECRET_KEY. The message shows no value.
    """
    mistakes = []
    for name in known:
        value = values.get(name, "")
        if re.search(r"\s#", value):
            mistakes.append(f"{name} has a # after a space. {_LEFTOVER.format('comment')}")
        elif len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            mistakes.append(f"{name} is in quotes. {_LEFTOVER.format('quotes')}")
    if mistakes:
        raise ImproperlyConfigured("\n".join(mistakes))


class _File:
    """The lines of one file, as django-environ reads them, and the mistakes in them."""

    def __init__(self, path: Path, known: Collection[str]) -> None:
        self.mistakes: list[str] = []
        self._path = path
        self._known = known
        self._seen: dict[str, int] = {}

    def line(self, number: int, line: str) -> str:
        """Returns a line without what django-environ does not expect."""
        line = line.strip()
        if not line or line.startswith("#"):
            return ""
        found = _LINE.fullmatch(line)
        if found is None:
            self._refuse(number, "Write NAME=value, or begin a comment with #.")
            return ""
        name, value = found.groups()
        for mistake in (*self._of_name(name), *_of_value(name, value)):
            self._refuse(number, mistake)
        self._seen[name] = number
        return f"{name}={value}"

    def _of_name(self, name: str) -> Iterator[str]:
        if name in self._seen:
            yield f"{name} is in line {self._seen[name]} already. Keep one of the two."
        elif name not in self._known:
            meant = get_close_matches(name.upper(), self._known, n=1, cutoff=_CLOSE)
            if meant:
                yield f"{name} is no setting. Did you mean {meant[0]}?"

    def _refuse(self, number: int, mistake: str) -> None:
        self.mistakes.append(f"{self._path}, line {number}: {mistake}")


def _of_value(name: str, value: str) -> Iterator[str]:
    if not value.isprintable() and not value.replace("\t", "").isprintable():
        yield f"The value of {name} has a control character."
    elif value.startswith(("'", '"')) and not _QUOTED.fullmatch(value):
        yield (
            f"The quotes of {name} are not closed, something follows them, or a \\ in them stands "
            "before another character than \\ or a double quote. In single quotes everything but "
            "a single quote stands for itself."
        )
    elif not value.startswith(("'", '"')) and re.search(r"\s#", value):
        yield (
            f"{name} has a # after a space. Put the value in quotes if that belongs to it, or the "
            "comment on a line of its own."
        )
