"""Page cursors by themselves; what they do to lists is in the contract."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from storage.exceptions import InvalidCursor
from storage.records import cursors

TIME = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SCOPE = ("ada", "None", "None")
QUICK = profile(max_examples=50, derandomize=True, database=None, deadline=None)

positions = st.tuples(
    st.datetimes(timezones=st.just(UTC)),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=255),
)
scopes = st.tuples(
    st.one_of(st.none(), st.text(st.characters(exclude_categories=("Cs",)), max_size=5)),
    st.sampled_from(["None", "2026-01-01 00:00:00+00:00"]),
    st.sampled_from(["None", "2026-01-01 00:00:00+00:00"]),
)


@QUICK
@given(position=positions, scope=scopes)
def test_any_position_comes_back_exactly(position, scope):
    decoded = cursors.decode(cursors.encode(position, scope), scope)
    assert decoded == position
    assert decoded[0].tzinfo is UTC


@QUICK
@given(position=positions, scope=scopes, other=scopes)
def test_a_cursor_is_good_for_one_scope_only(position, scope, other):
    cursor = cursors.encode(position, scope)
    if other == scope:
        assert cursors.decode(cursor, other) == position
    else:
        with pytest.raises(InvalidCursor):
            cursors.decode(cursor, other)


@QUICK
@given(cursor=st.text())
def test_any_text_is_refused_and_never_an_error_of_another_kind(cursor):
    with pytest.raises(InvalidCursor):
        cursors.decode(cursor, SCOPE)


@pytest.mark.parametrize(
    ("scope", "other"),
    [
        ((None, "None", "None"), ("None", "None", "None")),
        (("a", "b", "c"), ("a', 'b", "c", "")),
        (("", "x", "None"), ("", "None", "x")),
    ],
    ids=["everyone or a user called None", "a quote in a user's name", "after or before"],
)
def test_scopes_that_look_alike_are_told_apart(scope, other):
    with pytest.raises(InvalidCursor):
        cursors.decode(cursors.encode((TIME, "i"), scope), other)


def test_the_offset_of_the_time_does_not_matter():
    tokyo = TIME.astimezone(timezone(timedelta(hours=9)))
    assert cursors.decode(cursors.encode((tokyo, "i"), SCOPE), SCOPE) == (TIME, "i")


def test_a_cursor_names_no_user():
    cursor = cursors.encode((TIME, "i"), ("ada.lovelace@example.org", "None", "None"))
    content = urlsafe_b64decode(cursor + "==")[cursors.SIGNATURE_BYTES :]
    assert content == b'["2026-03-01T12:00:00.123456+00:00","i"]'


def test_a_cursor_fits_into_an_address():
    cursor = cursors.encode((TIME, "\U0010ffff" * 255), SCOPE)
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_:.")
    # Servers and proxies take 8,000 characters of address at least (RFC 9110, section 4.1).
    assert len(cursor) < 8000


def test_another_secret_key_makes_other_cursors(settings):
    cursor = cursors.encode((TIME, "i"), SCOPE)
    settings.SECRET_KEY = "another-secret-key"
    with pytest.raises(InvalidCursor):
        cursors.decode(cursor, SCOPE)


@pytest.mark.parametrize(
    "payload",
    [[], ["x"], ["2026-03-01T12:00:00", "i", "more"], ["no time", "i"], [5, "i"], {}, None, "ab"],
    ids=str,
)
def test_what_is_signed_but_no_position_is_refused(payload, settings):
    # Such as a cursor of a future version.
    content = orjson.dumps(payload)
    signed = cursors._signature(content, SCOPE, settings.SECRET_KEY) + content
    with pytest.raises(InvalidCursor):
        cursors.decode(urlsafe_b64encode(signed).rstrip(b"=").decode(), SCOPE)


def test_a_cursor_outlives_a_change_of_the_secret_key(settings):
    cursor = cursors.encode((TIME, "i"), SCOPE)
    settings.SECRET_KEY_FALLBACKS = ["older", settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret-key"
    assert cursors.decode(cursor, SCOPE) == (TIME, "i")


def test_one_changed_character_is_refused():
    cursor = cursors.encode((TIME, "i"), SCOPE)
    for place, character in enumerate(cursor):
        other = "A" if character != "A" else "B"
        if place < len(cursor) - 1:  # the last one has bits that mean nothing
            with pytest.raises(InvalidCursor):
                cursors.decode(cursor[:place] + other + cursor[place + 1 :], SCOPE)
