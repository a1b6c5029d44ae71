"""Any valid record survives storage unchanged: properties, with examples made by Hypothesis."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.limits import IDENTIFIER_MAX_LENGTH, MODEL_MAX_LENGTH, TOKENS_MAX, has_dot_segment
from storage.models import ChatInteraction
from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from tests.contract.calls import SynchronousCalls, at, fields, ids, newest_first, user_pages

PROFILE = settings.get_profile("contract")

identifiers = st.text(
    st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=IDENTIFIER_MAX_LENGTH
).filter(lambda text: not has_dot_segment(text))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
models = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    min_size=1,
    max_size=MODEL_MAX_LENGTH,
)
tokens = st.integers(0, TOKENS_MAX)
offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(
    datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.one_of(st.just(UTC), offsets)
)
interactions = st.builds(
    ChatInteraction,
    interaction_id=identifiers,
    user_id=identifiers,
    message=texts,
    response=texts,
    model_used=models,
    input_tokens=tokens,
    output_tokens=tokens,
    created_at=times,
    updated_at=times,
)


def empty(storage):
    """Delete everything, by means of the interface alone."""
    while found := storage.list_interactions_sync(PageQuery(limit=500)).interactions:
        for interaction in found:
            storage.delete_interaction_sync(interaction.interaction_id)


class RoundTripsContract:
    @settings(PROFILE)
    @given(interaction=interactions)
    def test_any_interaction_survives_save_and_get(self, storage, interaction):
        empty(storage)
        expected = fields(interaction)
        storage.save_interaction_sync(interaction)
        expected["updated_at"] = interaction.updated_at  # the one field that a save sets
        assert fields(interaction) == expected
        for _ in range(2):  # the second may come from the cache
            assert fields(storage.get_interaction_sync(expected["interaction_id"])) == expected

    @settings(PROFILE)
    @given(interaction=interactions)
    def test_any_interaction_survives_create_and_list(self, storage, interaction):
        empty(storage)
        expected = fields(interaction)
        stored, created = storage.create_interaction_sync(interaction)
        assert (fields(stored), created) == (expected, True)
        (listed,) = storage.get_user_interactions_sync(interaction.user_id, 10)
        assert fields(listed) == expected
        (listed,) = storage.list_interactions_sync(PageQuery()).interactions
        assert fields(listed) == expected

    @settings(PROFILE)
    @given(
        batch=st.lists(
            st.builds(
                ChatInteraction,
                interaction_id=identifiers,
                user_id=st.just("ada"),
                model_used=st.just("m"),
                # Few times, so that many are equal.
                created_at=st.integers(0, 3).map(lambda n: at(microseconds=n)),
            ),
            max_size=12,
            unique_by=lambda interaction: interaction.interaction_id,
        ),
        limit=st.integers(1, 13),
    )
    def test_any_batch_is_paged_completely_and_in_order(self, storage, batch, limit):
        empty(storage)
        assert storage.create_interactions_sync(batch) == [Outcome.CREATED] * len(batch)
        pages = user_pages(SynchronousCalls(storage), "ada", limit=limit)
        assert [ids(page.interactions) for page in pages] == [
            ids(newest_first(batch)[start : start + limit])
            for start in range(0, max(len(batch), 1), limit)
        ]
