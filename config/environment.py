"""Every environment variable that the project reads: its name, type, default and meaning.

They are read here and nowhere else, from the environment or from `.env` in the project's folder.
`config.settings` uses the values. A test compares the table in the README with `VARIABLES`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from config import dotenv

BASE_DIR = Path(__file__).resolve().parent.parent


class _AsGiven:
    r"""The environment for django-environ, which takes `$NAME` for another variable's value.

    It reads `\$` as `$` if `escape_proxy` is set.
    """

    def __getitem__(self, name: str) -> str:
        return str(environ.Env.ENVIRON[name]).replace("$", r"\$")


_env = environ.Env()
_env.ENVIRON = _AsGiven()
_env.escape_proxy = True


@dataclass(frozen=True)
class Variable:
    """One environment variable. `default` is written as in the environment."""

    name: str
    type: str
    default: str
    meaning: str

    @property
    def is_set(self) -> bool:
        """Whether somebody has given it a value."""
        return bool(environ.Env.ENVIRON.get(self.name))

    @property
    def value(self) -> Any:
        """The converted value. Raises ImproperlyConfigured, which says what is expected."""
        text = _env.str(self.name, default=self.default)
        convert, expected = _TYPES[self.type]
        try:
            return convert(text)
        except ValueError:
            # A URL can contain a password, and so can a mistyped one.
            secret = self.type in ("redis", "endpoint", "URL") or "://" in text
            shown = self.name if secret else f"{self.name}={text!r}"
            raise ImproperlyConfigured(
                f"{shown} is not {expected}.{_meant(self.type, text)} It means: {self.meaning}"
            ) from None


LARGEST_NUMBER = 1_000_000
"""No setting but seconds has a use for more, and the arithmetic of dates ends not far beyond."""

MOST_SECONDS = 100_000_000
"""Three years: browsers may be told to use HTTPS only for one or two (`HSTS_SECONDS`)."""


def _natural(text: str, largest: int = LARGEST_NUMBER) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= number <= largest:
        raise ValueError
    return number


def _positive(text: str) -> int:
    number = _natural(text)
    if number < 1:
        raise ValueError
    return number


def _positive_or_empty(text: str) -> int | None:
    return _positive(text) if text else None


def _seconds(text: str) -> int:
    number = _natural(text, MOST_SECONDS)
    if number < 1:
        raise ValueError
    return number


def _seconds_of_a_minute(text: str) -> int:
    number = _positive(text)
    if number > 60:
        raise ValueError
    return number


def _percent(text: str) -> int:
    number = _positive(text)
    if number > 100:
        raise ValueError
    return number


def _port(text: str) -> int:
    number = _positive(text)
    if number > 65535:
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


def path(text: str) -> Path:
    """A path, from the project's folder. Raises ValueError for what only a shell would replace."""
    if not text or re.match(r"~|.*\$[A-Za-z_{]", text):
        raise ValueError
    return BASE_DIR / text


def _path_or_empty(text: str) -> Path | None:
    return path(text) if text else None


def _one_of(type_name: str) -> Callable[[str], str]:
    def choose(text: str) -> str:
        if text not in _CHOICES[type_name]:
            raise ValueError
        return text

    return choose


def _meant(type_name: str, text: str) -> str:
    """The nearest of a closed list of values, as a question; or nothing."""
    choices = {choice.lower(): choice for choice in _CHOICES.get(type_name, ())}
    nearest = get_close_matches(text.strip().lower(), choices, n=1)
    return f" Did you mean {choices[nearest[0]]}?" if nearest else ""


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


_REDIS = (
    r"rediss?(\+cluster)?://([^/?#\s\[\]]*@)?([^/?#@:\s\[\]]+|\[[^\s\[\]]+\])(:\d+)?"
    r"(/(\d+/?)?)?(\?[^#@\s]*)?"
)


def _redis(text: str) -> str:
    """A / in a password would end the host, and errors would quote what is before it."""
    if text:
        _matching(_REDIS)(text)
        parts = urlsplit(text)
        if parts.port == 0 or (
            "+cluster" in parts.scheme and parts.path.strip("/") not in ("", "0")
        ):
            raise ValueError
    return text


def _words_matching(pattern: str) -> Callable[[str], list[str]]:
    match = _matching(pattern)
    return lambda text: [match(word) for word in _words(text)]


