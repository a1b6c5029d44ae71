"""Each mistake in the environment is found at start, with a remedy and without a secret."""

import pytest

from tests.chat.processes import run

PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "a secret key that is long enough for this test",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "AKIDSECRET",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "AWS_EC2_METADATA_DISABLED": "true",
}

MISTAKES = [
    ({"REDIS_URL": "http://someone:hunter2@cache:6379"}, "REDIS_URL is not a URL that begins with"),
    ({"REDIS_URL": "chat:hunter2@cache:6379"}, "REDIS_URL is not a URL that begins with redis://"),
    ({"HTTPS": "maybe"}, "HTTPS='maybe' is not 1, true, 0, false or empty"),
    ({"DYNAMODB_ENDPOINT_URL": "ftp://a:hunter2@b"}, "DYNAMODB_ENDPOINT_URL is not a URL such as"),
    ({"DYNAMODB_ENDPOINT_URL": "127.0.0.1:8001"}, "is not a URL such as http://127.0.0.1:8001"),
    ({"DYNAMODB_TABLE": "chat interactions"}, "is not the name of a DynamoDB table: 3 to 255"),
    ({"DYNAMODB_TABLE": "ab"}, "DYNAMODB_TABLE='ab' is not the name of a DynamoDB table"),
    ({"DYNAMODB_CONNECTIONS": "0"}, "DYNAMODB_CONNECTIONS='0' is not a whole number from 1"),
    ({"THREADS": "many"}, "THREADS='many' is not a whole number from 1 to 1000000, or empty"),
    *(
        ({name: value}, f"{name}={value!r} is not a whole number of days from 1")
        for name in ("RETENTION_HOT_DAYS", "RETENTION_TOTAL_DAYS")
        for value in ("30d", "", "-30", "0", "1.5")
    ),
    ({"RETENTION_HOT_DAYS": "90", "RETENTION_TOTAL_DAYS": "90"}, "must be more than RETENTION_HOT"),
    ({"RETENTION_TOTAL_DAYS": "29"}, "RETENTION_TOTAL_DAYS=29 must be more than RETENTION_HOT_DAY"),
    ({"CACHE_TTL": "0"}, "CACHE_TTL='0' is not a whole number of seconds from 1"),
    ({"SECRET_KEY": ""}, "SECRET_KEY is not set, and ENVIRONMENT=production needs one"),
    (
        {"SECRET_KEY": "k" * 40 + "   # made on Monday"},
        "SECRET_KEY has a # after a space. In an env",
    ),
    (
        {"SECRET_KEY": f"'{'k' * 40}'"},
        "SECRET_KEY is in quotes. In an env file of Docker or Podman",
    ),
    ({"NUM_PROXIES": "1   # nginx"}, "NUM_PROXIES has a # after a space. In an env file of Docker"),
    ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is not set, and ENVIRONMENT=production must know"),
    ({"SECRET_KEY": "k" * 31}, "SECRET_KEY has 31 characters, and ENVIRONMENT=production needs 32"),
    ({"DEBUG": "1"}, "DEBUG is true, and ENVIRONMENT=production would show tracebacks"),
    ({"ALLOWED_HOSTS": "a.example,*"}, "ALLOWED_HOSTS has a *"),
    ({"ALLOWED_HOSTS": ","}, "ALLOWED_HOSTS is not set, and ENVIRONMENT=production must know"),
    ({"ALLOWED_HOSTS": "", "ENVIRONMENT": "staging"}, "ALLOWED_HOSTS is empty, so every request"),
    *(
        ({"ALLOWED_HOSTS": f"a.example, {host}"}, "is not host names separated by commas, without")
        for host in ("https://b.example", "b.example:443", "b.example/", "*.example", "::1")
    ),
    ({"CSRF_TRUSTED_ORIGINS": "b.example"}, "CSRF_TRUSTED_ORIGINS='b.example' is not origins such"),
    ({"CSRF_TRUSTED_ORIGINS": "https://b.example/chat"}, "CSRF_TRUSTED_ORIGINS is not origins suc"),
    ({"ENVIRONMENT": "Production"}, "development, staging, test or production. Did you mean prod"),
    ({"ENVIRONMENT": "prod"}, "ENVIRONMENT='prod' is not development, staging, test or production"),
    ({"ENVIRONMENT": "stagin"}, "Did you mean staging?"),
    ({"ENVIRONMENT": ""}, "ENVIRONMENT='' is not development, staging, test or production. It me"),
    ({"LOG_LEVEL": "debug"}, "LOG_LEVEL='debug' is not DEBUG, INFO, WARNING or ERROR. Did you mea"),
    ({"RETENTION_TOTAL_DAYS": "$DAYS"}, "RETENTION_TOTAL_DAYS='$DAYS' is not a whole number"),
    ({"BACKUP_DIR": "$HOME/backups"}, "BACKUP_DIR='$HOME/backups' is not a path without ~ and $NA"),
    (
        {"BACKUP_DIR": "var/x", "ARCHIVE_DIR": "var/y/../x/"},
        "BACKUP_DIR and ARCHIVE_DIR are the same",
    ),
    ({"BACKUP_DIR": "var/archive", "DATA_DIR": "var"}, "BACKUP_DIR and ARCHIVE_DIR are the same"),
    ({"DATA_DIR": "~/chat"}, "DATA_DIR='~/chat' is not a path without ~ and $NAME"),
    ({"DATABASE_URL": "sqlite:///${HOME}/x"}, "does not name a SQLite file"),
    ({"DATABASE_URL": "sqlite:////data/chat#1"}, "does not name a SQLite file"),
    ({"DATABASE_URL": "mysql://u:hunter2@h/x"}, "DATABASE_URL does not name a SQLite file"),
    ({"DATABASE_URL": "postgres://u:hunter2@h"}, "DATABASE_URL is not the URL of a PostgreSQL"),
    ({"DATABASE_URL": "postgres://u:hunter2%zz@h/x"}, "with %40 for a @"),
    ({"DATABASE_URL": "postgres://u:hunter2@h/x?sslmod=require"}, "parameters that libpq knows"),
    (
        {"DATABASE_URL": "postgres://u:hunter2@127.0.0.1:1/x"},
        "The database cannot be used: connection failed: connection to server",
    ),
    (
        {"DATABASE_URL": "postgres://u:hunter2@h/x", "ENVIRONMENT": "staging"},
        "with ENVIRONMENT=staging interactions are in the SQL database",
    ),
    ({"DATA_DIR": ""}, "DATA_DIR='' is not a path"),
    ({"BACKUP_KEEP_DAYS": "9999999999"}, "is not a whole number of days from 1 to 1000000"),
    ({"PORT": "\u0663"}, "is not a port number from 1 to 65535"),
    ({"AWS_REGION": ""}, "AWS_REGION is not set"),
    ({"AWS_REGION": "Frankfurt"}, "AWS_REGION='Frankfurt' is not the name of a region"),
]


