"""What maintenance commands leave for Prometheus, however they end."""

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.chat.maintenance.fake_maintenance import (
    ENDED,
    NAME,
    SUCCESS,
    Command,
    call,
    left,
    moves,
    raises,
)

pytestmark = pytest.mark.usefixtures("data_folder")


def test_what_a_done_run_leaves():
    def work(run, report):
        report.moved, report.remaining = 5, 2
        report.kinds.update(hot=3, cold=4)

    before = time.time()
    assert call(Command(work)) == 0
    found = left()
    assert before <= found[SUCCESS,] <= found[ENDED, "done"] <= time.time()
    assert 0 <= found["chat_maintenance_run_seconds",] < 600
    assert found["chat_maintenance_rows_remaining",] == 2
    rows = {key[1]: value for key, value in found.items() if key[0] == "chat_maintenance_rows"}
    assert rows == {"moved": 5, "hot": 3, "cold": 4}


@pytest.mark.parametrize(
    ("work", "arguments", "status"),
    [(raises(OSError()), (), "failed"), (moves(9), ("--max-seconds", "0"), "stopped")],
    ids=["failed", "stopped"],
)
def test_the_last_success_outlives_runs_that_are_none(work, arguments, status):
    call(Command(moves(1)))
    success = left()[SUCCESS,]
    for _ in range(2):
        call(Command(work), *arguments)
        found = left()
        assert found[SUCCESS,] == success
        assert found[ENDED, status] > success
        assert (ENDED, "done") not in found
        assert ("chat_maintenance_rows_remaining",) not in found, "nobody knows"
    call(Command(moves(1)))
    assert left()[SUCCESS,] > success


def test_a_command_that_never_succeeded_says_so():
    call(Command(raises(OSError())))
    assert left()[SUCCESS,] == 0


def test_a_dry_run_is_no_success():
    call(Command(moves(1)))
    success = left()[SUCCESS,]
    call(Command(moves(1)), "--dry-run")
    assert left()[SUCCESS,] == success


@pytest.mark.parametrize("name", ["metrics-of-commands", f"metrics-of-commands/{NAME}.prom"])
def test_metrics_that_cannot_be_left_fail_nothing(said, data_folder, name):
    in_the_way = data_folder / name
    if in_the_way.suffix:
        in_the_way.mkdir(parents=True)
    else:
        in_the_way.touch()
    assert call(Command(moves(1))) == 0
    summary, (line,) = said()
    assert (summary["status"], summary["moved"]) == ("done", 1)
    assert line.startswith("The metrics of this run could not be left: ")


class Other(Command):
    """Another command with the same metrics."""

    name = "other_maintenance"


def test_a_scrape_has_each_metric_once_with_the_samples_of_every_command(client):
    call(Command(moves(2)))
    call(Other(raises(OSError())))
    assert left(Other.name)[ENDED, "failed"] > left()[SUCCESS,]
    text = client.get("/metrics").content.decode()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert text.count(f"# TYPE {SUCCESS} gauge") == 1
    (success,) = [family for family in families if family.name == SUCCESS]
    assert {sample.labels["command"]: sample.value > 0 for sample in success.samples} == {
        NAME: True,
        Other.name: False,
    }
    lines = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines)), "Prometheus refuses a sample that comes twice"
