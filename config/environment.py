"""Every environment variable the project reads: its name, type, default and meaning.

They are read here, once, from the environment or else from `.env` in the project's folder;
`config.settings` uses the values. The table in the README is checked against `VARIABLES`.
"""

import re
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
            # A URL, and what was meant as one, can hold a password.
            secret = self.type in ("redis", "endpoint") or "://" in text
            shown = self.name if secret else f"{self.name}={text!r}"
            raise ImproperlyConfigured(
                f"{shown} is not {expected}. It means: {self.meaning}"
            ) from None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _positive_or_empty(text: str) -> int | None:
    return _positive(text) if text else None


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise ValueError
    return number


def _boolean(text: str) -> bool:
    if text.lower() not in ("1", "true", "0", "false"):
        raise ValueError
    return text.lower() in ("1", "true")


def _boolean_or_empty(text: str) -> bool | None:
    return _boolean(text) if text else None


def _matching(pattern: str) -> Callable[[str], str]:
    def match(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return match


def _path_or_empty(text: str) -> Path | None:
    return BASE_DIR / text if text else None


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
    "path or empty": (_path_or_empty, "a path, or empty"),
    "boolean": (_boolean, "1, true, 0 or false"),
    "boolean or empty": (_boolean_or_empty, "1, true, 0, false or empty"),
    "seconds": (_positive, "a whole number of seconds from 1"),
    "days": (_positive, "a whole number of days from 1"),
    "number": (_positive, "a whole number from 1"),
    "number or empty": (_positive_or_empty, "a whole number from 1, or empty"),
    "port": (_port, "a port number from 1 to 65535"),
    "list": (_words, "words with commas between them"),
    "table": (
        _matching(r"[A-Za-z0-9_.-]{3,255}"),
        "the name of a DynamoDB table: 3 to 255 letters, digits, _, . and -",
    ),
    "bucket": (
        _matching(r"([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?"),
        "the name of an S3 bucket: 3 to 63 lower-case letters, digits, . and -",
    ),
    "endpoint": (_matching(r"(https?://[^/\s]+/?)?"), "a URL such as http://127.0.0.1:8001"),
    "redis": (
        _matching(r"(rediss?(\+cluster)?://\S+)?"),
        "a URL that begins with redis://, rediss://, redis+cluster:// or rediss+cluster://",
    ),
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
SECRET_KEY_FALLBACKS = Variable(
    "SECRET_KEY_FALLBACKS",
    "list",
    "",
    "Earlier values of `SECRET_KEY`, the latest first. What they have signed stays valid, and the "
    "archive finds users by them. Keep one for as long as interactions are kept.",
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
    "number or empty",
    "",
    "Requests that each server process works on at once. Empty: 1 with SQLite, which costs the "
    "least CPU, and 8 in production, where requests wait for DynamoDB. A client that "
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
HTTPS = Variable(
    "HTTPS",
    "boolean or empty",
    "",
    "Whether a proxy in front takes HTTPS, and sets `X-Forwarded-Proto` in the place of what "
    "clients send. Then plain requests are sent to HTTPS, and cookies go no other way. "
    "Empty: true in production.",
)
HSTS_SECONDS = Variable(
    "HSTS_SECONDS",
    "seconds",
    "3600",
    "With `HTTPS`: how long browsers keep to it after a visit. Raise it to a year, 31536000, "
    "when all works.",
)
RETENTION_HOT_DAYS = Variable(
    "RETENTION_HOT_DAYS",
    "days",
    "30",
    "How long after it was created an interaction stays in the database; from then on it is due to "
    "go to the archive.",
)
RETENTION_TOTAL_DAYS = Variable(
    "RETENTION_TOTAL_DAYS",
    "days",
    "90",
    "How long after it was created an interaction can be read. More than `RETENTION_HOT_DAYS`.",
)
ARCHIVE_DIR = Variable(
    "ARCHIVE_DIR",
    "path or empty",
    "",
    "The folder of the archive, to which older interactions go. Empty: `archive` in `DATA_DIR`.",
)
ARCHIVE_BUCKET = Variable(
    "ARCHIVE_BUCKET",
    "bucket",
    "",
    "An S3 bucket for the archive, instead of a folder. Needed where several machines serve.",
)
ARCHIVE_ENDPOINT_URL = Variable(
    "ARCHIVE_ENDPOINT_URL",
    "endpoint",
    "",
    "Another S3 than the region's own: a VPC endpoint, or a local server.",
)
BACKUP_DIR = Variable(
    "BACKUP_DIR",
    "path or empty",
    "",
    "The folder of the backups of the SQL database; another disk is better. Empty: `backups` in "
    "`DATA_DIR`.",
)
BACKUP_KEEP_DAYS = Variable(
    "BACKUP_KEEP_DAYS",
    "days",
    "7",
    "How long a backup is kept. For so long it can have copies of what was erased.",
)
AWS_REGION = Variable(
    "AWS_REGION",
    "text",
    "",
    "The region of the DynamoDB table and of `ARCHIVE_BUCKET`, such as `eu-central-1`. Needed in "
    "production.",
)
DYNAMODB_TABLE = Variable(
    "DYNAMODB_TABLE", "table", "chat-interactions", "The DynamoDB table of the interactions."
)
DYNAMODB_ENDPOINT_URL = Variable(
    "DYNAMODB_ENDPOINT_URL",
    "endpoint",
    "",
    "Another DynamoDB than the region's own: a VPC endpoint, or a local server.",
)
DYNAMODB_CONNECTIONS = Variable(
    "DYNAMODB_CONNECTIONS",
    "number",
    "6",
    "Calls to DynamoDB at once, in each server process. Below THREADS, so that threads are left "
    "for everything else when DynamoDB hangs.",
)
REDIS_URL = Variable(
    "REDIS_URL",
    "redis",
    "",
    "`redis://[user:password@]host:port/number`, `rediss://...` with TLS, or "
    "`redis+cluster://...` and `rediss+cluster://...` for Redis Cluster. "
    "Empty: no cache in production.",
)
CACHE_TTL = Variable("CACHE_TTL", "seconds", "300", "How long a cached interaction is used.")
LOG_LEVEL = Variable("LOG_LEVEL", "level", "INFO", "The least severe message that is logged.")

VARIABLES = [value for value in list(globals().values()) if isinstance(value, Variable)]
