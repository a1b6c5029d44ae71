"""`manage.py usage`."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from storage import get_storage
from storage.exceptions import StorageUnavailable
from storage.records.runs import Ended
from tests.chat.usage_rows import priced, today, used


def shown(*arguments):
    out, err = io.StringIO(), io.StringIO()
    call_command("usage", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def rows(transactional_db):
    used(0, "model-1", {"ada": (1200, 1_000_000, 0), "=HYPERLINK(1)": (1, 1, 1)})
    used(0, "free", {"ada": (2, 3, 4)})
    used(29, "model-1", {"ada": (1, 0, 0)})
    used(30, "model-1", {"ada": (1, 0, 0)})
    priced("model-1", 1000, "1234.5", "0")


def test_it_prints_a_table_of_30_days(rows):
    out, err = shown("--by", "model")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][0] == "model"
    assert lines[1] == ["free", "2", "0", "3", "4", "-", "2"]
    assert lines[2] == ["model-1", "1,202", "0", "1,000,001", "1", "1,234.50", "0"]
    assert "No price for free." in err


def test_it_says_if_the_newest_are_not_counted_yet(rows, monkeypatch):
    """With DynamoDB's stream, an import may be ahead of what counts it."""
    now = datetime.now(UTC)
    for until, said in ((now, False), (now - timedelta(minutes=2), True)):
        monkeypatch.setattr(type(get_storage().database), "count_usage", lambda *_, at=until: at)
        assert (f"Counted until {until:%Y-%m-%d %H:%M:%SZ}" in shown()[1]) is said
    monkeypatch.setattr(type(get_storage().database), "count_usage", lambda *_: None)
    assert "rebuild_usage" in shown()[1]


def test_by_default_it_is_by_day(rows):
    assert len(shown()[0].splitlines()) == 1 + 2
    day = today().isoformat()
    assert shown("--from", day, "--to", day, "--user", "ada")[0].splitlines()[1].startswith(day)
    assert "Nothing was used from" in shown("--model", "other")[0]


def test_what_costs_little_is_not_shown_as_free(rows):
    assert "< 0.01" in shown("--by", "user")[0]


def test_csv_is_exact_and_runs_nothing(rows):
    found = list(csv.DictReader(io.StringIO(shown("--by", "user,model", "--csv")[0])))
    assert [(row["user_id"], row["model_used"]) for row in found] == [
        ("'=HYPERLINK(1)", "model-1"),
        ("ada", "free"),
        ("ada", "model-1"),
    ]
    assert [row["cost"] for row in found] == ["0.0012345", "", "1234.5"]
    assert found[2]["input_tokens"] == "1000000"
    assert found[2]["currency"] == "USD"


def test_json_has_a_line_for_each_group(rows, monkeypatch):
    monkeypatch.setattr("chat.management.commands.usage.USERS_AT_ONCE", 1)
    found = [json.loads(line) for line in shown("--by", "user", "--json")[0].splitlines()]
    assert [(line["user_id"], line["interactions"]) for line in found] == [
        ("=HYPERLINK(1)", 1),
        ("ada", 1203),
    ]


def test_names_that_a_terminal_would_obey_are_written_out(transactional_db):
    used(0, "\x1b[2J\u202e", {"ada": (1, 1, 1)})
    assert r"\x1b[2J\u202e" in shown("--by", "model")[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "week"], "must be one or more of day, model, user"),
        (["--from", "2026-02-30"], "write a day, such as"),
        (["--from", "2026-11-02", "--to", "2026-11-01"], "--from must be the last day or earlier"),
        (["--user", ""], "must have 1 to 255"),
        (["--csv", "--json"], "not allowed with argument"),
    ],
)
def test_wrong_use_is_refused(arguments, said, transactional_db):
    with pytest.raises(CommandError, match=said):
        shown(*arguments)


def test_a_database_that_does_not_answer_is_one_line_and_status_1(transactional_db, monkeypatch):
    def fail(*arguments):
        raise StorageUnavailable("The database did not answer.")

    monkeypatch.setattr("storage.accounts.usage.of_models", fail)
    with pytest.raises(CommandError, match=r"^The database did not answer\.$") as caught:
        shown()
    assert caught.value.returncode == 1


@pytest.mark.parametrize("fails", [False, True])
def test_how_a_command_ended_is_remembered(storage, monkeypatch, fails):
    def fail(*arguments):
        raise StorageUnavailable("The archive did not answer.")

    assert call_command("archive_interactions", "--dry-run", stdout=io.StringIO()) is None
    assert storage.database.last_ends() == {}
    if fails:
        monkeypatch.setattr("chat.management.commands.archive_interactions.archiving", None)
        monkeypatch.setattr(storage.database, "oldest", fail)
    try:
        call_command("archive_interactions", stdout=io.StringIO())
    except (CommandError, AttributeError):
        assert fails
    (ended,) = storage.database.last_ends().values()
    assert isinstance(ended, Ended)
    assert ended.status == ("failed" if fails else "done")
