"""`make run-production-like`: all that production has, on this machine and without containers.

    python -m tests.production_like [FOLDER]    serves on PORT until Ctrl-C, then ends all servers

DynamoDB (ministack), S3 (moto), Redis (Valkey) and PostgreSQL come from the wheels that the tests
use, each on a free port of this machine. They begin empty each time: these of DynamoDB and S3 keep
everything in memory, and a database that knows of more than they have would be of no use. The
settings are left in the file `environment` of the folder, so that commands of manage.py find them.
"""

import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from botocore.session import get_session

from tests.postgresql import PostgreSQL
from tests.servers import S3, DynamoDB, start_valkey

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "var" / "production-like"
REGION = "eu-central-1"
BUCKET = "chat-archive"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}


@contextmanager
def servers(folder: Path) -> Iterator[dict[str, str]]:
    """All servers, and the environment in which the application uses them."""
    with ExitStack() as stack:
        # Ctrl-C is for the application, which needs the others until it has ended.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            dynamodb = DynamoDB()
            stack.callback(dynamodb.stop)
            s3 = S3()
            stack.callback(s3.stop)
            redis = start_valkey()
            stack.callback(redis.terminate)
            postgresql = PostgreSQL()
            stack.callback(postgresql.stop)
        finally:
            signal.signal(signal.SIGINT, before)
        get_session().create_client(
            "s3",
            endpoint_url=s3.url,
            region_name=REGION,
            aws_access_key_id="any",
            aws_secret_access_key="any",
        ).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield CREDENTIALS | {
            "ENVIRONMENT": "production",
            "SECRET_KEY": secrets.token_urlsafe(50),
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "HTTPS": "false",  # there is no proxy
            "AWS_REGION": REGION,
            "DYNAMODB_ENDPOINT_URL": dynamodb.url,
            "ARCHIVE_BUCKET": BUCKET,
            "ARCHIVE_ENDPOINT_URL": s3.url,
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
            "DATABASE_URL": postgresql.url("postgres"),
            "DATA_DIR": str(folder),
            "PORT": os.environ.get("PORT") or "8000",
        }


def prepare(environment: dict[str, str]) -> str:
    """Make the table, the tables of PostgreSQL, a login and a key. Returns how to get in."""
    password = secrets.token_urlsafe(12)
    _manage(environment, "dynamodb_table", "create")
    _manage(environment, "migrate", "--verbosity", "0")
    login = environment | {"DJANGO_SUPERUSER_PASSWORD": password}
    _manage(
        login, "createsuperuser", "--noinput", "--username", "admin", "--email", "admin@localhost"
    )
    key = _manage(environment, "create_api_key", "Production-like")
    found = re.search(r"\b\w{8}\.\w{32}\b", key)
    assert found, key
    return f"  Login      admin / {password}\n  API key    {found[0]}\n"


def _manage(environment: dict[str, str], *words: str) -> str:
    finished = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode:
        sys.exit(f"manage.py {words[0]} has failed: {finished.stdout}")
    return finished.stdout


def leave_environment(environment: dict[str, str], file: Path) -> None:
    """Write what a shell can read with `.`; for its owner alone, since it has the secrets."""
    file.touch(mode=0o600)
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    file.write_text("".join(lines), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit status of the server."""
    if not arguments:
        shutil.rmtree(FOLDER, ignore_errors=True)
    folder = Path(*arguments) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print("Starting DynamoDB, S3, Redis and PostgreSQL ...", flush=True)
    with servers(folder) as environment:
        print("Making the table, a login and a key ...", flush=True)
        print("\n" + prepare(environment), flush=True)
        leave_environment(environment, folder / "environment")
        used = ("DYNAMODB_ENDPOINT_URL", "ARCHIVE_ENDPOINT_URL", "REDIS_URL", "DATABASE_URL")
        for name in used:
            print(f"  {name}={environment[name]}", flush=True)
        print(f"\n  For commands of manage.py:  . {folder / 'environment'}", flush=True)
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"], cwd=ROOT, env=os.environ | environment
        )
        try:
            return process.wait()
        except KeyboardInterrupt:  # the server got it, too
            return process.wait()
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:  # before the server has started
        sys.exit(130)
