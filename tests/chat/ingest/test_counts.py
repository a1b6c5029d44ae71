"""What is counted arrives in the database once: from threads, processes, and after failures."""

import sqlite3
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from chat.ingest import counts, lines
from chat.ingest import hours as module
from chat.ingest.counts import record
from chat.ingest.hours import Hours
from storage.accounts import intake
from storage.accounts.intake import Count
from storage.exceptions import StorageUnavailable
from storage.models import IntakeCount
from tests.chat import fork_server
from tests.chat.ingest.taken import taken
from tests.chat.processes import environment, give_tables
from tests.clocks import Clock
from tests.servers import wait_for

pytestmark = pytest.mark.every_sql(exhaustive=True)

START = datetime(2026, 11, 30, 16, 20, 5, 7, tzinfo=UTC)
HOUR = datetime(2026, 11, 30, 16, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch):
    """The time of the counts and of the lines."""
    clock = Clock()
    clock.wall = START.timestamp()
    now = SimpleNamespace(now=lambda: clock.datetime.now(UTC))
    monkeypatch.setattr(counts, "timezone", now)
    monkeypatch.setattr(module, "timezone", now)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(lines, "time", clock)
    return clock


def stored():
    rows = IntakeCount.objects.exclude(outcome=intake.TOLD)
    return {(row.source, row.outcome): row.count for row in rows}


@pytest.fixture
def broken(monkeypatch):
    """Lets the database fail, for as long as `is_broken`."""
    state, add = SimpleNamespace(is_broken=True), intake.add

    def fail_or_add(counts):
        if state.is_broken:
            raise StorageUnavailable("The database is away.")
        add(counts)

    monkeypatch.setattr(intake, "add", fail_or_add)
    return state


