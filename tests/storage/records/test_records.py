"""An interaction as JSON, as the API, the cache and files have it."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.models import ChatInteraction
from storage.models.interaction import FIELDS
from storage.records.json import dumps, format_time, from_json, to_dict, to_json

QUICK = settings(max_examples=100, derandomize=True, database=None, deadline=None)
texts = st.text(st.characters(exclude_categories=("Cs",)))
offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(
    datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.one_of(st.just(UTC), offsets)
)
interactions = st.builds(
    ChatInteraction,
    interaction_id=texts,
    user_id=texts,
    message=texts,
    response=texts,
    model_used=texts,
    input_tokens=st.integers(0, 2**53 - 1),
    output_tokens=st.integers(0, 2**53 - 1),
    created_at=times,
    updated_at=times,
)
SOUND = {
    "interaction_id": "i",
    "user_id": "ada",
    "message": "m",
    "response": "r",
    "model_used": "x",
    "input_tokens": 1,
    "output_tokens": 2,
    "created_at": "2026-03-01T12:00:00.000000Z",
    "updated_at": "2026-03-01T12:00:00.000001Z",
}


def fields(interaction):
    return {name: getattr(interaction, name) for name in FIELDS}


@QUICK
@given(interaction=interactions)
def test_any_interaction_survives_the_round_trip(interaction):
    assert fields(from_json(to_json(interaction))) == fields(interaction)


@QUICK
@given(interaction=interactions)
def test_a_record_is_one_line_of_json_in_utf_8(interaction):
    text = to_json(interaction)
    assert b"\n" not in text
    assert b"\r" not in text
    assert json.loads(text.decode()) == fields(interaction) | {
        "created_at": format_time(interaction.created_at),
        "updated_at": format_time(interaction.updated_at),
    }


@pytest.mark.parametrize("microsecond", [0, 1, 10, 100_000, 123_456, 999_999])
def test_a_record_has_six_digits_of_microseconds(microsecond):
    # Written by another routine than `format_time` when that is quicker.
    time = datetime(2026, 3, 1, 12, tzinfo=UTC).replace(microsecond=microsecond)
    for tz in (UTC, timezone(timedelta(hours=9)), timezone(timedelta(0))):
        interaction = ChatInteraction(created_at=time.astimezone(tz), updated_at=time)
        record = json.loads(to_json(interaction))
        assert record["created_at"] == f"2026-03-01T12:00:00.{microsecond:06}Z"


@QUICK
@given(interaction=interactions)
def test_many_records_are_written_as_each_would_be_alone(interaction):
    # As the lists of the API are.
    many = json.loads(dumps({"results": [to_dict(interaction)] * 2}))
    assert many == {"results": [json.loads(to_json(interaction))] * 2}


@QUICK
@given(first=times, second=times)
def test_times_as_text_sort_as_the_times_do(first, second):
    texts = format_time(first), format_time(second)
    assert (texts[0] < texts[1]) is (first < second)
    assert (texts[0] == texts[1]) is (first == second)


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 11, 22, 9, 30, tzinfo=UTC), "2026-11-22T09:30:00.000000Z"),
        (datetime(2026, 11, 22, 9, 30, 0, 1, tzinfo=UTC), "2026-11-22T09:30:00.000001Z"),
        (datetime(2026, 11, 22, 9, 30, 0, 120_000, tzinfo=UTC), "2026-11-22T09:30:00.120000Z"),
        (
            datetime(2026, 11, 22, 9, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2026-11-22T04:00:00.000000Z",
        ),
        (datetime(2026, 11, 22, tzinfo=timezone.utc), "2026-11-22T00:00:00.000000Z"),  # noqa: UP017
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
    ],
    ids=str,
)
def test_a_time_is_in_utc_with_six_digits(time, text):
    assert format_time(time) == text


def test_the_fields_have_the_order_of_the_data_model():
    assert tuple(to_dict(from_json(json.dumps(SOUND)))) == FIELDS


def test_what_was_read_is_aware_and_in_utc():
    interaction = from_json(json.dumps(SOUND))
    assert interaction.created_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert interaction.created_at.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "5",
        '"i"',
        "[]",
        "{}",
        b"\xff",
        "9" * 5000,
        "[" * 100_000,
        json.dumps(SOUND | {"created_at": 5}),
        json.dumps(SOUND | {"created_at": None}),
        json.dumps(SOUND | {"updated_at": "yesterday"}),
        json.dumps(SOUND | {"created_at": "2026-03-01T12:00:00.000000"}),  # no offset
        json.dumps(SOUND | {"message": 7}),
        json.dumps(SOUND | {"input_tokens": "1"}),
        json.dumps(SOUND | {"one_field_more": 1}),
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_what_is_no_record_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011  (which one is orjson's business)
        from_json(text)


@pytest.mark.parametrize("name", FIELDS)
def test_a_record_without_one_of_its_fields_is_a_value_error(name):
    # Else a cut record would come back with a default: an empty user, a new id.
    text = json.dumps({key: value for key, value in SOUND.items() if key != name})
    with pytest.raises(ValueError, match="missing required field"):
        from_json(text)
