"""The only settings module. Values that differ between installations: `config.environment`."""

import contextlib
import os
import secrets
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.utils.functional import lazy

from config import environment as env
from config.databases import sql_database
from storage.archive import owners
from storage.startup import data_folder

VERSION = "0.2.0"
ENVIRONMENT = env.ENVIRONMENT.value
PRODUCTION = ENVIRONMENT == "production"
DEVELOPMENT = ENVIRONMENT == "development"
HTTPS = PRODUCTION if env.HTTPS.value is None else env.HTTPS.value
DEBUG = env.DEBUG.value
DATA_DIR: Path = env.DATA_DIR.value
MAKE_KEY = "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(50))'"
NO_HOSTS = (
    "ALLOWED_HOSTS is not set, and ENVIRONMENT=production must know the names under which it is "
    "called. List them, such as chat.example.org."
)
SHORTEST_KEY = 32
"""Characters of a SECRET_KEY in production: 128 bits, if they are random hexadecimal digits."""


def _secret_key() -> str:
    """The key from the environment, or in development one that is made once and kept on disk."""
    if key := env.SECRET_KEY.value:
        return key
    if not DEVELOPMENT:
        raise ImproperlyConfigured("\n".join(_missing()))
    path = DATA_DIR / "secret_key"
    try:
        return _kept_secret(path)
    except OSError as error:
        raise ImproperlyConfigured(data_folder.advice(DATA_DIR, error)) from error


def _missing() -> list[str]:
    """What must be set outside development and is not: a line each, SECRET_KEY first."""
    lines = [f"SECRET_KEY is not set, and ENVIRONMENT={ENVIRONMENT} needs one. {MAKE_KEY}"]
    if PRODUCTION and not env.AWS_REGION.value:
        lines.append(
            "AWS_REGION is not set, and ENVIRONMENT=production keeps interactions in DynamoDB. Set "
            "it to the region of the table, such as eu-central-1."
        )
    if PRODUCTION and not env.ALLOWED_HOSTS.is_set:
        lines.append(NO_HOSTS)
    if PRODUCTION:
        lines.append(
            "To try it out, with sample data and without all this: ENVIRONMENT=development."
        )
    return lines


def _kept_secret(path: Path) -> str:
    if not (path.exists() and path.read_text()):
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        descriptor, made = tempfile.mkstemp(dir=DATA_DIR)  # only its owner can read it
        try:
            with os.fdopen(descriptor, "w") as file:
                owners.give(descriptor, DATA_DIR)
                file.write(secrets.token_urlsafe(50))
            if path.exists() and not path.read_text():
                path.unlink()  # left by a crash
            with contextlib.suppress(FileExistsError):
                os.link(made, path)  # another process was first: use its key
        finally:
            Path(made).unlink()
    return path.read_text()


def _refuse_in_production() -> None:
    """Raise ImproperlyConfigured, with a line for each setting that only suits development."""
    problems = []
    if DEBUG:
        problems.append(
            "DEBUG is true, and ENVIRONMENT=production would show tracebacks to anyone. "
            "Leave DEBUG unset, or use ENVIRONMENT=staging."
        )
    if len(SECRET_KEY) < SHORTEST_KEY:
        problems.append(
            f"SECRET_KEY has {len(SECRET_KEY)} characters, and ENVIRONMENT=production needs "
            f"{SHORTEST_KEY} at least: whoever guesses it can log in. {MAKE_KEY} "
            "Keep the old one in SECRET_KEY_FALLBACKS."
        )
    if not (env.ALLOWED_HOSTS.is_set and ALLOWED_HOSTS):
        problems.append(NO_HOSTS)
    if "*" in ALLOWED_HOSTS:
        problems.append(
            "ALLOWED_HOSTS has a *, and ENVIRONMENT=production must know its names: links in "
            "answers repeat them. List them, such as chat.example.org; .example.org is every name "
            "under it."
        )
    if problems:
        raise ImproperlyConfigured("\n".join(problems))


def _retention() -> tuple[int, int]:
    """RETENTION_HOT_DAYS and RETENTION_TOTAL_DAYS. Raises ImproperlyConfigured if they clash."""
    hot, total = env.RETENTION_HOT_DAYS.value, env.RETENTION_TOTAL_DAYS.value
    if hot >= total:
        raise ImproperlyConfigured(
            f"RETENTION_TOTAL_DAYS={total} must be more than RETENTION_HOT_DAYS={hot}: "
            "interactions are archived in between."
        )
    return hot, total


