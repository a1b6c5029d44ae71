"""Whatever is killed, lost or changed meanwhile, no row names an object that is not there."""

import contextlib
import itertools

import pytest

from storage import get_storage
from storage.archive import names
from storage.exceptions import DamagedArchive, StorageFull, StorageUnavailable
from storage.large.objects import LargeObjects, is_object
from storage.large.rows import LargeRows
from storage.large.stand_ins import reference_of
from storage.large.texts import LargeTexts
from storage.records import texts
from storage.records.pages import PageQuery, never
from storage.records.questions import Question
from storage.records.searches import Search
from storage.records.texts import TextObject
from tests.contract.calls import at, ids

pytestmark = pytest.mark.every_backend

FIRST, SECOND = "first " * 30, "second " * 30
SEGMENT = names.new_segment(at().date())


class Killed(BaseException):
    """The process is no more."""


@pytest.fixture
def storage(transactional_db, monkeypatch):
    monkeypatch.setattr(texts, "INLINE_MAX_BYTES", 100)
    return get_storage()


@pytest.fixture
def row(make_interaction):
    def make(message, interaction_id="i", **fields):
        return make_interaction(interaction_id=interaction_id, message=message, **fields)

    return make


def commits(storage):
    """What commits writes."""
    database = storage.database
    if hasattr(database, "client"):
        return [(type(database.client), "call"), (type(database.client), "request")]
    return [(type(database._statements), "transaction"), (database, "_transaction")]


