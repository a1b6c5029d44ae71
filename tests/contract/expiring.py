"""Expired interactions: no read shows them and their ids are free, to the microsecond."""

from datetime import UTC, datetime, timedelta

import pytest

from storage import expiry
from storage.exceptions import IdempotentInteractionGone, InvalidInteraction
from storage.models.idempotency import Idempotency
from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from tests.contract.calls import at, everyones_pages, fields, ids, rows_of, user_pages

EXPIRED = at(microseconds=-1)
LAST_EXPIRED = at()
FIRST_KEPT = at(microseconds=1)


class ExpiringContract:
    @pytest.fixture
    def around_the_cutoff(self, storage, make_interaction, monkeypatch):
        """Interactions around a moment, which then becomes the cutoff."""
        for name, created_at in (
            ("expired", EXPIRED),
            ("last expired", LAST_EXPIRED),
            ("first kept", FIRST_KEPT),
        ):
            storage.save_interaction_sync(
                make_interaction(interaction_id=name, created_at=created_at)
            )
        monkeypatch.setattr(expiry, "cutoff", at)

    @pytest.mark.usefixtures("around_the_cutoff")
    def test_what_has_expired_is_not_found_by_id(self, calls):
        assert calls.get_interaction("expired") is None
        assert calls.get_interaction("last expired") is None
        assert calls.get_interaction("first kept").created_at == FIRST_KEPT

    def test_a_cached_interaction_expires_too(self, calls, make_interaction, monkeypatch):
        created_at = datetime.now(UTC) - timedelta(days=90)
        monkeypatch.setattr(expiry, "cutoff", lambda: created_at - timedelta(minutes=5))
        calls.save_interaction(make_interaction(interaction_id="i", created_at=created_at))
        for _ in range(2):  # the second may come from the cache
            assert calls.get_interaction("i") is not None
        monkeypatch.setattr(expiry, "cutoff", lambda: created_at)
        assert calls.get_interaction("i") is None

    @pytest.mark.usefixtures("around_the_cutoff")
    def test_what_has_expired_is_in_no_list(self, calls):
        assert ids(calls.get_user_interactions("ada", 10)) == ["first kept"]
        later = {"created_before": at(days=1)}
        for filters in ({}, {"created_after": EXPIRED}, {"limit": 1}, later):
            assert ids(rows_of(user_pages(calls, "ada", **filters))) == ["first kept"]
            assert ids(rows_of(everyones_pages(calls, **filters))) == ["first kept"]
        only_expired = PageQuery(created_before=FIRST_KEPT)
        assert calls.list_user_interactions("ada", only_expired).interactions == []
        assert calls.list_interactions(only_expired).interactions == []

    @pytest.mark.usefixtures("around_the_cutoff")
    def test_the_last_page_before_the_expired_has_no_cursor(self, calls):
        page = calls.list_user_interactions("ada", PageQuery(limit=1))
        assert (ids(page.interactions), page.next_cursor) == (["first kept"], None)

    @pytest.mark.usefixtures("around_the_cutoff")
    def test_what_has_expired_cannot_be_changed_or_deleted(self, calls):
        assert calls.update_interaction("last expired", {"response": "r"}) is None
        assert calls.delete_interaction("last expired") is False
        assert calls.delete_interaction("last expired", user_id="ada") is False

    @pytest.mark.usefixtures("around_the_cutoff")
    @pytest.mark.parametrize("user_id", ["ada", "bob"])
    def test_an_expired_id_can_be_saved_anew(self, calls, make_interaction, user_id):
        new = make_interaction(
            interaction_id="last expired", user_id=user_id, message="new", created_at=at(hours=1)
        )
        calls.save_interaction(new)
        assert new.created_at == at(hours=1)
        assert fields(calls.get_interaction("last expired")) == fields(new)
        listed = calls.get_user_interactions(user_id, 10)
        assert "last expired" in ids(listed)

    @pytest.mark.usefixtures("around_the_cutoff")
    @pytest.mark.parametrize("idempotency", [None, Idempotency("k" * 64, "r" * 64)])
    def test_an_expired_id_can_be_created_anew(self, calls, make_interaction, idempotency):
        new = make_interaction(interaction_id="last expired", message="new", created_at=at(hours=1))
        stored, created = calls.create_interaction(new, idempotency)
        assert (stored.message, created) == ("new", True)
        assert calls.get_interaction("last expired").message == "new"

    @pytest.mark.usefixtures("around_the_cutoff")
    def test_a_batch_takes_expired_ids_too(self, calls, make_interaction):
        batch = [
            make_interaction(interaction_id=name, message="new", created_at=at(hours=1))
            for name in ("expired", "last expired", "first kept", "other")
        ]
        outcomes = calls.create_interactions(batch)
        assert outcomes == [Outcome.CREATED] * 2 + [Outcome.CONFLICT, Outcome.CREATED]
        assert calls.get_interaction("expired").message == "new"

    @pytest.mark.usefixtures("around_the_cutoff")
    def test_a_repeated_request_whose_interaction_has_expired_is_told_that_it_is_gone(
        self, calls, make_interaction, monkeypatch
    ):
        key = Idempotency("k" * 64, "r" * 64)
        calls.create_interaction(make_interaction(created_at=at(hours=1)), key)
        monkeypatch.setattr(expiry, "cutoff", lambda: at(hours=1))
        with pytest.raises(IdempotentInteractionGone):
            calls.create_interaction(make_interaction(created_at=at(hours=2)), key)

    @pytest.mark.parametrize("created_at", [EXPIRED, LAST_EXPIRED])
    def test_what_would_have_expired_is_refused(
        self, calls, make_interaction, monkeypatch, created_at
    ):
        monkeypatch.setattr(expiry, "cutoff", at)
        late = make_interaction(created_at=created_at)
        for write in (
            calls.save_interaction,
            calls.create_interaction,
            lambda i: calls.create_interactions([i]),
        ):
            with pytest.raises(InvalidInteraction) as refusal:
                write(late)
            assert list(refusal.value.violations) == ["created_at"]
        assert calls.list_interactions(PageQuery()).interactions == []