def _archive() -> dict[str, Any]:
    """The archive's entry in STORAGES: a bucket if one is set, or else a folder."""
    if not ARCHIVE_BUCKET:
        return {
            "BACKEND": "storage.archive.folder.ArchiveFolder",
            "OPTIONS": {"location": ARCHIVE_DIR or DATA_DIR / "archive"},
        }
    if ARCHIVE_DIR:
        raise ImproperlyConfigured(
            "ARCHIVE_DIR and ARCHIVE_BUCKET are both set, but the archive is in one place only. "
            "Leave one of them empty."
        )
    return {
        "BACKEND": "storage.archive.bucket.ArchiveBucket",
        "OPTIONS": {
            "bucket_name": ARCHIVE_BUCKET,
            "region_name": AWS_REGION or None,
            "endpoint_url": ARCHIVE_ENDPOINT_URL or None,
        },
    }


SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS = env.SECRET_KEY_FALLBACKS.value
ALLOWED_HOSTS = env.ALLOWED_HOSTS.value
if PRODUCTION:
    _refuse_in_production()
if not (ALLOWED_HOSTS or DEBUG):
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS is empty, so every request would be refused. List the names under which "
        "this is called, such as chat.example.org, or leave it unset: localhost."
    )
CSRF_TRUSTED_ORIGINS = env.CSRF_TRUSTED_ORIGINS.value
HOST = env.HOST.value
PORT = env.PORT.value
WORKERS = env.WORKERS.value
THREADS = env.THREADS.value or (8 if PRODUCTION else 16)
# Calls that read at the same time, in each server process, unless they wait for other servers.
READS_AT_ONCE = THREADS if PRODUCTION or env.ARCHIVE_BUCKET.value else 2
SERVER_THREADS = 560  # of each process; most of them can only wait, see config.admission
CLIENT_TIMEOUT = env.CLIENT_TIMEOUT.value
NUM_PROXIES = env.NUM_PROXIES.value
RATE_LIMIT_PER_KEY = env.RATE_LIMIT_PER_KEY.value
RATE_LIMIT_PER_ADDRESS = env.RATE_LIMIT_PER_ADDRESS.value
LOGIN_TRIES = env.LOGIN_TRIES.value
ANSWER_LOOKUP = env.ANSWER_LOOKUP.value
CACHE_TTL = env.CACHE_TTL.value
LOG_FORMAT = env.LOG_FORMAT.value
TRACES_ENDPOINT = env.OTEL_EXPORTER_OTLP_ENDPOINT.value
CURRENCY = env.CURRENCY.value
RETENTION_HOT_DAYS, RETENTION_TOTAL_DAYS = _retention()
BACKUP_DIR: Path = env.BACKUP_DIR.value or DATA_DIR / "backups"
AUDIT_KEEP_DAYS = env.AUDIT_KEEP_DAYS.value
PURGE_MAX_PERCENT = env.PURGE_MAX_PERCENT.value
BACKUP_KEEP_DAYS = env.BACKUP_KEEP_DAYS.value
ARCHIVE_DIR = env.ARCHIVE_DIR.value
ARCHIVE_BUCKET = env.ARCHIVE_BUCKET.value
ARCHIVE_ENDPOINT_URL = env.ARCHIVE_ENDPOINT_URL.value
AWS_REGION = env.AWS_REGION.value
DYNAMODB_TABLE = env.DYNAMODB_TABLE.value
DYNAMODB_ENDPOINT_URL = env.DYNAMODB_ENDPOINT_URL.value
DYNAMODB_CONNECTIONS = env.DYNAMODB_CONNECTIONS.value
REDIS_URL = env.REDIS_URL.value

HAS_THEME = find_spec("unfold") is not None  # the admin also works without it

INSTALLED_APPS = [
    *(["chat.apps.UnfoldConfig"] if HAS_THEME else []),  # its templates come before Django's
    "django_otp",
    "django_otp.plugins.otp_totp",
    "chat.apps.ChatConfig",
    "storage",
    "chat.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_api_key",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "config.headers.SecurityHeaders",
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.ShortcutEntrance",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "chat.api.middleware.AddressLimit",
    "chat.admin.waits.LimitedWaits",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "chat.admin.sessions.SessionLimits",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.middleware.shortcut_exit",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": sql_database(env.DATABASE_URL.value, DATA_DIR, ENVIRONMENT)}

# Interactions are in DynamoDB; Django's own data stays in the SQL database.
DATABASE_ROUTERS = ["storage.startup.router.NoInteractions"] if PRODUCTION else []

MEMORY_CACHE = {
    "BACKEND": "storage.cache.memory.MemoryCache",
    "TIMEOUT": CACHE_TTL,
    "OPTIONS": {"MAX_ENTRIES": 1_000},
}
NO_CACHE = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}


def _cache() -> dict[str, Any]:
    if not PRODUCTION:
        return MEMORY_CACHE
    if not REDIS_URL:
        return NO_CACHE
    from storage.cache.redis import redis_cache  # a fifth of the start time of a command

    # For requests, for coroutines, and one for repairs after an outage; opened when needed.
    connections = THREADS + DYNAMODB_CONNECTIONS + 1
    return redis_cache(REDIS_URL, max_connections=connections)


