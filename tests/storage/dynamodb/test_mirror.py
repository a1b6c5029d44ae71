"""The PynamoDB mirror holds what ChatInteraction has, and `items` fills it as PynamoDB would."""

import base64
import hashlib
import string
from datetime import UTC, datetime, timedelta

import pytest
from django.db import models
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute

from storage import limits
from storage.compat import zstd
from storage.dynamodb import idempotency_keys, items, shards
from storage.dynamodb.items import ANSWER_ATTRIBUTES
from storage.dynamodb.mirror import (
    Answers,
    IdempotencyItem,
    InteractionItem,
    Newest,
    OfUser,
    bound,
)
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.models.interaction import FIELDS
from storage.records.json import format_time, to_record
from storage.records.texts import INLINE_MAX_BYTES, OBJECT

ITEM_BYTES = 409_600
"""DynamoDB's limit: 400 KB, names of attributes included."""

MIRRORED = {
    models.CharField: UnicodeAttribute,
    models.TextField: UnicodeAttribute,
    models.PositiveBigIntegerField: NumberAttribute,
    models.DateTimeField: UnicodeAttribute,  # RFC 3339, which sorts as the times do
}

SHORT = {
    "model_used": "m",
    "input_tokens": "i",
    "output_tokens": "o",
    "updated_at": "u",
    "texts": "t",
    "version": "v",
    "saved_as": "s",
}

NOT_IN_EACH = {"message", "response", "created_at"}
"""Fields that an item has in another attribute: in `texts`, and in `position`."""

EXTRA = {
    "texts": BinaryAttribute,  # the message and the response, compressed
    "position": UnicodeAttribute,  # the range key of both indexes
    "shard": UnicodeAttribute,  # the hash key of the index of everyone's
    "expires_at": NumberAttribute,  # the TTL
    "version": UnicodeAttribute,  # tells that nobody came between
    "saved_as": UnicodeAttribute,  # tells a save its own, though completed since
    "question": UnicodeAttribute,  # the hash key of the index of answers
    "answer": UnicodeAttribute,  # and its range key
    "text_object": UnicodeAttribute,  # names the object that has large texts
    "archived_in": UnicodeAttribute,  # which segment of the archive has it
}

quick = settings(max_examples=40, derandomize=True, database=None, deadline=None)

characters = st.characters(codec="utf-8", categories=("L", "M", "N", "P", "S", "Z"))
identifiers = st.text(characters, min_size=1, max_size=255).filter(
    lambda text: limits.identifier_violation(text) is None
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
short_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200)
repeated = st.builds(lambda text, times: text * times, short_texts, st.integers(1, 5))
texts = short_texts | repeated
times = st.datetimes(
    min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.just(UTC)
)
tokens = st.integers(0, limits.TOKENS_MAX)
interactions = st.builds(
    ChatInteraction,
    interaction_id=identifiers,
    user_id=identifiers,
    message=texts,
    response=texts,
    model_used=texts.filter(bool),
    input_tokens=tokens,
    output_tokens=tokens,
    created_at=times,
    updated_at=times,
)


@pytest.fixture(autouse=True)
def _ninety_days(settings):
    settings.RETENTION_TOTAL_DAYS = 90


# Names and types


def test_the_mirror_has_the_fields_of_the_model_and_a_few_more():
    assert [field.name for field in ChatInteraction._meta.fields] == [*FIELDS, OBJECT]
    assert set(InteractionItem.get_attributes()) == {*FIELDS, *EXTRA}


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_is_mirrored_under_its_name_with_its_type(name):
    field = ChatInteraction._meta.get_field(name)
    attribute = InteractionItem.get_attributes()[name]
    expected = NumberAttribute if name == "updated_at" else MIRRORED[type(field)]
    assert type(attribute) is expected
    assert attribute.attr_name == SHORT.get(name, name)
    assert field.null is False
    assert attribute.null is (name in NOT_IN_EACH)
    assert attribute.is_hash_key is field.primary_key
    assert not attribute.is_range_key


@pytest.mark.parametrize("name", EXTRA)
def test_each_further_attribute_is_what_it_is_for(name):
    attribute = InteractionItem.get_attributes()[name]
    assert type(attribute) is EXTRA[name]
    may_be_absent = name in (*ANSWER_ATTRIBUTES, "texts", "text_object", "archived_in")
    assert (attribute.attr_name, attribute.null) == (SHORT.get(name, name), may_be_absent)
    assert not attribute.is_hash_key


@pytest.mark.parametrize("index", [OfUser, Newest, Answers])
def test_the_keys_of_an_index_are_attributes_of_the_item(index):
    for name, attribute in index.Meta.attributes.items():
        mirrored = InteractionItem.get_attributes()[name]
        assert (type(attribute), attribute.attr_name) == (type(mirrored), mirrored.attr_name)


