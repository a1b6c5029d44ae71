"""Large texts lie in objects of the archive, and nobody who uses a storage sees that."""

import pytest

from storage.exceptions import InteractionConflict, InvalidInteraction
from storage.large.objects import LargeObjects, is_object
from storage.large.stand_ins import encoded, stand_in
from storage.limits import TEXT_MAX_BYTES
from storage.models.idempotency import Idempotency
from storage.records import pages, searches, texts
from storage.records.json import dumps
from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from storage.records.questions import Question
from storage.records.searches import Search
from tests.contract.calls import at, fields, ids

SIZES = [
    131_071,
    131_072,
    131_073,
    389_990,
    389_999,
    390_000,
    390_001,
    390_004,
    390_010,
    1_000_000,
    8_000_000,
]


def of_size(size, letter):
    """A text of so many bytes."""
    count, rest = divmod(size, len(letter.encode()))
    return letter * count + "a" * rest


def objects(storage):
    """The names of all objects with texts."""
    entries = LargeObjects(storage.archive.files).entries()
    return {entry.name for entry in entries if is_object(entry)}


class LargeTextsContract:
    @pytest.fixture
    def few_bytes(self, monkeypatch):
        """Texts of more than 100 bytes are large, and a page has room for 1,000 characters."""
        monkeypatch.setattr(texts, "INLINE_MAX_BYTES", 100)
        monkeypatch.setattr(pages, "PAGE_TEXT", 1000)
        monkeypatch.setattr(searches, "PAGE_TEXT", 1000)

    @pytest.mark.parametrize("letter", ["a", "\U0001f99c"], ids=["one byte", "four bytes"])
    def test_texts_of_any_size_are_kept(self, storage, make_interaction, letter):
        for size in SIZES:
            interaction = make_interaction(
                interaction_id=str(size), message="m", response=of_size(size - 1, letter)
            )
            storage.create_interaction_sync(interaction)
            assert fields(storage.get_interaction_sync(str(size))) == fields(interaction)
        too_long = make_interaction(message="m", response=of_size(TEXT_MAX_BYTES, letter))
        with pytest.raises(InvalidInteraction, match="8000000"):
            storage.create_interaction_sync(too_long)

    @pytest.mark.parametrize(
        ("message", "response"),
        [("m" * 101, ""), ("m" * 101, "r"), ("m", "r" * 100), ("m" * 101, "r" * 101)],
        ids=["message", "message and short", "response", "both"],
    )
    def test_every_read_has_them(self, storage, make_interaction, few_bytes, message, response):
        interaction = make_interaction(interaction_id="i", message=message, response=response)
        storage.save_interaction_sync(interaction)
        expected = fields(interaction)
        for _ in range(2):  # the second may come from the cache
            assert fields(storage.get_interaction_sync("i")) == expected
        json = storage.get_json_sync("i")
        assert storage.list_user_interactions_json_sync("ada", PageQuery()).items == [json]
        assert dumps(storage.read_record("i", pages.every)) == json
        page = storage.list_interactions_sync(PageQuery())
        assert [fields(found) for found in page.interactions] == [expected]
        assert [fields(found) for found in storage.get_user_interactions_sync("ada", 9)] == [
            expected
        ]
        assert [fields(found) for found in storage.oldest(at(days=9999), 9)] == [expected]
        for text, count in (("mmm*", 1), ("nothing", 0)):
            search = Search(text=text.rstrip("*") if message == "m" * 101 else "m", user_id="ada")
            found = storage.search_interactions_sync(search if count else Search("no", "ada"))
            assert len(found.records) == count
        for answered in (True, False):
            search = Search(user_id="ada", answered=answered)
            found = storage.search_interactions_sync(search)
            assert len(found.records) == (answered is bool(response))
        answer = storage.find_answer_sync(Question("ada", message))
        assert (answer and fields(answer)) == (expected if response else None)
        assert storage.find_answer_sync(Question("ada", "")) is None
        neighbour = make_interaction(interaction_id="j", created_at=at(seconds=-1))
        storage.save_interaction_sync(neighbour)
        assert storage.neighbours_sync(neighbour).next.interaction_id == "i"

    def test_nobody_can_make_up_the_message_that_a_large_one_is_stored_as(
        self, storage, make_interaction, few_bytes
    ):
        large, short = "m" * 150, encoded(stand_in("m" * 150))
        for number, message in enumerate([large, short, large, short]):
            created = at(seconds=number)
            made = make_interaction(
                interaction_id=f"{number}", message=message, response="r", created_at=created
            )
            storage.save_interaction_sync(made)
            for asked in (large, short)[: number + 1]:
                newest = created if asked == message else at(seconds=number - 1)
                for model in (None, made.model_used):
                    found = storage.find_answer_sync(Question("ada", asked, model))
                    assert found is not None
                    assert (found.message, found.created_at) == (asked, newest)

    def test_every_write_keeps_one_object(self, storage, make_interaction, few_bytes):
        large = {"interaction_id": "i", "message": "m" * 150}
        first = make_interaction(**large, response="")
        assert storage.create_interaction_sync(first)[1]
        before = objects(storage)
        assert storage.create_interaction_sync(make_interaction(**large, response=""))[1] is False
        assert storage.create_interactions_sync([first]) == [Outcome.UNCHANGED]
        other = make_interaction(**large, response="r" * 150)
        assert storage.create_interactions_sync([other]) == [Outcome.CONFLICT]
        with pytest.raises(InteractionConflict):
            storage.create_interaction_sync(other)
        storage.update_interaction_sync("i", {"response": "short"})
        assert objects(storage) == before, "its object serves on"
        for response in ("r" * 150, "s" * 150, "short", "t" * 300):
            changed = storage.update_interaction_sync("i", {"response": response})
            assert (changed.message, changed.response) == ("m" * 150, response)
            assert fields(storage.get_interaction_sync("i")) == fields(changed)
            assert len(objects(storage)) == len(before)
        storage.save_interaction_sync(make_interaction(**large, response="saved" * 100))
        assert storage.get_interaction_sync("i").response == "saved" * 100
        assert len(objects(storage)) == len(before)
        storage.save_interaction_sync(make_interaction(interaction_id="i", message="small"))
        assert objects(storage) == set()
        storage.update_interaction_sync("i", {"response": "r" * 150})
        assert storage.get_interaction_sync("i").response == "r" * 150
        assert storage.delete_interaction_sync("i") is True
        assert storage.get_interaction_sync("i") is None
        assert objects(storage) == set()

    def test_a_key_gives_a_repeat_what_the_first_request_made(
        self, storage, make_interaction, few_bytes
    ):
        key = Idempotency("k" * 64, "r" * 64)
        for created in (True, False, False):
            made = storage.create_interaction_sync(
                make_interaction(interaction_id="i", message="m" * 150), key
            )
            assert (made[0].message, made[1]) == ("m" * 150, created)
            storage.update_interaction_sync("i", {"response": "r" * 150})
        assert len(objects(storage)) <= 1

    def test_an_archived_id_leaves_no_object_of_what_it_refuses(
        self, storage, make_interaction, few_bytes
    ):
        stored, _ = storage.create_interaction_sync(make_interaction(interaction_id="i"))
        segment = storage.archive.new_segment(stored.created_at.date())
        storage.archive.write(segment, [stored])
        assert storage.move_to_cold([stored], segment) == 1
        key = Idempotency("k" * 64, "r" * 64)
        for idempotency in (None, key):
            large = make_interaction(interaction_id="i", message="m" * 150)
            with pytest.raises(InteractionConflict):
                storage.create_interaction_sync(large, idempotency)
            assert objects(storage) == set()

    def test_a_batch_has_them_beside_others(self, storage, make_interaction, few_bytes):
        batch = [
            make_interaction(interaction_id=str(n), message="m" * (150 if n % 2 else 1))
            for n in range(6)
        ]
        again = make_interaction(interaction_id="1", message="m" * 150)
        assert storage.create_interactions_sync([*batch[:3], again]) == [
            Outcome.CREATED,
            Outcome.CREATED,
            Outcome.CREATED,
            Outcome.UNCHANGED,
        ]
        few = objects(storage)
        outcomes = storage.create_interactions_sync(batch)
        assert outcomes == [Outcome.UNCHANGED] * 3 + [Outcome.CREATED] * 3
        assert len(objects(storage)) == 3 * len(few)
        for interaction in batch:
            stored = storage.get_interaction_sync(interaction.interaction_id)
            assert fields(stored) == fields(interaction)

    def test_a_page_ends_before_it_has_too_much_text(self, storage, make_interaction, few_bytes):
        sizes = [400, 400, 400, 5000, 10, 900, 900]
        for n, size in enumerate(sizes):
            storage.save_interaction_sync(
                make_interaction(
                    interaction_id=str(n),
                    message="m" * size,
                    response="r",
                    created_at=at(seconds=-n),
                )
            )
        for filters in ({}, {"user_id": "ada", "answered": True}):
            cut, cursor = [], None
            while not cut or cursor:
                if filters:
                    page = storage.search_interactions_sync(
                        Search(**filters, limit=50, cursor=cursor)
                    )
                    found = page.records
                else:
                    page = storage.list_interactions_sync(PageQuery(50, cursor))
                    found = page.records
                cursor = page.next_cursor
                cut.append([len(record["message"]) for record in found])
            assert [size for page in cut for size in page] == sizes
            assert all(sum(page) + len(page) <= 1000 or len(page) == 1 for page in cut), cut

    def test_tier_transitions_take_them_along(self, storage, make_interaction, few_bytes):
        rows = [
            make_interaction(interaction_id=str(n), message="m" * 150, created_at=at(seconds=n))
            for n in range(3)
        ]
        for row in rows:
            storage.save_interaction_sync(row)
        stored = [storage.get_interaction_sync(row.interaction_id) for row in rows]
        storage.update_interaction_sync("1", {"response": "changed" * 50})
        many = len(objects(storage))
        assert storage.move_to_cold(stored, "a-segment") == 2
        assert len(objects(storage)) == many // 3, "that of the changed one stays"
        assert storage.return_from_cold(stored, "a-segment") == 2
        assert len(objects(storage)) == many
        for row in (stored[0], stored[2]):
            assert fields(storage.get_interaction_sync(row.interaction_id)) == fields(row)
        assert storage.get_interaction_sync("1").response == "changed" * 50

    def test_what_is_deleted_in_bulk_takes_its_objects_along(
        self, storage, make_interaction, few_bytes
    ):
        for user_id in ("ada", "bob"):
            for n in range(3):
                storage.save_interaction_sync(
                    make_interaction(
                        interaction_id=f"{user_id} {n}",
                        user_id=user_id,
                        message="m" * (10 + 100 * n),
                        created_at=at(seconds=n),
                    )
                )
        many = len(objects(storage))
        rows = storage.hot_of_user("ada", 9, texts_of=pages.never)
        assert storage.erase_hot(rows, "ada") == 3
        assert len(objects(storage)) == many // 2
        rest = storage.oldest(at(days=9999), 9, texts_of=pages.never)
        assert storage.database.remove_expired(rest, at(seconds=1)) == 2
        assert len(objects(storage)) == many // 4
        assert ids(storage.get_user_interactions_sync("bob", 9)) == ["bob 2"]