CACHES = {"default": _cache()}

if not ARCHIVE_BUCKET and os.path.realpath(BACKUP_DIR) == os.path.realpath(
    ARCHIVE_DIR or DATA_DIR / "archive"
):
    raise ImproperlyConfigured(
        f"BACKUP_DIR and ARCHIVE_DIR are the same folder, {BACKUP_DIR}: purge_interactions would "
        "delete the large texts of backups there. Set one of them to another folder."
    )

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "archive": _archive(),
}

# The format in which accounts move to another SQL database.
SERIALIZATION_MODULES = {"exact": "storage.accounts.exact_json"}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

SITE_NAME = "Chat interaction store"
UNFOLD = {
    "SITE_TITLE": SITE_NAME,
    "SITE_HEADER": SITE_NAME,
    "SITE_URL": None,  # there is no site besides the admin; the API's page is in the navigation
    "SITE_ICON": "chat.admin.theme.mark",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("chat/mark.svg")}
    ],
    "STYLES": [lambda request: static("chat/staff.css")],
    "SCRIPTS": [lambda request: static("chat/staff.js")],
    "SIDEBAR": {"navigation": "chat.admin.theme.navigation"},
    # A blue that can be read on white (600) and on the dark background (500): 4.5 to 1 at least.
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(76% .14 253)",
            "500": "oklch(70.7% .165 254.624)",
            "600": "oklch(48.8% .243 264.376)",
            "700": "oklch(42.4% .199 265.638)",
            "800": "oklch(37.9% .146 265.522)",
            "900": "oklch(32% .12 266)",
            "950": "oklch(28.2% .091 267.935)",
        }
    },
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]  # the theme names all there are on each page, and shows none
FORMAT_MODULE_PATH = ["config.formats"]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True

# The largest body is a batch. The API checks the limit of each call before it reads the body.
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
LOGIN_REDIRECT_URL = "admin:index"  # whoever has opened the login page without another one
SESSION_COOKIE_AGE = env.SESSION_HOURS.value * 60 * 60
SESSION_IDLE_SECONDS = env.SESSION_IDLE_MINUTES.value * 60
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
OTP_TOTP_ISSUER = SITE_NAME
# Not in a cookie: a message can name an interaction.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]  # called from inside, not through the proxy
    SECURE_HSTS_SECONDS = env.HSTS_SECONDS.value
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
# HSTS for all subdomains and preloading are decisions of the owner of the domain.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "chat.api.authentication.ApiKeyAuthentication",
        "chat.api.authentication.StaffSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["chat.api.authentication.ReadOrWritePermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "chat.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": SITE_NAME,
    "DESCRIPTION": "Keeps what users asked a language model, and what it answered.",
    "VERSION": "1",
    "TAGS": [  # in the order of the API's page
        {"name": "interactions", "description": "Save, read, list and search them."},
        {"name": "usage", "description": "How much was used, and what it cost."},
        {"name": "users", "description": "Export or erase all that is stored about a user."},
        {"name": "ingest", "description": "What other tools send by themselves."},
        {"name": "status", "description": "How the store is, for operators."},
    ],
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": lazy(static, str)("chat/mark.svg"),
    "PREPROCESSING_HOOKS": ["chat.api.schema.hide_interactions_called_as_calls"],
    "POSTPROCESSING_HOOKS": ["chat.api.schema.add_components"],
}

DEFAULT_EXCEPTION_REPORTER_FILTER = "config.reports.ReportFilter"

REFUSED = [
    *("DisallowedHost", "DisallowedRedirect", "RequestDataTooBig", "SuspiciousOperation"),
    *("TooManyFieldsSent", "TooManyFilesSent"),
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "config.lines.Lines"},
        "json": {"()": "config.lines.JsonLines"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": env.LOG_LEVEL.value},
    "filters": {
        "route": {"()": "config.logs.RouteInsteadOfPath"},
        "defects": {"()": "config.logs.OnlyDefects"},
        "one_line": {"()": "config.logs.OneLine"},
    },
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "django.request": {"filters": ["defects", "route"]},
        **{f"django.security.{name}": {"filters": ["one_line"]} for name in REFUSED},
        "django.security.csrf": {"filters": ["route"]},
        # At DEBUG these log whole requests, including what users said.
        "botocore": {"level": "WARNING"},
        "boto3": {"level": "WARNING"},
        "psycopg": {"level": "WARNING"},  # at INFO its pool tells of each request
        "pynamodb": {"level": "WARNING"},
        "urllib3": {"level": "INFO"},
        "_granian": {"handlers": ["console"], "propagate": False},
    },
}
# Granian's main process, which has no settings. It would write lines of its own to standard output.
GRANIAN_LOGGING = Path(__file__).parent / "granian" / f"{LOG_FORMAT}.json"
