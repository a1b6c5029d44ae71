"""`update_interaction`: complete an interaction with what a streamed answer brought."""

import pytest

from storage.exceptions import InvalidInteraction
from storage.limits import TEXT_MAX_BYTES
from tests.contract.calls import at, fields, short
from tests.contract.reading import IMPOSSIBLE_IDS

FIXED_FIELDS = ["interaction_id", "user_id", "message", "created_at", "updated_at", "no_such_field"]
SOUND = {"response": "r", "model_used": "m", "input_tokens": 1, "output_tokens": 2}


class UpdatingContract:
    def test_all_that_may_change_changes_and_nothing_else(self, calls, make_interaction):
        original = make_interaction(interaction_id="i", created_at=at())
        calls.save_interaction(original)
        given = calls.update_interaction("i", SOUND)
        assert fields(given) == fields(original) | SOUND | {"updated_at": given.updated_at}
        assert fields(calls.get_interaction("i")) == fields(given)
        assert fields(calls.get_user_interactions("ada", 1)[0]) == fields(given)

    @pytest.mark.parametrize("name", SOUND)
    def test_each_field_can_be_changed_alone(self, storage, make_interaction, name):
        original = make_interaction(interaction_id="i")
        storage.save_interaction_sync(original)
        storage.update_interaction_sync("i", {name: SOUND[name]})
        found = storage.get_interaction_sync("i")
        assert fields(found) == fields(original) | {
            name: SOUND[name],
            "updated_at": found.updated_at,
        }

    def test_updated_at_moves_and_created_at_stays(self, calls, make_interaction):
        original = make_interaction(interaction_id="i", created_at=at())
        calls.save_interaction(original)
        given = calls.update_interaction("i", {"output_tokens": 8})
        assert given.updated_at > original.updated_at
        assert given.created_at == at()

    def test_a_cached_interaction_is_read_as_updated(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", response=""))
        assert calls.get_interaction("i").response == ""
        calls.update_interaction("i", {"response": "arrived"})
        assert calls.get_interaction("i").response == "arrived"

    @pytest.mark.parametrize("name", FIXED_FIELDS)
    def test_no_other_field_can_be_changed(self, storage, make_interaction, name):
        original = make_interaction(interaction_id="i")
        storage.save_interaction_sync(original)
        with pytest.raises(InvalidInteraction) as refusal:
            storage.update_interaction_sync("i", {"response": "r", name: "x"})
        assert list(refusal.value.violations) == [name]
        assert fields(storage.get_interaction_sync("i")) == fields(original)

    @pytest.mark.parametrize(
        "changes",
        [
            {"response": "\0"},
            {"response": None},
            {"model_used": ""},
            {"model_used": "m" * 256},
            {"input_tokens": -1},
            {"input_tokens": True},
            {"output_tokens": 2**53},
            {"output_tokens": 1.0},
        ],
        ids=str,
    )
    def test_a_change_that_breaks_a_limit_changes_nothing(self, storage, make_interaction, changes):
        original = make_interaction(interaction_id="i")
        storage.save_interaction_sync(original)
        with pytest.raises(InvalidInteraction) as refusal:
            storage.update_interaction_sync("i", {"response": "fine", "input_tokens": 1} | changes)
        assert list(refusal.value.violations) == list(changes)
        assert fields(storage.get_interaction_sync("i")) == fields(original)

    def test_the_stored_message_counts_towards_the_size(self, calls, make_interaction):
        message = "é" * 100_000  # 200,000 bytes
        calls.save_interaction(make_interaction(interaction_id="i", message=message, response=""))
        fits = "a" * (TEXT_MAX_BYTES - 200_000)
        with pytest.raises(InvalidInteraction) as refusal:
            calls.update_interaction("i", {"response": fits + "a"})
        assert list(refusal.value.violations) == ["response"]
        assert calls.get_interaction("i").response == ""
        calls.update_interaction("i", {"response": fits})
        assert calls.get_interaction("i").response == fits

    def test_an_unknown_id_is_none_and_stays_unknown(self, calls):
        assert calls.update_interaction("i", SOUND) is None
        assert calls.get_interaction("i") is None

    @pytest.mark.parametrize("interaction_id", IMPOSSIBLE_IDS, ids=short)
    def test_a_change_of_an_impossible_id_finds_nothing(self, storage, interaction_id):
        assert storage.update_interaction_sync(interaction_id, SOUND) is None

    def test_a_user_completes_what_is_theirs(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", user_id="ada"))
        assert calls.update_interaction("i", SOUND, user_id="ada").response == "r"

    @pytest.mark.parametrize("user_id", ["bob", "", "Ada"])
    def test_a_change_by_another_user_finds_nothing(self, storage, make_interaction, user_id):
        original = make_interaction(interaction_id="i", user_id="ada")
        storage.save_interaction_sync(original)
        assert storage.update_interaction_sync("i", SOUND, user_id=user_id) is None
        assert fields(storage.get_interaction_sync("i")) == fields(original)
