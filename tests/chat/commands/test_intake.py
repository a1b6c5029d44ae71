"""`manage.py intake` prints what the admin's page shows."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from storage.accounts import intake
from storage.accounts.intake import Count
from storage.exceptions import StorageUnavailable


def counted(hours_ago=0, **outcomes):
    at = timezone.now() - timedelta(hours=hours_ago)
    intake.add(
        [Count(intake.hour_of(at), "otlp", outcome, n, at) for outcome, n in outcomes.items()]
    )


def shown(*arguments):
    out = io.StringIO()
    call_command("intake", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_it_prints_counts_reasons_and_what_to_paste():
    counted(received=1234, kept=1200, unchanged=30, no_text=4)
    head, *lines = shown().splitlines()
    assert head.startswith("OpenTelemetry, since ")
    words = [line.split() for line in lines]
    assert words[:4] == [
        ["received", "1,234"],
        ["kept", "1,200"],
        ["known", "already", "30"],
        ["left", "out", "4"],
    ]
    assert words[4][:3] == ["No", "text", "4"]
    assert words[-1] == ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=SPAN_ONLY"]


@pytest.mark.django_db(transaction=True)
def test_it_looks_back_as_far_as_it_is_told():
    counted(100, received=7)
    assert shown().startswith("Nothing came since ")
    assert "7" in shown("--hours", "101")


@pytest.mark.parametrize("hours", ["0", "-1", "x", "1.5", "1000001"])
def test_what_is_no_number_of_hours_is_refused(hours):
    with pytest.raises(CommandError, match="write a number from 1 to"):
        call_command("intake", f"--hours={hours}")


def test_a_database_that_does_not_answer_is_one_line_and_status_1(monkeypatch):
    def fail(since):
        raise StorageUnavailable("The database did not answer.")

    monkeypatch.setattr(intake, "totals", fail)
    with pytest.raises(CommandError, match=r"^The database did not answer\.$") as caught:
        call_command("intake")
    assert caught.value.returncode == 1