@pytest.fixture
def hasty():
    """Threads take turns after every few instructions."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.django_db(transaction=True)
class TestHours:
    def test_numbers_add_up_hour_by_hour(self, hours, clock):
        record("otlp", taken(2, 1, no_text=3))
        record("otlp", taken(1, no_text=1, no_user=1))
        hours.flush()
        record("otlp", taken(1))
        record("litellm", taken(unchanged=1))
        hours.flush()
        assert stored() == {
            ("otlp", "received"): 10,
            ("otlp", "kept"): 4,
            ("otlp", "unchanged"): 1,
            ("otlp", "no_text"): 4,
            ("otlp", "no_user"): 1,
            ("litellm", "received"): 1,
            ("litellm", "unchanged"): 1,
        }
        row = IntakeCount.objects.get(source="otlp", outcome="kept")
        assert (row.hour, row.last_at) == (HOUR, START)
        clock.passes(3600)
        record("otlp", taken(5))
        hours.flush()
        kept = IntakeCount.objects.filter(source="otlp", outcome="kept").order_by("hour")
        assert [(row.hour, row.count) for row in kept] == [
            (HOUR, 4),
            (HOUR + timedelta(hours=1), 5),
        ]

    def test_what_comes_late_does_not_set_the_last_time_back(self):
        for second in (30, 10):
            intake.add([Count(HOUR, "otlp", "kept", 1, HOUR + timedelta(seconds=second))])
        assert intake.last_at() == HOUR + timedelta(seconds=30)

    def test_a_request_never_asks_the_database(self, broken, monkeypatch, hours):
        monkeypatch.setattr(hours, "flush", None)
        record("otlp", taken(2))
        assert stored() == {}

    def test_what_cannot_be_written_is_written_later_and_once(self, hours, broken, caplog):
        for _ in range(3):
            record("otlp", taken(2, no_text=1))
            hours.flush()
        assert stored() == {}
        broken.is_broken = False
        hours.flush()
        hours.flush()
        assert stored() == {("otlp", "received"): 9, ("otlp", "kept"): 6, ("otlp", "no_text"): 3}
        said = [record for record in caplog.records if "wait" in record.getMessage()]
        assert [record.getMessage() for record in said] == [
            "The counts of the intake wait: The database is away."
        ]

    def test_a_table_that_is_locked_by_another_is_waited_for_by_nobody_else(self, hours, broken):
        """Who counts does not wait for who writes."""
        inside, go = threading.Event(), threading.Event()

        def hang(counts):
            inside.set()
            go.wait()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(intake, "add", hang)
            record("otlp", taken(1))
            writer = threading.Thread(target=hours.flush)
            writer.start()
            inside.wait()
            record("otlp", taken(1))  # would never end
            go.set()
            writer.join()
        broken.is_broken = False
        hours.flush()
        assert stored() == {("otlp", "received"): 1, ("otlp", "kept"): 1}

    def test_a_long_outage_takes_bounded_memory_and_loses_the_oldest(
        self, hours, broken, clock, monkeypatch
    ):
        monkeypatch.setattr(module, "MOST_WAITING", 4)
        for _ in range(5):
            record("otlp", taken(1))
            hours.flush()
            clock.passes(3600)
        broken.is_broken = False
        hours.flush()
        found = IntakeCount.objects.values_list("hour", flat=True).distinct()
        assert sorted(found) == [HOUR + timedelta(hours=hour) for hour in (3, 4)]

    def test_a_mistake_in_counting_harms_no_request(self, caplog):
        record("otlp", None)
        assert "What came from otlp could not be counted." in caplog.text

    def test_threads_that_count_while_another_writes_lose_nothing(self, hours, hasty):
        def count():
            for _ in range(200):
                record("otlp", taken(1))

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            hours.flush()
        hours.flush()
        assert stored() == {("otlp", "received"): 800, ("otlp", "kept"): 800}

    def test_a_thread_writes_them_and_ends(self, monkeypatch):
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
        hours = Hours(in_background=True)
        for number in (1, 2):
            hours.add("otlp", {"received": 1}, START)
            wait_for(lambda r=number: stored() == {("otlp", "received"): r}, "the rows")
            wait_for(lambda: threads_named("intake") == 0, "the end of the thread")


def threads_named(name):
    return sum(thread.name == name for thread in threading.enumerate())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["otlp", "litellm"]), st.integers(0, 3), st.integers(0, 3)),
        st.sampled_from(["flush", "fail"]),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(steps=STEPS)
def test_whatever_fails_each_is_written_once(steps):
    hours, written, sent = Hours(in_background=False), {}, {}

    def add(found):
        for count in found:
            key = count.source, count.outcome
            written[key] = written.get(key, 0) + count.count

    def fail(found):
        raise StorageUnavailable("The database is away.")

    with pytest.MonkeyPatch.context() as patch:
        for step in [*steps, "flush"]:
            if isinstance(step, str):
                patch.setattr(intake, "add", add if step == "flush" else fail)
                patch.setattr(lines.Lines, "write", lambda self, now: None)
                hours.flush()
                continue
            source, kept, left_out = step
            hours.add(source, {"kept": kept, "no_text": left_out}, START)
            for key, count in (((source, "kept"), kept), ((source, "no_text"), left_out)):
                if count:
                    sent[key] = sent.get(key, 0) + count
    assert written == sent


PROGRAM = """
import config, django, multiprocessing
django.setup()
from django.db import connections
from chat.ingest import counts
from tests.chat.ingest.taken import taken

def work():
    for _ in range(50):
        counts.record("otlp", taken(1, no_text=1))
    if {writes_between}:
        counts.HOURS.flush()
        counts.record("otlp", taken(1, no_text=1))

counts.record("otlp", taken(1))  # waits here, and a child must not write it as well
connections.close_all()
processes = [multiprocessing.get_context("fork").Process(target=work) for _ in range(6)]
for process in processes:
    process.start()
for process in processes:
    process.join()
    assert process.exitcode == 0
