"""Every environment variable the project reads: its name, type, default and meaning.

They are read here, once, from the environment or else from `.env` in the project's folder;
`config.settings` uses the values. The table in the README is checked against `VARIABLES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

_env = environ.Env()
_env.read_env(str(BASE_DIR / ".env"))


@dataclass(frozen=True)
class Variable:
    """One environment variable. `default` is text, as it would be written in the environment."""

    name: str
    type: str
    default: str
    meaning: str

    @property
    def value(self) -> Any:
        """The value, converted. Raises ImproperlyConfigured saying what would be right."""
        text = _env.str(self.name, default=self.default)
        convert, expected = _TYPES[self.type]
        try:
            return convert(text)
        except ValueError:
            raise ImproperlyConfigured(
                f"{self.name}={text!r} is not {expected}. It means: {self.meaning}"
            ) from None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise ValueError
    return number


def _boolean(text: str) -> bool:
    if text.lower() not in ("1", "true", "0", "false"):
        raise ValueError
    return text.lower() in ("1", "true")


def _one_of(*choices: str) -> Callable[[str], str]:
    def choose(text: str) -> str:
        if text not in choices:
            raise ValueError
        return text

    return choose


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


_TYPES: dict[str, tuple[Callable[[str], Any], str]] = {
    "text": (str, "text"),
    "path": (lambda text: BASE_DIR / text, "a path"),
    "boolean": (_boolean, "1, true, 0 or false"),
    "seconds": (_positive, "a whole number of seconds from 1"),
    "number": (_positive, "a whole number from 1"),
    "port": (_port, "a port number from 1 to 65535"),
    "list": (_words, "words with commas between them"),
    "theme": (_one_of("unfold", "django"), "unfold or django"),
    "level": (
        _one_of("DEBUG", "INFO", "WARNING", "ERROR"),
        "DEBUG, INFO, WARNING or ERROR",
    ),
}

ENVIRONMENT = Variable(
    "ENVIRONMENT",
    "text",
    "development",
    "Where this runs. `production` selects DynamoDB and Redis, any other name SQLite and memory.",
)
SECRET_KEY = Variable(
    "SECRET_KEY",
    "text",
    "",
    "Signs sessions and page cursors. Outside development it must be set; in development one "
    "is made once and kept in `DATA_DIR`.",
)
DEBUG = Variable("DEBUG", "boolean", "false", "Show tracebacks in the browser. Never in public.")
DATA_DIR = Variable("DATA_DIR", "path", "var", "The folder for what the application keeps on disk.")
DATABASE_URL = Variable(
    "DATABASE_URL",
    "text",
    "",
    "`sqlite:///path` (four slashes for an absolute path). Empty: `chat.sqlite3` in `DATA_DIR`.",
)
HOST = Variable("HOST", "text", "127.0.0.1", "The address that `manage.py serve` listens on.")
PORT = Variable("PORT", "port", "8000", "The port that `manage.py serve` listens on.")
WORKERS = Variable("WORKERS", "number", "1", "Server processes of `manage.py serve`.")
THREADS = Variable(
    "THREADS",
    "number",
    "1",
    "Requests that each server process works on at once. 1 costs the least CPU. A client that "
    "stalls in the middle of its body holds one: before foreign clients put a proxy that buffers "
    "requests, as nginx does, or set 64.",
)
ALLOWED_HOSTS = Variable(
    "ALLOWED_HOSTS",
    "list",
    "localhost,127.0.0.1,[::1]",
    "Host names that requests may name.",
)
CSRF_TRUSTED_ORIGINS = Variable(
    "CSRF_TRUSTED_ORIGINS",
    "list",
    "",
    "Origins, such as `https://chat.example.org`, from which the admin's forms may be sent "
    "when a proxy stands in front.",
)
CACHE_TTL = Variable("CACHE_TTL", "seconds", "300", "How long a cached interaction is used.")
ADMIN_THEME = Variable(
    "ADMIN_THEME", "theme", "unfold", "The look of the admin: `unfold`, or Django's own `django`."
)
LOG_LEVEL = Variable("LOG_LEVEL", "level", "INFO", "The least severe message that is logged.")

VARIABLES = [value for value in list(globals().values()) if isinstance(value, Variable)]
