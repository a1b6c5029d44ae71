"""How maintenance commands end, and what they say: for cron and for logs."""

import json
import signal
import subprocess
import threading
from datetime import UTC, datetime

import pytest

from chat import progress
from chat.maintenance import runs
from storage.exceptions import StorageUnavailable
from tests.chat import fork_server
from tests.chat.maintenance.fake_maintenance import (
    ENDED,
    NAME,
    Command,
    call,
    copy_database,
    left,
    moves,
    raises,
)
from tests.chat.processes import environment
from tests.servers import wait_for

pytestmark = pytest.mark.usefixtures("data_folder")


# Exit status and summary


def test_done(said):
    assert call(Command(moves(3))) == 0
    summary, errors = said()
    assert 0 <= summary.pop("seconds") < 600
    assert summary == {
        "command": NAME,
        "status": "done",
        "dry_run": False,
        "moved": 3,
        "kinds": {},
        "remaining": 0,
    }
    assert errors == []


def test_counts_by_kind_are_in_the_summary(said):
    def work(run, report):
        report.kinds.update(hot=2, cold=3)

    assert call(Command(work)) == 0
    assert said()[0]["kinds"] == {"hot": 2, "cold": 3}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (StorageUnavailable("The database\ndid not\n\n answer."), "The database did not answer."),
        (PermissionError(13, "Permission denied"), "[Errno 13] Permission denied"),
        (TimeoutError(), "TimeoutError"),
    ],
    ids=["storage", "system", "no words"],
)
def test_failed(said, error, line):
    assert call(Command(raises(error, moved=2))) == 1
    summary, errors = said()
    assert (summary["status"], summary["moved"]) == ("failed", 2)
    assert errors == [f"CommandError: {line}"]


def test_the_unexpected_is_told_as_django_does_but_leaves_its_traces(said):
    with pytest.raises(ZeroDivisionError):
        call(Command(raises(ZeroDivisionError())))
    assert said()[0]["status"] == "failed"
    assert (ENDED, "failed") in left()