def _origins(text: str) -> list[str]:
    return [origin.removesuffix("/") for origin in _words_matching(r"https?://[^/\s]+/?")(text)]


_CHOICES = {
    "environment": ("development", "staging", "test", "production"),
    "level": ("DEBUG", "INFO", "WARNING", "ERROR"),
    "log format": ("text", "json"),
}
"""The types whose values are a closed list."""

_TYPES: dict[str, tuple[Callable[[str], Any], str]] = {
    "text": (str, "text"),
    "environment": (_one_of("environment"), "development, staging, test or production"),
    "path": (path, "a path without ~ and $NAME, which only a shell replaces"),
    "path or empty": (
        _path_or_empty,
        "a path without ~ and $NAME, which only a shell replaces, or empty",
    ),
    "boolean": (_boolean, "1, true, 0 or false"),
    "boolean or empty": (_boolean_or_empty, "1, true, 0, false or empty"),
    "seconds": (_seconds, "a whole number of seconds from 1 to 100000000"),
    "up to a minute": (_seconds_of_a_minute, "a whole number of seconds from 1 to 60"),
    "minutes": (_positive, "a whole number of minutes from 1"),
    "hours": (_positive, "a whole number of hours from 1"),
    "days": (_positive, "a whole number of days from 1 to 1000000"),
    "percent": (_percent, "a whole number from 1 to 100"),
    "number": (_positive, "a whole number from 1 to 1000000"),
    "number or zero": (_natural, "a whole number from 0 to 1000000"),
    "number or empty": (_positive_or_empty, "a whole number from 1 to 1000000, or empty"),
    "port": (_port, "a port number from 1 to 65535"),
    "list": (_words, "words separated by commas"),
    "hosts": (
        _words_matching(r"\*|[^\s/:*@\[\]]*[^\s/:*@\[\].]|\[[0-9A-Fa-f:.]+\]"),
        "host names separated by commas, without scheme, port and path, such as chat.example.org; "
        ".example.org is every name under it, and IPv6 addresses are in brackets",
    ),
    "origins": (_origins, "origins such as https://chat.example.org, separated by commas"),
    "table": (
        _matching(r"[A-Za-z0-9_.-]{3,255}"),
        "the name of a DynamoDB table: 3 to 255 letters, digits, _, . and -",
    ),
    "bucket": (
        _matching(r"([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?"),
        "the name of an S3 bucket: 3 to 63 lower-case letters, digits, . and -",
    ),
    "endpoint": (_matching(r"(https?://[^/\s]+/?)?"), "a URL such as http://127.0.0.1:8001"),
    "URL": (_matching(r"(https?://[^/\s?#]+(/[^\s?#]*)?)?"), "a URL such as http://127.0.0.1:4318"),
    "redis": (
        _redis,
        "a URL that begins with redis://, rediss://, redis+cluster:// or rediss+cluster://, and "
        "goes on with user:password@host:port/number, with %2F for a /, %23 for a # and %3F for a "
        "? in the password, and with no number or 0 for a cluster",
    ),
    "currency": (
        _matching(r"[A-Z]{3}"),
        "the code of a currency in ISO 4217: three capital letters, such as EUR",
    ),
    "level": (_one_of("level"), "DEBUG, INFO, WARNING or ERROR"),
    "log format": (_one_of("log format"), "text or json"),
}

