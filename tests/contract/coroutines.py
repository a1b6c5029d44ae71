"""The coroutine of each operation. That both sides owe the same is for the other tests."""

from storage.interface import Storage
from storage.records.json import from_json
from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from storage.records.questions import Question
from storage.records.searches import Search
from tests.contract.calls import CoroutineCalls, fields, ids


class RecordedCalls(CoroutineCalls):
    """Remembers the names of the operations that were called."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.called: set[str] = set()

    def __getattr__(self, name):
        self.called.add(name)
        return super().__getattr__(name)


def operations():
    """The names of all operations that have a coroutine."""
    return {name.removesuffix("_sync") for name in vars(Storage) if name.endswith("_sync")} & set(
        vars(Storage)
    )


class CoroutinesContract:
    def test_every_operation_has_a_coroutine(self, storage, make_interaction):
        calls = RecordedCalls(storage)
        asked = Question("ada", "What is a B-tree?")
        saved, created, batched = (make_interaction(interaction_id=name) for name in "sbc")

        assert calls.check_available() is None
        calls.save_interaction(saved)
        stored, is_new = calls.create_interaction(created)
        assert (fields(stored), is_new) == (fields(created), True)
        assert calls.create_interactions([batched]) == [Outcome.CREATED]

        assert fields(calls.get_interaction("s")) == fields(saved)
        assert fields(from_json(calls.get_json("s"))) == fields(saved)
        newest = calls.find_answer(asked)
        assert newest.message == asked.message
        assert newest.interaction_id.encode() in calls.find_answer_json(asked)
        everyones = ids(calls.list_interactions(PageQuery()).interactions)
        assert sorted(everyones) == ["b", "c", "s"]
        assert ids(calls.list_user_interactions("ada", PageQuery()).interactions) == everyones
        assert ids(calls.get_user_interactions("ada", 10)) == everyones
        of_all = calls.list_interactions_json(PageQuery()).items
        assert [from_json(item).interaction_id for item in of_all] == everyones
        assert calls.list_user_interactions_json("ada", PageQuery()).items == of_all
        assert ids(calls.search_interactions(Search()).interactions) == everyones
        around = calls.neighbours(calls.get_interaction(everyones[1]))
        assert ids([around.next, around.previous]) == [everyones[0], everyones[2]]

        assert calls.update_interaction("s", {"response": "changed"}).response == "changed"
        assert calls.delete_interaction("s") is True
        assert calls.get_interaction("s") is None

        calls.cache_set("chat:ada:0", "value", 60)
        assert calls.cache_get("chat:ada:0") == "value"

        assert calls.called == operations()