@pytest.mark.parametrize(("values", "words"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_stops_a_start_and_says_what_would_be_right(tmp_path, values, words):
    result = run(tmp_path, "serve", **{**PRODUCTION, **values})
    said = result.stderr.decode()
    assert result.returncode == 1
    assert words in said
    assert "hunter2" not in said
    assert "AKIDSECRET" not in said


def test_every_unsuitable_setting_of_production_has_its_line(tmp_path):
    said = started(tmp_path, DEBUG="1", SECRET_KEY="short", ALLOWED_HOSTS="*")
    assert [line.split()[0] for line in said] == ["DEBUG", "SECRET_KEY", "ALLOWED_HOSTS"]


def test_elsewhere_they_are_no_mistakes(tmp_path):
    values = {"DEBUG": "1", "SECRET_KEY": "short", "ALLOWED_HOSTS": "*"}
    assert run(tmp_path, "check", ENVIRONMENT="staging", **values).returncode == 0


def test_a_plus_in_the_name_of_the_database_is_a_plus(tmp_path):
    code = "from django.conf import settings; print(settings.DATABASES['default']['NAME'])"
    url = f"sqlite:///{tmp_path}/a+b%20c.sqlite3"
    result = run(tmp_path, "shell", "--no-imports", "-c", code, DATABASE_URL=url)
    assert result.stdout.decode().strip() == f"{tmp_path}/a+b c.sqlite3"


def test_a_data_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    result = run(tmp_path, "serve", DATA_DIR=f"{tmp_path}/file/data", DATABASE_URL="")
    assert result.returncode == 1
    (line,) = result.stderr.decode().splitlines()
    assert "cannot be used: Not a directory" in line


def started(tmp_path, **values):
    """A start that stops by itself; gives what it says on standard error, in lines."""
    result = run(tmp_path, "serve", **{**PRODUCTION, **values})
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    assert b"hunter2" not in result.stderr
    return result.stderr.decode().splitlines()


def test_a_start_without_the_table_says_how_to_make_it(tmp_path, dynamodb_server):
    said = started(tmp_path, DYNAMODB_ENDPOINT_URL=dynamodb_server.url, DYNAMODB_TABLE="missing")
    assert said == [
        "CommandError: There is no DynamoDB table missing. "
        "Create it: manage.py dynamodb_table create"
    ]


def test_a_start_without_credentials_says_where_they_come_from(tmp_path):
    (line,) = started(
        tmp_path,
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        AWS_CONFIG_FILE="/dev/null",
        AWS_SHARED_CREDENTIALS_FILE="/dev/null",
    )
    assert line.startswith("CommandError: There are no AWS credentials.")


def test_a_start_that_cannot_reach_dynamodb_says_what_to_check(tmp_path):
    (line,) = started(tmp_path, DYNAMODB_ENDPOINT_URL="http://127.0.0.1:1")
    assert "Check AWS_REGION and DYNAMODB_ENDPOINT_URL" in line


def test_what_production_lacks_is_a_line_each_and_a_way_to_try_it_out(tmp_path):
    values = PRODUCTION | {"SECRET_KEY": "", "AWS_REGION": "", "ALLOWED_HOSTS": ""}
    result = run(tmp_path, "serve", **values)
    assert (result.returncode, result.stdout) == (1, b"")
    lines = result.stderr.decode().splitlines()
    assert [line.split()[0] for line in lines] == [
        "SECRET_KEY",
        "AWS_REGION",
        "ALLOWED_HOSTS",
        "To",
    ]
    assert lines[-1].endswith("ENVIRONMENT=development.")


def test_an_old_key_with_its_comment_may_be_a_fallback(tmp_path):
    """Stores that were used with it know their users and their archive by it."""
    result = run(tmp_path, "check", SECRET_KEY_FALLBACKS="k" * 40 + "   # made on Monday")
    assert result.returncode == 0, result.stderr
