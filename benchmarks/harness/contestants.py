"""The servers: how each is installed, filled and started, and its addresses."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.data import DataSet, fill

PROJECT = Path(__file__).resolve().parent.parent.parent
BASELINES = PROJECT / "benchmarks" / "baselines"
COMMAND_SECONDS = 600

PROJECT_API = {
    "get": "/api/v1/interactions/{id}/",
    "page": "/api/v1/users/{user}/interactions/?limit=50",
    "save": "/api/v1/interactions/",
    "batch": "/api/v1/interactions/batch/",
}


@dataclass(frozen=True, eq=False)
class Contestant:
    """One server. `create_key` makes the schema too and gives the Authorization header."""

    slug: str
    title: str
    folder: Path
    table: str
    schema_files: str
    create_key: Callable[["Contestant", Path], str]
    serve: Callable[["Contestant", int, int], list[str]]
    """Its command, for a port and a number of worker processes."""
    paths: dict[str, str] = field(default_factory=PROJECT_API.copy)
    batch_status: int = 201
    requirements: str = "requirements.txt"

    @property
    def indexes_texts(self) -> bool:
        """Whether it has a search index, which servers would otherwise make while they serve."""
        return (self.folder / "chat/management/commands/rebuild_search.py").exists()

    @property
    def python(self) -> Path:
        """Its interpreter: the project's own, or one in a virtual environment of the cache."""
        requirements = self.folder / self.requirements
        if not requirements.exists():
            return Path(sys.executable)
        digest = _digest(requirements.read_bytes(), sys.version.encode())
        return cache_folder() / "environments" / f"{self.slug}-{digest}" / "bin" / "python"

    def tool(self, name: str) -> str:
        """A command that its environment has."""
        return str(self.python.parent / name)

    def environment(self, database: Path, port: int = 8000, workers: int = 1) -> dict[str, str]:
        """The environment variables its commands run with."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            "DATABASE_PATH": str(database),
            "DATABASE_URL": f"sqlite:///{database}",
            "DATA_DIR": str(database.parent),
            "ENVIRONMENT": "development",
            "SECRET_KEY": "only-for-the-benchmark-" + "x" * 40,
            "PORT": str(port),
            "WORKERS": str(workers),
            "LOG_LEVEL": "WARNING",  # no line for each request, as in the others
            "RATE_LIMIT_PER_KEY": "1000000",  # counted, and never reached
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, command: list[str], database: Path, **more: str) -> str:
        """Run one of its commands; gives what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(database) | more,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def install(self) -> None:
        """Make its virtual environment, unless there is one with these requirements."""
        environment = self.python.parent.parent
        if self.python == Path(sys.executable) or (environment / "complete").exists():
            return
        shutil.rmtree(environment, ignore_errors=True)
        print(f"Installing {self.title} ...", file=sys.stderr)
        for command in (
            [sys.executable, "-m", "venv", str(environment)],
            [str(self.python), "-m", "pip", "install", "-qq", "-r", self.requirements],
        ):
            subprocess.run(command, cwd=self.folder, timeout=COMMAND_SECONDS, check=True)
        (environment / "complete").touch()

    def filled_database(self, data_set: DataSet) -> Path:
        """A folder with `db.sqlite3`, filled, and `authorization`. Made once; do not change it."""
        schema = b"".join(path.read_bytes() for path in sorted(self.folder.glob(self.schema_files)))
        texts = repr(data_set.texts).encode()
        digest = _digest(schema, texts, f"{data_set.count} {data_set.end}".encode())
        folder = cache_folder() / "databases" / f"{self.slug}-{data_set.count}-{digest}"
        if folder.exists():
            return folder
        print(f"Filling the database of {self.title} ...", file=sys.stderr)
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        database = unfinished / "db.sqlite3"
        authorization = self.create_key(self, database)
        (unfinished / "authorization").write_text(authorization)
        fill(database, self.table, data_set)
        if self.indexes_texts:
            self.run([str(self.python), "manage.py", "rebuild_search"], database)
        unfinished.rename(folder)
        return folder