ENVIRONMENT = Variable(
    "ENVIRONMENT",
    "environment",
    "development",
    "Where this runs: `development`, `staging`, `test` or `production`. Production selects "
    "DynamoDB and Redis, the others SQLite and a cache in memory.",
)
SECRET_KEY = Variable(
    "SECRET_KEY",
    "text",
    "",
    "Signs sessions and page cursors. Required outside development; in development one is "
    "generated once and kept in `DATA_DIR`. Without commas, so that it can become a fallback.",
)
SECRET_KEY_FALLBACKS = Variable(
    "SECRET_KEY_FALLBACKS",
    "list",
    "",
    "Earlier values of `SECRET_KEY`, the latest first. What they signed stays valid, and users are "
    "found by them in the archive and the audit log. Keep each one for as long as these are kept.",
)
DEBUG = Variable("DEBUG", "boolean", "false", "Show tracebacks in the browser. Never in public.")
DATA_DIR = Variable("DATA_DIR", "path", "var", "The folder for what the application keeps on disk.")
DATABASE_URL = Variable(
    "DATABASE_URL",
    "text",
    "",
    "`sqlite:///path` (four slashes for an absolute path). Empty: `chat.sqlite3` in `DATA_DIR`. In "
    "production also `postgres://user:password@host:5432/database?sslmode=verify-full`, for "
    "several machines.",
)
HOST = Variable("HOST", "text", "127.0.0.1", "The address that `manage.py serve` listens on.")
PORT = Variable("PORT", "port", "8000", "The port that `manage.py serve` listens on.")
WORKERS = Variable(
    "WORKERS",
    "number",
    "1",
    "Server processes of `manage.py serve`. Each has a core, if there are as many.",
)
THREADS = Variable(
    "THREADS",
    "number or empty",
    "",
    "Requests that each server process works on at the same time. Empty: 16 with SQLite, and 8 in "
    "production. Two of them may be calls that read SQLite; the others wait in line. Clients that "
    "send or read slowly do not count.",
)
CLIENT_TIMEOUT = Variable(
    "CLIENT_TIMEOUT",
    "up to a minute",
    "30",
    "How long a client may take for its headers, keep an idle connection, or send or take less "
    "than 500 bytes a second. Then its connection is closed.",
)
ALLOWED_HOSTS = Variable(
    "ALLOWED_HOSTS",
    "hosts",
    "localhost,127.0.0.1,[::1]",
    "Host names that requests may use.",
)
CSRF_TRUSTED_ORIGINS = Variable(
    "CSRF_TRUSTED_ORIGINS",
    "origins",
    "",
    "Origins, such as `https://chat.example.org`, that may send the admin's forms when a proxy "
    "stands in front.",
)
HTTPS = Variable(
    "HTTPS",
    "boolean or empty",
    "",
    "Whether a proxy in front accepts HTTPS and sets `X-Forwarded-Proto`, replacing what clients "
    "send. Plain HTTP is then redirected to HTTPS, and cookies are sent over HTTPS only. "
    "Empty: true in production.",
)
HSTS_SECONDS = Variable(
    "HSTS_SECONDS",
    "seconds",
    "3600",
    "With `HTTPS`: how long browsers use HTTPS only after a visit. Raise it to a year, 31536000, "
    "once everything works.",
)
NUM_PROXIES = Variable(
    "NUM_PROXIES",
    "number or zero",
    "0",
    "How many proxies in front add the address of their client to `X-Forwarded-For`. So many "
    "addresses from its end are believed, and never one that a client has sent itself.",
)
RATE_LIMIT_PER_KEY = Variable(
    "RATE_LIMIT_PER_KEY",
    "number or zero",
    "60000",
    "Calls a minute with one API key; more are answered with 429. 0: no limit.",
)
RATE_LIMIT_PER_ADDRESS = Variable(
    "RATE_LIMIT_PER_ADDRESS",
    "number or zero",
    "600",
    "Requests a minute from one address (IPv6: one /64 network) without a valid API key: pages, "
    "and calls with a wrong key. More are answered with 429. 0: no limit.",
)
LOGIN_TRIES = Variable(
    "LOGIN_TRIES",
    "number or zero",
    "5",
    "Wrong passwords of one account from one address, until its login is locked there: for 15 "
    "minutes, then 30, and so on. Four times as many lock an address for all accounts, and ten "
    "times as many an account for all browsers that have not logged in to it. 0: no lock-out.",
)
SESSION_HOURS = Variable(
    "SESSION_HOURS",
    "hours",
    "12",
    "How long after a login to the admin one has to log in again. Closing the browser ends the "
    "session, too.",
)
SESSION_IDLE_MINUTES = Variable(
    "SESSION_IDLE_MINUTES",
    "minutes",
    "60",
    "How long a session of the admin lasts without being used.",
)
RETENTION_HOT_DAYS = Variable(
    "RETENTION_HOT_DAYS",
    "days",
    "30",
    "How long an interaction stays in the database after it was created. Then it is due to be "
    "archived.",
)
RETENTION_TOTAL_DAYS = Variable(
    "RETENTION_TOTAL_DAYS",
    "days",
    "90",
    "How long an interaction can be read after it was created. More than `RETENTION_HOT_DAYS`.",
)
AUDIT_KEEP_DAYS = Variable(
    "AUDIT_KEEP_DAYS",
    "days",
    "365",
    "How long entries of the audit log of staff are kept. `purge_interactions` removes them.",
)
PURGE_MAX_PERCENT = Variable(
    "PURGE_MAX_PERCENT",
    "percent",
    "20",
    "The share of all interactions that one run of `purge_interactions` may delete without "
    "`--yes`. What has come due since the last run of at most two days ago does not count. "
    "100: any share.",
)
ARCHIVE_DIR = Variable(
    "ARCHIVE_DIR",
    "path or empty",
    "",
    "The folder of the archive, where older interactions go. Empty: `archive` in `DATA_DIR`.",
)
ARCHIVE_BUCKET = Variable(
    "ARCHIVE_BUCKET",
    "bucket",
    "",
    "An S3 bucket for the archive, instead of a folder. Needed if several machines serve.",
)
ARCHIVE_ENDPOINT_URL = Variable(
    "ARCHIVE_ENDPOINT_URL",
    "endpoint",
    "",
    "An S3 endpoint other than the region's: a VPC endpoint, or a local server.",
)
BACKUP_DIR = Variable(
    "BACKUP_DIR",
    "path or empty",
    "",
    "The folder for backups of the SQL database, preferably on another disk. Empty: `backups` in "
    "`DATA_DIR`.",
)
BACKUP_KEEP_DAYS = Variable(
    "BACKUP_KEEP_DAYS",
    "days",
    "7",
    "How long a backup is kept; the two newest always are. Until it is deleted it can contain data "
    "that was erased since.",
)
AWS_REGION = Variable(
    "AWS_REGION",
    "text",
    "",
    "The region of the DynamoDB table and of `ARCHIVE_BUCKET`, such as `eu-central-1`. Required in "
    "production.",
)
DYNAMODB_TABLE = Variable(
    "DYNAMODB_TABLE", "table", "chat-interactions", "The DynamoDB table of the interactions."
)
DYNAMODB_ENDPOINT_URL = Variable(
    "DYNAMODB_ENDPOINT_URL",
    "endpoint",
    "",
    "A DynamoDB endpoint other than the region's: a VPC endpoint, or a local server.",
)
DYNAMODB_CONNECTIONS = Variable(
    "DYNAMODB_CONNECTIONS",
    "number",
    "6",
    "Calls to DynamoDB at the same time, in each server process. Less than THREADS, so that some "
    "threads stay free when DynamoDB hangs.",
)
REDIS_URL = Variable(
    "REDIS_URL",
    "redis",
    "",
    "`redis://[user:password@]host:port/number`, `rediss://...` with TLS, or "
    "`redis+cluster://...` and `rediss+cluster://...` for Redis Cluster. "
    "Empty: no cache in production.",
)
ANSWER_LOOKUP = Variable(
    "ANSWER_LOOKUP",
    "boolean",
    "true",
    "Whether earlier answers can be looked up. False: such calls get 404, and on DynamoDB each "
    "answer costs one write unit less.",
)
CACHE_TTL = Variable("CACHE_TTL", "seconds", "300", "How long a cached interaction is used.")
CURRENCY = Variable(
    "CURRENCY",
    "currency",
    "USD",
    "The currency of the prices of models, and so of all costs: a code of ISO 4217.",
)
LOG_LEVEL = Variable(
    "LOG_LEVEL",
    "level",
    "INFO",
    "The least severe level that is logged. `INFO` has a line for each request, `WARNING` has not.",
)
LOG_FORMAT = Variable(
    "LOG_FORMAT",
    "log format",
    "text",
    "`text`, or `json`: each line of the log is an object.",
)
OTEL_EXPORTER_OTLP_ENDPOINT = Variable(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "URL",
    "",
    "Where traces of requests are sent by OTLP over HTTP, such as `http://127.0.0.1:4318`. Needs "
    "`requirements/tracing.txt`. Empty: no traces.",
)

VARIABLES = [value for value in list(globals().values()) if isinstance(value, Variable)]

dotenv.refuse_leftovers(
    environ.Env.ENVIRON,
    [variable.name for variable in VARIABLES if variable is not SECRET_KEY_FALLBACKS],
)
dotenv.read(BASE_DIR / ".env", {variable.name for variable in VARIABLES})
