"""The rules that hold for the calls of models, whatever the format in which they came."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO
from itertools import product

import pytest
from django.core.management import call_command

from chat.ingest import keeping
from chat.ingest.calls import LeftOut
from chat.ingest.keeping import keep
from chat.ingest.reasons import Reason
from chat.maintenance.identity import ArchiveMismatch
from storage import limits
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.exceptions import BatchUnfinished, StorageError, StorageUnavailable
from storage.interface import Storage
from storage.models.interaction import FIELDS
from tests.chat.ingest.calls import START, model_call

pytestmark = pytest.mark.every_backend


def counted(taken):
    """What became of the calls, and the labels of the reasons."""
    reasons = {reason.label: number for reason, number in taken.reasons.items()}
    assert taken.received == taken.created + taken.unchanged + len(taken.left_out)
    return taken.created, taken.unchanged, reasons


def kept(storage, *names):
    return [storage.get_interaction_sync(name) for name in names]


def of_ada(storage):
    return storage.get_user_interactions_sync("ada", 100)


def test_a_call_becomes_an_interaction(storage):
    assert counted(keep([model_call()], None)) == (1, 0, {})
    (stored,) = kept(storage, "c1")
    assert [getattr(stored, name) for name in FIELDS] == [
        "c1",
        "ada",
        "What is a B-tree?",
        "A balanced tree for disks.",
        "model-1",
        111,
        22,
        START,
        START + timedelta(seconds=1),
    ]


def test_what_comes_again_of_an_erased_user_is_left_out(storage):
    past = datetime.now(UTC) - timedelta(hours=1)
    old = model_call("old", started_at=past, ended_at=past)
    other = model_call("other", user_id="eve", started_at=past, ended_at=past)
    assert counted(keep([old, other], None)) == (2, 0, {})
    call_command("erase_user", "ada", stdout=StringIO())
    new = model_call("new", started_at=datetime.now(UTC), ended_at=datetime.now(UTC))
    assert counted(keep([old, other, new], None)) == (1, 1, {"erased": 1})
    assert [each.interaction_id for each in of_ada(storage)] == ["new"]
    assert counted(keep([old], None)) == (0, 0, {"erased": 1})


def test_an_erasure_that_begins_and_ends_within_a_batch_wins(storage, monkeypatch):
    """The batch was looked up before it, and is written after its last sweep."""
    past = datetime.now(UTC) - timedelta(hours=1)
    old = model_call("old", started_at=past, ended_at=past)
    other = model_call("other", user_id="eve", started_at=past, ended_at=past)
    keep([old], None)
    create = Storage.create_interactions_sync

    def late(self, interactions):
        call_command("erase_user", "ada", stdout=StringIO())
        return create(self, interactions)

    monkeypatch.setattr(Storage, "create_interactions_sync", late)
    assert counted(keep([old, other], None)) == (1, 0, {"erased": 1})
    assert of_ada(storage) == []


@pytest.mark.parametrize("away", [False, True], ids=["it answers again", "it stays away"])
def test_it_wins_too_if_only_a_part_of_the_batch_was_saved(storage, monkeypatch, away):
    """Also if that could not be taken back at once: the tool sends it again."""
    past = datetime.now(UTC) - timedelta(hours=1)
    calls = [model_call(name, started_at=past, ended_at=past) for name in ("old", "older")]
    keep(calls[:1], None)
    create, look_at = Storage.create_interactions_sync, type(storage.database).look_at

    def unfinished(self, interactions):
        call_command("erase_user", "ada", stdout=StringIO())
        create(self, interactions[:1])
        if away:
            monkeypatch.setattr(type(storage.database), "look_at", fails)
        raise BatchUnfinished([interactions[1].interaction_id])

    def fails(*_):
        raise StorageUnavailable

    monkeypatch.setattr(Storage, "create_interactions_sync", unfinished)
    with pytest.raises(BatchUnfinished):
        keep(calls, None)
    assert len(of_ada(storage)) == away
    monkeypatch.setattr(Storage, "create_interactions_sync", create)
    monkeypatch.setattr(type(storage.database), "look_at", look_at)
    assert counted(keep(calls, None)) == (0, 0, {"erased": 2})
    assert of_ada(storage) == []


def test_without_its_archive_nothing_late_is_stored(storage, tmp_path, monkeypatch):
    """An archive that is not mounted has no record of erasures that could be asked."""
    past = datetime.now(UTC) - timedelta(hours=1)
    old = model_call("old", started_at=past, ended_at=past)
    keep([old], None)
    call_command("erase_user", "ada", stdout=StringIO())
    monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / "not mounted")))
    with pytest.raises(ArchiveMismatch):
        keep([old], None)
    assert of_ada(storage) == []


def test_what_comes_again_changes_nothing(storage):
    calls = [model_call(f"c{number}") for number in range(4)]
    assert counted(keep(calls[:2], None)) == (2, 0, {})
    assert counted(keep(calls[::-1], None)) == (2, 2, {})
    assert counted(keep([calls[0], calls[0]], None)) == (0, 2, {})
    new = model_call("new")
    assert counted(keep([new, new], None)) == (1, 1, {})


def test_nothing_is_nothing(storage):
    assert counted(keep([], None)) == (0, 0, {})


BAD = [
    ({"message": None}, "no_text"),
    ({"response": None}, "no_text"),
    ({"message": "redacted-by-litellm"}, "redacted"),
    ({"response": "__REDACTED__"}, "redacted"),
    ({"user_id": None}, "no_user"),
    ({"user_id": ""}, "no_user"),
    ({"model": ""}, "no_model"),
    ({"is_tool_step": True, "response": ""}, "tool_step"),
    ({"message": "x" * (limits.TEXT_MAX_BYTES + 1)}, "too_long"),
    ({"message": "é" * 2_000_000, "response": "é" * 2_000_001}, "too_long"),
    ({"call_id": "c" * 256}, "invalid"),
    ({"user_id": "u" * 256}, "invalid"),
    ({"user_id": "ada/../bob"}, "invalid"),
    ({"message": "a\0b"}, "invalid"),
    ({"response": "a\ud800b"}, "invalid"),
    ({"model": "m" * 256}, "invalid"),
    ({"input_tokens": -1}, "invalid"),
    ({"output_tokens": 2**53}, "invalid"),
    ({"started_at": datetime(9990, 1, 1, tzinfo=UTC)}, "invalid"),
]
"""Changes to a sound call, and the reason why it is left out then."""


def test_calls_that_cannot_be_stored_harm_no_other(storage):
    calls = [
        replace(model_call(f"bad{index}", place=f"span {index}"), **change)
        for index, (change, _) in enumerate(BAD)
    ]
    taken = keep([model_call("before"), *calls, model_call("after")], None)
    assert (taken.received, taken.created, taken.unchanged) == (len(BAD) + 2, 2, 0)
    assert [(left_out.place, left_out.reason.label) for left_out in taken.left_out] == [
        (f"span {index}", reason) for index, (_, reason) in enumerate(BAD)
    ]
    assert {stored.interaction_id for stored in of_ada(storage)} == {"before", "after"}


def test_a_reason_names_the_limit_and_no_text(storage):
    secret = "my secret\0"
    (left_out,) = keep([model_call(message=secret)], None).left_out
    assert left_out.detail == "message must not contain the character NUL (U+0000)."
    (left_out,) = keep([model_call(message="secret" * 2_000_000)], None).left_out
    assert left_out.detail == (
        "message and response together must be at most 8000000 bytes of UTF-8; they are 12000026."
    )


def test_what_is_older_than_interactions_are_kept_is_left_out(storage, settings):
    settings.RETENTION_TOTAL_DAYS = 90
    old = datetime.now(UTC) - timedelta(days=90)
    young = old + timedelta(days=1)
    calls = [model_call("old", started_at=old), model_call("young", started_at=young)]
    assert counted(keep(calls, None)) == (1, 0, {"expired": 1})
    assert kept(storage, "old") == [None]


def test_what_a_translator_leaves_out_is_counted(storage):
    other = LeftOut(Reason.NO_CALL)
    assert counted(keep([other, model_call(), other], None)) == (1, 0, {"no_call": 2})


def test_the_user_of_a_key_wins(storage):
    calls = [model_call("c1"), model_call("c2", user_id=None), model_call("c3", user_id="x" * 999)]
    assert counted(keep(calls, "grace")) == (3, 0, {})
    assert {stored.user_id for stored in kept(storage, "c1", "c2", "c3")} == {"grace"}


def test_another_text_under_the_same_id_is_a_conflict(storage):
    keep([model_call()], None)
    changes = [{"response": "Other."}, {"message": "Other?"}, {"user_id": "bob"}, {"model": "m-2"}]
    calls = [replace(model_call(), **change) for change in changes]
    assert counted(keep(calls, None)) == (0, 0, {"conflict": 4})
    assert kept(storage, "c1")[0].response == "A balanced tree for disks."


def test_an_end_before_the_start_and_other_offsets(storage):
    offset = timezone(timedelta(hours=2))
    call = model_call(started_at=START.astimezone(offset), ended_at=START - timedelta(seconds=9))
    assert counted(keep([call], None)) == (1, 0, {})
    (stored,) = kept(storage, "c1")
    assert (stored.created_at, stored.updated_at) == (START, START)


def step(call_id, seconds, **fields):
    return model_call(
        call_id, seconds, is_tool_step=True, response="", turn="t", input_tokens=100, **fields
    )


def test_steps_give_their_tokens_to_the_answer_of_their_turn(storage):
    """In whatever order they come; each step counts once."""
    calls = [
        model_call("later", 9, turn="t"),
        step("s2", 2, output_tokens=2),
        model_call("answer", 5, turn="t", input_tokens=1000, output_tokens=50),
        step("s1", 1, output_tokens=1),
        step("of bob", 1, user_id="bob"),
        step("another question", 1, message="What is a trie?"),
        replace(step("another turn", 1), turn="u"),
        replace(step("of no turn", 1), turn=""),
        model_call("alone", 6),
    ]
    assert counted(keep(calls, None)) == (3, 0, {"tool_step": 6})
    tokens = [
        (stored.input_tokens, stored.output_tokens)
        for stored in kept(storage, "answer", "later", "alone")
    ]
    assert tokens == [(1200, 53), (111, 22), (111, 22)]


def test_a_turn_that_comes_in_parts_and_again(storage):
    halves = [slice(0, 1), slice(1, 2), slice(0, 2)]
    for number, (first, second) in enumerate(product(halves, halves)):
        turn, name = f"t{number}", f"answer{number}"
        calls = [
            replace(step(f"s{number}", 1), turn=turn),
            model_call(name, 2, turn=turn),
        ]
        for part in (calls[first], calls[second], calls, calls[::-1]):
            assert set(keep(part, None).reasons) <= {Reason.TOOL_STEP}
        assert kept(storage, name)[0].response == "A balanced tree for disks."
    assert len(of_ada(storage)) == 9


def test_many_are_saved_in_steps(storage, monkeypatch):
    monkeypatch.setattr(keeping, "BATCH_ITEMS", 3)
    monkeypatch.setattr(keeping, "BATCH_BYTES", 1000)
    sizes = []
    create = Storage.create_interactions_sync

    def watched(self, interactions):
        sizes.append(len(interactions))
        return create(self, interactions)

    monkeypatch.setattr(Storage, "create_interactions_sync", watched)
    calls = [model_call(f"c{number}") for number in range(4)]
    calls += [model_call(f"long{number}", message="x" * 600) for number in range(3)]
    assert counted(keep(calls, None)) == (7, 0, {})
    assert sizes == [3, 2, 1, 1]


def test_a_store_that_fails_half_way_is_told_and_completed_the_next_time(storage, monkeypatch):
    monkeypatch.setattr(keeping, "BATCH_ITEMS", 2)
    create = Storage.create_interactions_sync
    steps = iter([True, False])

    def failing(self, interactions):
        if next(steps, True):
            return create(self, interactions)
        raise StorageUnavailable

    monkeypatch.setattr(Storage, "create_interactions_sync", failing)
    calls = [model_call(f"c{number}") for number in range(6)]
    with pytest.raises(StorageError):
        keep(calls, None)
    assert counted(keep(calls, None)) == (4, 2, {})