def test_what_failed_or_stopped_does_not_claim_that_nothing_is_left(said):
    call(Command(raises(OSError())))
    assert said()[0]["remaining"] is None
    assert call(Command(moves(3)), "--max-seconds", 0) == 3
    assert said()[0]["remaining"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--now", "2026-11-22T00:00:00"],
        ["--now", "2026-11-22"],
        ["--now", "2026-02-29T00:00:00Z"],
        ["--now", "0001-01-01T00:00:00+01:00"],
        ["--now", "0001-01-01T00:00:00Z"],
        ["--now", "9999-12-31T00:00:00Z"],
        ["--now", "tomorrow"],
        ["--now", ""],
        ["--max-seconds", "-1"],
        ["--max-seconds", "nan"],
        ["--max-seconds", "inf"],
        ["--max-seconds", "1m"],
        ["--max-seconds", ""],
        ["--batch-size", "0"],
        ["--batch-size", "-5"],
        ["--batch-size", "1.5"],
        ["--batch-size", "1000001"],
        ["--batch-size", "9" * 5000],
        ["--batch-size", "٣"],
        ["--batch-size"],
        ["--no-such-option"],
        ["something"],
    ],
    ids=lambda arguments: "".join(arguments)[:30],
)
def test_wrong_use(capsys, arguments):
    command = Command()
    assert call(command, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith(f"manage.py {NAME}: error: ")
    assert "Traceback" not in captured.err
    assert command.seen == []
    assert left() == {}


def test_stopped_at_the_bound_with_what_was_done(said, held_clock):
    def work(run, report):
        report.remaining = 10
        while True:
            run.step(report.moved)
            report.moved += 1
            report.remaining -= 1
            held_clock.passes(0.5)

    assert call(Command(work), "--max-seconds", "2") == 3
    summary, errors = said()
    assert (summary["status"], errors) == ("stopped", [])
    assert summary["moved"] == 4
    assert summary["remaining"] == 10 - summary["moved"]


def test_with_no_time_nothing_is_begun_and_nothing_to_do_is_done(said):
    assert call(Command(moves(3)), "--max-seconds", "0") == 3
    assert said()[0]["moved"] == 0
    assert call(Command(moves(0)), "--max-seconds", "0") == 0
    assert said()[0]["status"] == "done"


def test_ctrl_c(said, storage):
    def work(run, report):
        run.step()
        report.moved = 7
        signal.raise_signal(signal.SIGINT)

    assert call(Command(work)) == 130
    summary, errors = said()
    assert (summary["status"], summary["moved"]) == ("stopped", 7)
    assert errors == ["CommandError: Stopped. What was done so far is sound; run it again."]
    assert storage.database.acquire_lock(runs.LOCK, "another", 60)


PROGRAM = """
import sys
import config, django
django.setup()
from tests.chat.maintenance.fake_maintenance import Command, call, work_until_told
sys.exit(call(Command(work_until_told)))
"""


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGTERM, 3), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_a_signal_to_a_real_process(tmp_path, sent, status):
    copy_database(tmp_path)
    process = fork_server.Popen(
        ["-W", "error", "-c", PROGRAM],
        environment(tmp_path, DJANGO_SETTINGS_MODULE="config.settings"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for((tmp_path / "working").exists, "the first step")
        process.send_signal(sent)
        output, errors = process.communicate()
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    summary = json.loads(output)
    assert summary["status"] == "stopped"
    assert summary["moved"] > 0
    assert summary["moved"] + summary["remaining"] == 1_000_000
    assert (ENDED, "stopped") in left()


def test_a_signal_means_what_it_meant_before_once_the_run_has_ended():
    during = []
    before = signal.getsignal(signal.SIGTERM)
    call(Command(lambda run, report: during.append(signal.getsignal(signal.SIGTERM))))
    assert signal.getsignal(signal.SIGTERM) == before
    assert during != [before]


def test_it_works_in_a_thread_where_no_signal_comes(said):
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(call(Command(moves(1)))))
    thread.start()
    thread.join()
    assert statuses == [0]
    assert said()[0]["status"] == "done"


# The lock


def test_while_another_run_is_at_work_nothing_is_begun(said, storage):
    assert storage.database.acquire_lock(runs.LOCK, "another", 60)
    command = Command(moves(3))
    assert call(command) == 1
    summary, (line,) = said()
    assert line.startswith("CommandError: Another maintenance run is at work.")
    assert (summary["status"], summary["moved"], summary["remaining"]) == ("failed", 0, None)
    assert command.seen == []
    assert not storage.database.acquire_lock(runs.LOCK, "a third", 60)


def test_a_lock_lost_in_the_midst_ends_the_run(said, storage, held_clock):
    def work(run, report):
        moves(2)(run, report)
        held_clock.passes(60.1)
        assert storage.database.acquire_lock(runs.LOCK, "another", 60)
        moves(2)(run, report)

    assert call(Command(work)) == 1
    summary, (line,) = said()
    assert line.startswith("CommandError: The lock of this run has ended")
    assert (summary["status"], summary["moved"]) == ("failed", 2)
    assert not storage.database.acquire_lock(runs.LOCK, "a third", 60), "the other one works on"


def test_the_lock_is_free_after_every_end(storage):
    for work, status in ((moves(1), 0), (raises(OSError()), 1), (lambda run, _: run.stop(), 0)):
        assert call(Command(work)) == status
        assert storage.database.acquire_lock(runs.LOCK, "another", 60)
        storage.database.release_lock(runs.LOCK, "another")


def test_a_command_may_do_without(storage):
    assert storage.database.acquire_lock(runs.LOCK, "another", 60)
    assert call(Command(moves(1), locks=False)) == 0


# Options


def test_a_run_knows_its_options():
    command = Command()
    arguments = ["--now", "2026-12-01T01:00:00.000001+02:00", "--batch-size", "7", "--colour=red"]
    assert call(command, *arguments) == 0
    ((run, options),) = command.seen
    assert run.now == datetime(2026, 11, 30, 23, 0, 0, 1, UTC)
    assert run.now.tzinfo is UTC
    assert (run.batch_size, run.dry_run, options["colour"]) == (7, False, "red")


def test_without_options_it_is_now():
    command = Command(batch_size=12)
    before = datetime.now(UTC)
    assert call(command) == 0
    ((run, _),) = command.seen
    assert before <= run.now <= datetime.now(UTC)
    assert run.batch_size == 12


def test_a_dry_run_takes_no_lock_and_leaves_no_metrics(said, storage):
    def work(run, report):
        assert storage.database.acquire_lock(runs.LOCK, "another", 60)
        moves(2)(run, report)

    command = Command(work)
    assert call(command, "--dry-run") == 0
    assert command.seen[0][0].dry_run is True
    summary, _ = said()
    assert (summary["dry_run"], summary["moved"]) == (True, 2)
    assert left() == {}
    assert call(command, "--dry-run") == 1, "a run would be refused now, too"


def test_it_waits_for_another_run(said, storage, held_clock):
    assert storage.database.acquire_lock(runs.LOCK, "another", 60)
    assert call(Command(moves(1)), "--wait", "30") == 1
    assert said()[1][0].startswith("CommandError: Another maintenance run is at work.")
    assert call(Command(moves(1)), "--wait", "40") == 0
    assert said()[0]["moved"] == 1
    assert call(Command(moves(1)), "--wait", "-1") == 2


def test_it_tells_how_far_it_is(said, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_LINE_SECONDS", 0)
    assert call(Command(moves(3))) == 0
    assert said()[1] == [f"{NAME} 0", f"{NAME} 1", f"{NAME} 2"]
