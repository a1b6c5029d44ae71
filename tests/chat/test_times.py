"""Times are read in one way, wherever they are given: a file, a query, a command."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime

import pytest

from chat import interchange
from chat.management import arguments
from chat.times import parse_time
from storage.records.json import format_time
from tests.chat.calls import INTERACTIONS, ids, mistakes
from tests.chat.lines import line

SOUND = {
    "2026-03-01T12:01:00Z": "2026-03-01T12:01:00.000000Z",
    "2026-03-01t12:01:00z": "2026-03-01T12:01:00.000000Z",
    "2026-03-01 12:01:00Z": "2026-03-01T12:01:00.000000Z",
    "2026-03-01T13:01:00+01:00": "2026-03-01T12:01:00.000000Z",
    "2026-03-01T12:01:00-00:00": "2026-03-01T12:01:00.000000Z",
    "2026-03-01T12:01:00.5Z": "2026-03-01T12:01:00.500000Z",
    "2026-03-01T12:01:00.123456Z": "2026-03-01T12:01:00.123456Z",
    # Cut, not rounded.
    "2026-03-01T12:01:00.1234565Z": "2026-03-01T12:01:00.123456Z",
    "2026-03-01T12:01:00.123456999Z": "2026-03-01T12:01:00.123456Z",
    "2026-03-01T23:59:59.9999999Z": "2026-03-01T23:59:59.999999Z",
    "9999-12-31T23:59:59.9999999999999Z": "9999-12-31T23:59:59.999999Z",
}
BAD = [
    "",
    "yesterday",
    "2026-03-01",
    "2026-03-01T12:01:00",
    "2026-03-01T12:01Z",
    "20260301T120100Z",
    "2026-W09-7T12:01:00Z",
    "2026-060T12:01:00Z",
    "2026-03-01T12:01:00,5Z",
    "2026-03-01T12:01:00.Z",
    "2026-03-01T12:01:00+0100",
    "2026-03-01T12:01:00+01",
    "2026-03-01T12:01:00+01:00:30",
    "2026-03-01T12:01:00+24:00",
    "2026-03-01T24:00:00Z",
    "2026-03-01T12:01:60Z",
    "2026-02-30T12:01:00Z",
    "2026-03-01T12:01:00Z ",
    "२०२६-03-01T12:01:00Z",
    "0000-03-01T12:01:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
]


@pytest.mark.parametrize(("text", "expected"), SOUND.items())
def test_a_time_is_read_alike_by_imports_queries_and_commands(text, expected):
    assert format_time(parse_time(text)) == expected
    assert format_time(arguments.moment(text)) == expected
    assert format_time(interchange.parse(line(updated_at=text)).updated_at) == expected


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_what_is_no_such_time_is_refused_by_all_of_them(text):
    with pytest.raises(ValueError, match="must be"):
        parse_time(text)
    with pytest.raises(ArgumentTypeError, match="with an offset, such as"):
        arguments.moment(text)
    with pytest.raises(interchange.BadLine, match="created_at must be"):
        interchange.parse(line(created_at=text))
    with pytest.raises(interchange.BadLine, match="updated_at must be"):
        interchange.parse(line(updated_at=text))


@pytest.mark.parametrize("text", SOUND)
def test_a_query_takes_it(client, storage, make_interaction, text):
    moment = parse_time(text).astimezone(UTC)
    storage.create_interaction_sync(make_interaction(interaction_id="i", created_at=moment))
    assert ids(client.get(INTERACTIONS, {"created_after": text})) == ["i"]
    assert ids(client.get(INTERACTIONS, {"created_before": text})) == []


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_a_query_refuses_it(client, text):
    response = client.get(INTERACTIONS, {"created_after": text})
    assert response.status_code == 400
    assert set(mistakes(response)) == {"created_after"}


def test_a_bad_time_is_told_beside_other_mistakes_and_once():
    with pytest.raises(interchange.BadLine) as refusal:
        interchange.parse(line(created_at="yesterday", user_id=""))
    assert "user_id must have" in str(refusal.value)
    record = b'{"interaction_id": "i", "user_id": "u", "message": "", "model_used": "m", '
    with pytest.raises(interchange.BadLine) as refusal:
        interchange.parse(record + b'"created_at": "yesterday"}')
    assert "updated_at" not in str(refusal.value)


def test_the_offset_of_a_query_stays_as_given():
    """Cursors are bound to it, also those that an earlier version has made."""
    assert str(parse_time("2026-03-01T13:01:00+01:00")) == "2026-03-01 13:01:00+01:00"
    assert parse_time("2026-03-01T12:00:00Z") == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert parse_time("2026-03-01T12:00:00Z").tzinfo is UTC