"""


@pytest.mark.parametrize("writes_between", [False, True])
def test_processes_that_end_at_once_have_all_been_counted(tmp_path, writes_between):
    """Each process writes what waits when it ends, and none what its parent counted."""
    values = environment(tmp_path, DJANGO_SETTINGS_MODULE="config.settings")
    program = PROGRAM.replace("{writes_between}", str(writes_between))
    give_tables(tmp_path)
    result = fork_server.run(["-c", program], values, preloaded=True)
    assert result.returncode == 0, result.stderr
    with closing(sqlite3.connect(tmp_path / "data.sqlite3")) as database:
        found = dict(
            database.execute(
                "SELECT outcome, SUM(count) FROM storage_intakecount WHERE outcome != 'told'"
                " GROUP BY outcome"
            )
        )
    each = 51 if writes_between else 50
    assert found == {"received": 12 * each + 1, "kept": 6 * each + 1, "no_text": 6 * each}


# Metrics


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


def test_metrics_count_by_source_and_reason():
    def all_():
        return [
            value("chat_intake_received_total", source="otlp"),
            value("chat_intake_stored_total", source="otlp", result="kept"),
            value("chat_intake_stored_total", source="otlp", result="unchanged"),
            value("chat_intake_left_out_total", source="otlp", reason="no_text"),
        ]

    before = all_()
    record("otlp", taken(3, 2, no_text=4))
    assert [after - once for after, once in zip(all_(), before, strict=True)] == [9, 3, 2, 4]


def test_what_never_happened_is_a_zero_in_the_metrics_from_the_start():
    value = REGISTRY.get_sample_value
    assert value("chat_intake_left_out_total", {"source": "langfuse", "reason": "erased"}) == 0


# The log


@pytest.fixture
def said(caplog):
    def said():
        found = [record.getMessage() for record in caplog.records if record.name == lines.__name__]
        caplog.clear()
        return found

    return said


@pytest.mark.django_db(transaction=True)
class TestLog:
    def test_one_line_says_what_was_left_out_and_what_to_do(self, hours, clock, said):
        record("otlp", taken(2, 1, no_text=3, tool_step=4))
        hours.flush()
        (line,) = said()
        assert line.startswith(
            "Intake from otlp since 16:00 UTC: 10 received, 2 kept, 1 unchanged. Left out: "
            "no_text 3: The tool sent no text."
        )
        assert "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY" in line
        assert "tool_step" not in line

    def test_the_next_line_of_a_source_comes_a_minute_later(self, hours, clock, said):
        for _ in range(59):
            record("otlp", taken(no_text=1))
            hours.flush()
            clock.passes(1)
        assert len(said()) == 1
        clock.passes(2)
        hours.flush()  # nothing has come, but 58 were not told
        (line,) = said()
        assert "no_text 59:" in line
        for _ in range(5):
            clock.passes(61)
            hours.flush()
        assert said() == []

    def test_each_source_has_a_line_of_its_own(self, hours, clock, said):
        record("otlp", taken(no_text=1))
        record("litellm", taken(no_user=1))
        hours.flush()
        assert len(said()) == 2

    def test_all_processes_together_write_one_with_the_numbers_of_all(self, hours, clock, said):
        processes = [hours, Hours(in_background=False), Hours(in_background=False)]
        for _ in range(150):
            for process in processes:
                process.add("otlp", {"received": 1, "no_text": 1}, clock.datetime.now(UTC))
                process.flush()
            clock.passes(1)
        assert len(said()) == 3
        for _ in range(4):
            clock.passes(61)
            for process in processes:
                process.flush()
        (line,) = said()  # one for all three: it has told of what the others counted
        assert "no_text 450:" in line

    def test_a_new_hour_does_not_hurry_the_next_line(self, hours, clock, said):
        clock.passes(39 * 60 + 50)  # ten seconds before the hour ends
        for _ in range(30):
            record("otlp", taken(no_text=1))
            hours.flush()
            clock.passes(1)
        assert len(said()) == 1

    @pytest.mark.parametrize(
        "sent",
        [
            ("otlp", taken(5, 1)),
            ("otlp", taken(tool_step=3, no_call=9)),
            ("file:llm", taken(no_user=3)),
        ],
    )
    def test_where_nothing_is_wrong_or_a_command_says_it_the_log_is_silent(
        self, hours, clock, said, sent
    ):
        record(*sent)
        hours.flush()
        assert said() == []