def test_a_bound_model_has_the_same_attributes_and_indexes():
    model = bound("table", "eu-central-1", "", 6)
    assert model.get_attributes().keys() == InteractionItem.get_attributes().keys()
    assert set(model._indexes) == {"of_user", "newest", "answers"}


def test_the_record_of_a_key_is_as_its_mirror_says():
    record = idempotency_keys._record("made", "ada", Idempotency("key", "request"))["Item"]
    attributes = IdempotencyItem.get_attributes()
    assert {name: next(iter(value)) for name, value in record.items()} == {
        name: attribute.attr_type for name, attribute in attributes.items()
    }


@given(identifiers)
@quick
def test_no_interaction_has_the_id_of_such_a_record(interaction_id):
    assert not interaction_id.startswith(IdempotencyItem.PREFIX)
    assert limits.identifier_violation(IdempotencyItem.PREFIX + "x") is not None


def test_such_a_record_lies_where_no_list_looks():
    # A list asks for positions from a time on, which is in the year 1 at the earliest.
    record = idempotency_keys._record("made", "ada", Idempotency("0" * 64, "request"))["Item"]
    assert record["position"]["S"] < format_time(datetime.min.replace(tzinfo=UTC))
    assert "shard" not in record
    assert not set(ANSWER_ATTRIBUTES) & set(record)


# Conversion


@given(interactions)
@quick
def test_an_item_is_what_pynamodb_would_write(interaction):
    item = items.to_item(interaction, "v")
    is_packed = "t" in item
    given = [name for name in FIELDS if name not in ("message", "response") or not is_packed]
    mirrored = InteractionItem(
        **{
            **{name: getattr(interaction, name) for name in given},
            **({"texts": item["t"]["B"]} if is_packed else {}),
            "created_at": None,
            "updated_at": (interaction.updated_at - EPOCH) // timedelta(microseconds=1),
            "position": item["position"]["S"],
            "shard": item["shard"]["S"],
            "expires_at": int(item["expires_at"]["N"]),
            "version": "v",
            "saved_as": "v",
            **{name: item[name]["S"] for name in ANSWER_ATTRIBUTES if name in item},
        }
    )
    assert mirrored.serialize() == item


@given(interactions)
@quick
def test_an_interaction_is_what_pynamodb_would_read(interaction):
    item = items.to_item(interaction, "v")
    read = items.to_interaction(item)
    mirrored = InteractionItem.from_raw_data(item)
    for name in set(FIELDS) - NOT_IN_EACH:
        value = getattr(mirrored, name)
        found = getattr(read, name)
        if isinstance(found, datetime):
            value = EPOCH + timedelta(microseconds=value)
        assert (type(found), found) == (type(value), value), name
    if mirrored.texts is None:
        assert (mirrored.message, mirrored.response) == (read.message, read.response)
    else:
        unpacked = zstd.decompress(mirrored.texts[1:]).decode()
        assert unpacked == f"{read.message}\0{read.response}"
    assert mirrored.position.startswith(format_time(read.created_at))


@given(interactions)
@quick
def test_what_is_written_is_read(interaction):
    read = items.to_interaction(items.to_item(interaction, "v"))
    assert {name: getattr(read, name) for name in FIELDS} == {
        name: getattr(interaction, name) for name in FIELDS
    }


@given(interactions)
@quick
def test_a_record_has_the_fields_of_the_interaction(interaction):
    item = items.to_item(interaction, "v")
    read = items.to_interaction(item)
    assert items.to_record(item) == to_record(read)
    assert read == ChatInteraction(**items.to_fields(item))
    assert read._state.adding is False


def test_hashes_and_versions_are_in_the_alphabet_of_urls():
    digest = hashlib.sha256(b"ada\0hello").digest()
    assert items.question("ada", "hello") == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    versions = {items.new_version() for _ in range(1000)}
    assert len(versions) == 1000
    assert set("".join(versions)) == {*string.ascii_letters, *string.digits, "-", "_"}


@given(interactions)
@quick
def test_the_ttl_is_never_before_the_interaction_expires_and_less_than_a_second_after(interaction):
    expires = items.to_item(interaction, "v")["expires_at"]["N"]
    due = interaction.created_at + timedelta(days=90)
    moment = EPOCH + timedelta(seconds=int(expires))
    assert due <= moment < due + timedelta(seconds=1)


@given(identifiers)
@quick
def test_the_shard_of_an_id_is_one_that_lists_ask(interaction_id):
    for count in (1, 4, shards.MOST):
        assert items.shard(interaction_id, count) in [str(number) for number in range(count)]


# Order

