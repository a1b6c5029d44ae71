"""Each mistake in the environment is found at start, with a remedy and without a secret."""

import pytest

from tests.chat.processes import run

PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "a secret key for this test",
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
    ({"THREADS": "many"}, "THREADS='many' is not a whole number from 1, or empty"),
    *(
        ({name: value}, f"{name}={value!r} is not a whole number of days from 1")
        for name in ("RETENTION_HOT_DAYS", "RETENTION_TOTAL_DAYS")
        for value in ("30d", "", "-30", "0", "1.5")
    ),
    ({"RETENTION_HOT_DAYS": "90", "RETENTION_TOTAL_DAYS": "90"}, "must be more than RETENTION_HOT"),
    ({"RETENTION_TOTAL_DAYS": "29"}, "RETENTION_TOTAL_DAYS=29 must be more than RETENTION_HOT_DAY"),
    ({"CACHE_TTL": "0"}, "CACHE_TTL='0' is not a whole number of seconds from 1"),
    ({"SECRET_KEY": ""}, "SECRET_KEY is not set, and ENVIRONMENT=production needs one"),
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