def _plain_drf_key(contestant: Contestant, database: Path) -> str:
    python = str(contestant.python)
    contestant.run([python, "manage.py", "migrate"], database)
    contestant.run(
        [python, "manage.py", "createsuperuser", "--noinput", "--username", "benchmark"],
        database,
        DJANGO_SUPERUSER_PASSWORD="only-for-the-benchmark",
        DJANGO_SUPERUSER_EMAIL="benchmark@example.org",
    )
    # "Generated token <key> for user benchmark"
    printed = contestant.run([python, "manage.py", "drf_create_token", "benchmark"], database)
    return f"Token {printed.split()[2]}"


def _fastapi_key(contestant: Contestant, database: Path) -> str:
    printed = contestant.run([str(contestant.python), "create_key.py", "benchmark"], database)
    return f"Bearer {printed.strip()}"


def _chat_store_key(contestant: Contestant, database: Path) -> str:
    python = str(contestant.python)
    contestant.run([python, "manage.py", "migrate"], database)
    printed = contestant.run([python, "manage.py", "create_api_key", "benchmark"], database)
    return f"Api-Key {printed.split()[-1]}"


def _gunicorn(contestant: Contestant, port: int, workers: int) -> list[str]:
    return [
        contestant.tool("gunicorn"),
        *("--workers", str(workers), "--bind", f"127.0.0.1:{port}", "--no-control-socket"),
        "project.wsgi",
    ]


def _uvicorn(contestant: Contestant, port: int, workers: int) -> list[str]:
    return [
        contestant.tool("uvicorn"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)),
        *("--no-access-log", "--log-level", "warning"),
        "main:app",
    ]


def _serve(contestant: Contestant, _port: int, _workers: int) -> list[str]:
    return [str(contestant.python), "manage.py", "serve"]  # both are in the environment


FASTAPI_PATHS = {
    "get": "/api/v1/interactions/{id}",
    "page": "/api/v1/users/{user}/interactions?limit=50",
    "save": "/api/v1/interactions",
    "batch": "/api/v1/interactions/batch",
}
CHAT_STORE = Contestant(
    slug="chat_store",
    title="this project",
    folder=PROJECT,
    table="storage_chatinteraction",
    schema_files="storage/migrations/*.py",
    create_key=_chat_store_key,
    serve=_serve,
    batch_status=200,
)
PLAIN_DRF = Contestant(
    slug="plain_drf",
    title="plain DRF",
    folder=BASELINES / "plain_drf",
    table="interactions_chatinteraction",
    schema_files="interactions/migrations/*.py",
    create_key=_plain_drf_key,
    serve=_gunicorn,
    paths=PROJECT_API | {"page": "/api/v1/interactions/?user_id={user}"},
)
TUNED = Contestant(
    slug="fastapi_aiosqlite",
    title="FastAPI + aiosqlite, tuned",
    folder=BASELINES / "fastapi_aiosqlite",
    table="chat_interactions",
    schema_files="database.py",
    create_key=_fastapi_key,
    serve=_uvicorn,
    paths=FASTAPI_PATHS,
)
FASTAPI = Contestant(
    slug="fastapi_sqlalchemy",
    title="FastAPI + SQLAlchemy",
    folder=BASELINES / "fastapi_sqlalchemy",
    table="chat_interactions",
    schema_files="database.py",
    create_key=_fastapi_key,
    serve=_uvicorn,
    paths=FASTAPI_PATHS,
)
CONTESTANTS = {each.slug: each for each in (CHAT_STORE, PLAIN_DRF, TUNED, FASTAPI)}


def build(name: str) -> Contestant:
    """Another build of this project: a checkout, or a revision, of which the files are taken."""
    folder = Path(name).resolve()
    if not (folder / "manage.py").exists():
        revision = _git("rev-parse", "--short=12", f"{name}^{{commit}}").decode().strip()
        folder = cache_folder() / "builds" / revision
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            files = _git("archive", revision)
            subprocess.run(["tar", "-x", "-C", str(unfinished)], input=files, check=True)
            unfinished.rename(folder)
    return replace(
        CHAT_STORE,
        slug=build_slug(name),
        title=f"build {name}",
        folder=folder,
        requirements="requirements/base.txt",
    )


def build_slug(name: str) -> str:
    """By which a build is known in files and in ratios."""
    return f"build-{Path(name).name}"


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=PROJECT, check=True, capture_output=True).stdout


def cache_folder() -> Path:
    """Where environments and filled databases are kept."""
    default = Path.home() / ".cache" / "chat-store-bench"
    return Path(os.environ.get("BENCH_CACHE") or default)


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
