"""`delete_interaction`: gone from every read at once."""

import pytest

from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from tests.contract.calls import at, fields, ids, short
from tests.contract.reading import IMPOSSIBLE_IDS


class DeletingContract:
    def test_a_deleted_interaction_is_gone_from_every_read(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", created_at=at()))
        calls.save_interaction(make_interaction(interaction_id="kept", created_at=at(hours=1)))
        assert calls.get_interaction("i") is not None  # and now it may be cached
        assert calls.delete_interaction("i") is True
        assert calls.get_interaction("i") is None
        assert ids(calls.get_user_interactions("ada", 10)) == ["kept"]
        assert ids(calls.list_user_interactions("ada", PageQuery()).interactions) == ["kept"]
        assert ids(calls.list_interactions(PageQuery()).interactions) == ["kept"]

    def test_an_unknown_id_is_false(self, calls):
        assert calls.delete_interaction("i") is False

    @pytest.mark.parametrize("interaction_id", IMPOSSIBLE_IDS, ids=short)
    def test_an_impossible_id_is_false(self, storage, interaction_id):
        assert storage.delete_interaction_sync(interaction_id) is False

    def test_a_second_delete_is_false(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i"))
        assert calls.delete_interaction("i") is True
        assert calls.delete_interaction("i") is False

    def test_a_user_deletes_what_is_theirs(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", user_id="ada"))
        assert calls.delete_interaction("i", user_id="ada") is True
        assert calls.get_interaction("i") is None

    def test_a_deletion_by_another_user_finds_nothing(self, calls, make_interaction):
        interaction = make_interaction(interaction_id="i", user_id="ada")
        calls.save_interaction(interaction)
        assert calls.delete_interaction("i", user_id="bob") is False
        assert fields(calls.get_interaction("i")) == fields(interaction)

    def test_the_empty_user_owns_nothing(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", user_id="ada"))
        assert calls.delete_interaction("i", user_id="") is False
        assert calls.get_interaction("i") is not None

    def test_a_deleted_id_is_free_for_anyone(self, calls, make_interaction):
        calls.save_interaction(make_interaction(interaction_id="i", created_at=at()))
        calls.delete_interaction("i")
        calls.save_interaction(make_interaction(interaction_id="i", user_id="bob"))
        found = calls.get_interaction("i")
        assert (found.user_id, found.created_at > at()) == ("bob", True)
        calls.delete_interaction("i")
        assert calls.create_interactions([make_interaction(interaction_id="i")]) == [
            Outcome.CREATED
        ]
