"""The limits by themselves; that every write is held to them is in the contract."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import urljoin

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import limits
from storage.models import ApiKey
from storage.models.interaction import CHECKS, violations_in
from storage.records.texts import INLINE_MAX_BYTES

QUICK = settings(max_examples=100, derandomize=True, database=None, deadline=None)


@pytest.mark.parametrize("value", ["a", "a" * 255, "😀" * 255, " ", "\u2028", "\xa0"], ids=ascii)
def test_identifiers_have_1_to_255_characters(value):
    assert limits.identifier_violation(value) is None


@pytest.mark.parametrize("value", ["", "a" * 256, "😀" * 256], ids=lambda value: str(len(value)))
def test_the_refusal_says_how_many_characters_there_are(value):
    problem = limits.identifier_violation(value)
    assert problem == f"must have 1 to 255 characters; it has {len(value)}."


@QUICK
@given(value=st.text(max_size=300))
def test_an_identifier_is_sound_exactly_when_length_and_characters_are(value):
    categories = {unicodedata.category(character) for character in value}
    sound = 1 <= len(value) <= 255 and not categories & {"Cc", "Cs"}
    assert (limits.identifier_violation(value) is None) is sound


@QUICK
@given(parts=st.lists(st.sampled_from([".", "..", "...", "a", "", ".a"]), min_size=1, max_size=4))
def test_a_dot_segment_is_what_a_client_would_resolve(parts):
    value = "/".join(parts)
    address = f"http://host/users/{value}/"
    resolved = urljoin("http://host/", f"/users/{value}/")
    assert limits.has_dot_segment(value) is (resolved != address)


@QUICK
@given(value=st.text(alphabet="./\\%25eEfFcCa", max_size=12))
def test_python_and_the_schema_see_the_same_dot_segments(value):
    matches = re.search(limits.DOT_SEGMENT_PATTERN, value) is not None
    assert limits.has_dot_segment(value) is matches


@QUICK
@given(value=st.text())
def test_text_is_sound_exactly_when_utf_8_and_without_nul(value):
    sound = "\0" not in value and not any(unicodedata.category(c) == "Cs" for c in value)
    assert (limits.text_violation(value) is None) is sound
    assert limits.is_utf8(value.replace("\0", "")) is (
        limits.text_violation(value.replace("\0", "")) is None
    )


@pytest.mark.parametrize("value", [0, 1, 2**53 - 1])
def test_token_counts_that_json_can_carry_are_sound(value):
    assert limits.tokens_violation(value) is None


@pytest.mark.parametrize("value", [-1, 2**53, True, False, 0.0, "0", None], ids=repr)
def test_other_token_counts_are_not(value):
    assert limits.tokens_violation(value)


def test_a_type_that_is_wrong_is_named():
    assert limits.tokens_violation(1.5) == "must be an integer, not float."
    assert limits.identifier_violation(7) == "must be a string, not int."
    assert limits.text_violation(None) == "must be a string, not NoneType."
    assert limits.model_violation(b"m") == "must be a string, not bytes."


def test_a_sound_interaction_has_no_violations(make_interaction):
    assert make_interaction().violations() == {}


IDS = st.sampled_from(["a", "a" * 255, "ada@example.com", "", "a" * 256, "é", "a/../b", "\n", 1])
TEXTS = st.sampled_from(["", "a", "é" * 9, "a\0", "\ud800", "a" * 2_000_000, "é" * 4_000_001, None])
COUNTS = st.sampled_from([0, 1, 2**53 - 1, 2**53, -1, 1.0, True, "1"])
NOW = datetime.now(UTC)
TIMES = st.sampled_from(
    [NOW, NOW.replace(tzinfo=None), NOW.astimezone(timezone(timedelta(1 / 24)))]
)


@settings(QUICK, max_examples=300)
@given(
    row=st.fixed_dictionaries(
        dict.fromkeys(("interaction_id", "user_id"), IDS)
        | dict.fromkeys(("message", "response", "model_used"), TEXTS)
        | dict.fromkeys(("input_tokens", "output_tokens"), COUNTS)
        | dict.fromkeys(("created_at", "updated_at"), TIMES)
    )
)
def test_a_row_that_passes_at_once_breaks_no_limit(row):
    assert not (limits.is_sound(row) and violations_in(row))


@pytest.mark.parametrize("text", ["How?", "Wie heißt das? 😀", ""])
def test_ordinary_rows_pass_at_once(make_interaction, text):
    row = make_interaction(user_id="ada@example.com", message=text, response=text).__dict__
    assert limits.is_sound(row)


@pytest.mark.parametrize("name", ["interaction_id", "user_id", "message", "response", "model_used"])
@pytest.mark.parametrize("value", ["a/../b\0", "a" * 8_000_001, "\ud800", None])
def test_a_row_with_one_unsound_field_does_not(make_interaction, name, value):
    assert not limits.is_sound(make_interaction().__dict__ | {name: value})


@pytest.mark.parametrize("name", CHECKS)
def test_no_field_is_left_out_when_a_row_is_to_pass_at_once(make_interaction, name):
    assert not limits.is_sound(make_interaction().__dict__ | {name: object()})


def test_each_field_has_its_own_violation(make_interaction):
    broken = make_interaction(
        interaction_id="",
        user_id="",
        message=None,
        response=None,
        model_used="",
        input_tokens=-1,
        output_tokens=-1,
        created_at=None,
        updated_at=None,
    )
    assert list(broken.violations()) == [
        "interaction_id",
        "user_id",
        "message",
        "response",
        "model_used",
        "input_tokens",
        "output_tokens",
        "created_at",
        "updated_at",
    ]


def test_the_text_leaves_room_for_everything_else_in_an_item():
    # DynamoDB: 400 KB an item, names of the attributes included; four bytes a character.
    names = sum(map(len, ["interaction_id", "user_id", "message", "response", "model_used"]))
    names += sum(map(len, ["input_tokens", "output_tokens", "created_at", "updated_at"]))
    identifiers = 4 * (2 * limits.IDENTIFIER_MAX_LENGTH + limits.MODEL_MAX_LENGTH)
    keys = 4 * limits.IDENTIFIER_MAX_LENGTH + 100  # the id again, in the indexes' range key
    numbers_and_times = 2 * 21 + 2 * 32
    rest = names + identifiers + keys + numbers_and_times
    assert 2 * INLINE_MAX_BYTES + rest <= 400 * 1024


def test_forms_say_the_same(make_interaction):
    with pytest.raises(ValidationError) as refusal:
        make_interaction(user_id="a\nb").clean()
    assert refusal.value.message_dict == {"user_id": ["must not contain control characters."]}


def test_a_key_is_bound_to_a_possible_user_only():
    with pytest.raises(ValidationError) as refusal:
        ApiKey(name="bad", user_id="a\nb").clean()
    assert list(refusal.value.message_dict) == ["user_id"]