few_times = st.sampled_from(
    [
        datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
        datetime(2026, 11, 22, 9, 30, 0, 1, tzinfo=UTC),
        datetime(2026, 11, 22, 9, 30, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]
)
odd = st.sampled_from(
    "a!#~: \u00e9e\u0301\ufffd\uffee\U00010000\U0010fffd\U0001f600\u05d0\ud7ff\ue000"
)
# Up to 248 characters of four bytes are 992 bytes; 28 more are the time and the `#`.
odd_identifiers = st.one_of(
    st.text(odd, min_size=1, max_size=248), st.text(odd, min_size=1, max_size=3)
)
keys = st.tuples(few_times, odd_identifiers)


@given(keys, keys)
@example((datetime(2026, 1, 1, tzinfo=UTC), "a"), (datetime(2026, 1, 1, tzinfo=UTC), "a#"))
@example(
    (datetime(2026, 1, 1, tzinfo=UTC), "\uffee"), (datetime(2026, 1, 1, tzinfo=UTC), "\U00010000")
)
@settings(parent=quick, max_examples=200)
def test_positions_sort_as_times_and_then_ids_do(one, other):
    def stored(key):  # DynamoDB compares strings by their bytes in UTF-8
        return items.position(*key).encode()

    assert (stored(one) < stored(other)) == (one < other)
    assert (stored(one) == stored(other)) == (one == other)


@given(few_times, st.text(odd, min_size=1, max_size=255))
@example(datetime(2026, 1, 1, tzinfo=UTC), "\U0001f600" * 255)
@example(datetime(2026, 1, 1, tzinfo=UTC), "a" + "\U0001f600" * 249)
@quick
def test_a_position_fits_into_a_sort_key(created_at, interaction_id):
    assert len(items.position(created_at, interaction_id).encode()) <= items.SORT_KEY_BYTES


long_identifiers = st.text(odd, min_size=1, max_size=10).map(
    lambda start: start + "\U0001f600" * (255 - len(start))
)


@given(st.tuples(few_times, long_identifiers), keys)
@settings(parent=quick, max_examples=120)
def test_longer_ids_sort_so_too_unless_they_differ_late(one, other):
    assert (items.position(*one).encode() < items.position(*other).encode()) == (one < other)


@pytest.mark.parametrize(("length", "whole"), [(249, True), (250, False)])
def test_an_id_of_996_bytes_is_whole_in_its_position(length, whole):
    interaction_id = "\U0001f600" * length
    position = items.position(datetime(2026, 1, 1, tzinfo=UTC), interaction_id)
    assert position.endswith(interaction_id) is whole


def test_two_long_ids_that_differ_late_have_positions_of_their_own():
    created_at = datetime(2026, 1, 1, tzinfo=UTC)
    same = "\U0001f600" * 254
    positions = {items.position(created_at, same + last) for last in "abc"}
    assert len(positions) == 3
    assert len({position[: 28 + 230] for position in positions}) == 1


# Size


def size(item):
    """By DynamoDB's rules, in bytes.

    A string counts its UTF-8, a number about a byte for two digits and one more, 21 at most;
    names count as well.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    total = 0
    for name, value in item.items():
        total += len(name.encode())
        if "N" in value:
            total += min(21, len(value["N"]) // 2 + 3)
        else:
            total += len(value["S"].encode() if "S" in value else value["B"])
    return total


def test_the_largest_interaction_fits_into_an_item(monkeypatch):
    face = "\U0001f600"
    moment = datetime(9000, 1, 1, 1, 1, 1, 123_456, tzinfo=UTC)
    largest = ChatInteraction(
        interaction_id=face * limits.IDENTIFIER_MAX_LENGTH,
        user_id=face * limits.IDENTIFIER_MAX_LENGTH,
        model_used=face * limits.MODEL_MAX_LENGTH,
        message=face * (INLINE_MAX_BYTES // 4 - 1),
        response=face,
        input_tokens=limits.TOKENS_MAX,
        output_tokens=limits.TOKENS_MAX,
        created_at=moment,
        updated_at=moment,
    )
    assert largest.violations() == {}
    monkeypatch.setattr("storage.dynamodb.texts.WORTH_TRYING", 400_000)  # nothing is compressed
    largest_size = size(items.to_item(largest, items.new_version()))
    assert INLINE_MAX_BYTES + 4 * 1_000 < largest_size <= ITEM_BYTES


@pytest.mark.parametrize("is_on", [True, False])
def test_without_lookups_no_item_is_in_the_index_of_answers(make_interaction, settings, is_on):
    settings.ANSWER_LOOKUP = is_on
    item = items.to_item(make_interaction(), "v")
    assert set(ANSWER_ATTRIBUTES) <= set(item) if is_on else not set(ANSWER_ATTRIBUTES) & set(item)