class Steps:
    """Counts calls that leave the process, and kills it before or after one of them."""

    def __init__(self, storage, monkeypatch):
        self.left = None
        self.fired = False
        for owner, name in [*commits(storage), (LargeTexts, "write"), (LargeTexts, "remove")]:
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, do):
        def counted(*arguments, **named):
            self._step()
            done = do(*arguments, **named)
            self._step()
            return done

        return counted

    def _step(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.fired = True
                raise Killed


@pytest.fixture
def steps(storage, monkeypatch):
    return Steps(storage, monkeypatch)


def objects(storage):
    entries = LargeObjects(storage.archive.files).entries()
    return {entry.name for entry in entries if is_object(entry)}


def named(storage):
    rows = storage.oldest(at(days=999), 99, texts_of=never)
    return {TextObject.loads(kept).name for each in rows if (kept := reference_of(each))}


WRITES = {
    "save": lambda storage, row: storage.save_interaction_sync(row(SECOND)),
    "save of a small one": lambda storage, row: storage.save_interaction_sync(row("small")),
    "update": lambda storage, row: storage.update_interaction_sync("i", {"response": SECOND}),
    "delete": lambda storage, row: storage.delete_interaction_sync("i"),
    "creation": lambda storage, row: storage.create_interaction_sync(row(SECOND, "j")),
    "batch": lambda storage, row: storage.create_interactions_sync(
        [row(SECOND, "j"), row(FIRST), row(SECOND, "k")]
    ),
    "move": lambda storage, row: storage.move_to_cold([storage.get_interaction_sync("i")], SEGMENT),
}


def kill_everywhere(storage, row, steps, write):
    """Kill a write at each of its steps. Afterwards all rows can be read, and are old or new."""
    for number in itertools.count():
        for interaction_id in "ijk":
            storage.database.drop_stubs([interaction_id], SEGMENT)  # nothing is in an archive
            storage.delete_interaction_sync(interaction_id)
        storage.save_interaction_sync(row(FIRST))
        before = objects(storage) - named(storage)
        steps.left, steps.fired = number, False
        with contextlib.suppress(Killed):
            write(storage, row)
        steps.left = None
        found = storage.list_interactions_sync(PageQuery()).interactions
        assert {each.message for each in found} <= {FIRST, SECOND, "small"}
        assert {each.response for each in found} <= {row("").response, SECOND}
        for each in found:
            assert storage.get_interaction_sync(each.interaction_id).message == each.message
        assert named(storage) <= objects(storage)
        assert len(objects(storage) - named(storage) - before) <= 2, "what a write was about"
        if not steps.fired:
            return number


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_that_is_killed_leaves_no_row_without_its_texts(storage, row, steps, write):
    assert kill_everywhere(storage, row, steps, write) >= 2


def test_that_is_due_to_the_order(storage, row, steps, monkeypatch):
    packed = LargeRows.packed

    def remove_first(self, interaction, replaced=None):
        if steps.left is not None:
            self.discard([storage.database._now("i")])
        return packed(self, interaction, replaced)

    monkeypatch.setattr(LargeRows, "packed", remove_first)
    with pytest.raises(DamagedArchive):
        kill_everywhere(storage, row, steps, WRITES["save"])


READS = {
    "by id": lambda storage: [storage.get_interaction_sync("i")],
    "json": lambda storage: [storage.get_json_sync("i")],
    "page": lambda storage: storage.list_interactions_sync(PageQuery()).interactions,
    "json page": lambda storage: storage.list_interactions_json_sync(PageQuery()).items,
    "newest": lambda storage: storage.get_user_interactions_sync("ada", 9),
    "oldest": lambda storage: storage.oldest(at(days=999), 9),
    "search": lambda storage: (
        storage.search_interactions_sync(Search(user_id="ada", answered=True)).records
    ),
    "answer": lambda storage: [storage.find_answer_sync(Question("ada", FIRST))],
    "look": lambda storage: list(storage.database.look_at(["i"]).values()),
}


def response_of(found):
    if isinstance(found, bytes):
        return b"second" in found and SECOND
    return found["response"] if isinstance(found, dict) else found.response


def meanwhile(storage, monkeypatch, change):
    """Once, `change` happens between the read of a row and that of its object."""
    objects = storage.database.large.objects
    read_many = objects.read_many

    def changed(wanted):
        monkeypatch.setattr(objects, "read_many", read_many)
        change()
        return read_many(wanted)

    monkeypatch.setattr(objects, "read_many", changed)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_reader_is_given_what_the_row_is_now(storage, row, monkeypatch, read):
    storage.save_interaction_sync(row(FIRST, response=FIRST))
    storage.save_interaction_sync(row("small", "j", created_at=at(days=2)))
    meanwhile(
        storage,
        monkeypatch,
        lambda: storage.database.update("i", {"response": SECOND}, None, lambda _: None),
    )
    found = read(storage)
    assert SECOND in map(response_of, found)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_reader_is_not_given_what_has_just_been_deleted(storage, row, monkeypatch, read):
    storage.save_interaction_sync(row(FIRST, response=FIRST))
    meanwhile(storage, monkeypatch, lambda: storage.database.delete("i", None))
    assert list(filter(None, read(storage))) == []


def test_two_changes_at_once_are_both_kept(storage, row, monkeypatch):
    storage.save_interaction_sync(row(FIRST))
    meanwhile(
        storage,
        monkeypatch,
        lambda: storage.database.update("i", {"input_tokens": 77}, None, lambda _: None),
    )
    changed = storage.update_interaction_sync("i", {"response": SECOND})
    stored = storage.get_interaction_sync("i")
    assert (changed.response, changed.input_tokens) == (SECOND, 77)
    assert (stored.message, stored.response, stored.input_tokens) == (FIRST, SECOND, 77)
    assert objects(storage) == named(storage)


def test_an_object_that_is_lost_is_told_and_stops_no_maintenance(storage, row):
    storage.save_interaction_sync(row(FIRST))
    storage.save_interaction_sync(row("small", "j"))
    storage.cache.erase_user("ada")  # or a cache would have it
    for name in objects(storage):
        storage.archive.files.delete(name)
    for read in (READS["by id"], READS["page"]):
        with pytest.raises(DamagedArchive, match=r"large/.* is damaged: it is not there"):
            read(storage)
    assert storage.get_interaction_sync("j").message == "small"
    rows = storage.hot_of_user("ada", 9, texts_of=never)
    assert sorted(ids(rows)) == ["i", "j"]
    assert storage.erase_hot(rows, "ada") == 2


def test_a_full_archive_changes_nothing(storage, row, monkeypatch):
    storage.save_interaction_sync(row(FIRST))

    def full(self, name, content):
        raise StorageFull("No space is left.")

    with monkeypatch.context() as patched:
        patched.setattr(type(storage.archive.files), "write", full)
        for write in (WRITES["save"], WRITES["update"], WRITES["creation"], WRITES["batch"]):
            with pytest.raises(StorageFull):
                write(storage, row)
    assert ids(storage.list_interactions_sync(PageQuery()).interactions) == ["i"]
    assert storage.get_interaction_sync("i").message == FIRST
    assert objects(storage) == named(storage)


def test_of_a_write_whose_outcome_is_unknown_the_object_stays(storage, row, monkeypatch):
    """A row may name it by now."""
    with monkeypatch.context() as patched:
        for owner, name in commits(storage):
            patched.setattr(owner, name, _then_lost(getattr(owner, name)))
        with pytest.raises(StorageUnavailable):
            WRITES["creation"](storage, row)
    assert storage.get_interaction_sync("j").message == SECOND


def _then_lost(do):
    def lost(*arguments, **named):
        do(*arguments, **named)
        raise StorageUnavailable("The answer was lost.")

    return lost
