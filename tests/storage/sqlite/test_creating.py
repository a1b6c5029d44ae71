"""Saving many interactions of which some exist already: what it asks the database."""

import pytest

from storage.records.outcomes import Outcome
from storage.sqlite.statements import Statements


@pytest.fixture
def statements(monkeypatch):
    """The statements that were run, or begun for many rows."""
    run = []

    def count(name):
        method = getattr(Statements, name)

        def counted(self, sql, parameters):
            run.append(sql)
            return method(self, sql, parameters)

        monkeypatch.setattr(Statements, name, counted)

    for name in ("rows", "many", "changed"):
        count(name)
    return run


@pytest.mark.parametrize("new", [0, 1], ids=["all unchanged", "all but one unchanged"])
def test_a_repeat_asks_for_all_ids_at_once(storage, make_interaction, statements, new):
    asked = []
    for count in (10, 100):
        batch = [make_interaction(interaction_id=f"{count}-{number}") for number in range(count)]
        storage.create_interactions_sync(batch[new:])
        statements.clear()
        outcomes = storage.create_interactions_sync(batch)
        assert outcomes == [Outcome.CREATED] * new + [Outcome.UNCHANGED] * (count - new)
        asked.append(len(statements))
    assert asked[0] == asked[1] <= 5


def test_archiving_many_takes_three_statements_and_some_changed_one_each(
    storage, make_interaction, statements
):
    batch = [make_interaction(interaction_id=f"i{number}") for number in range(100)]
    storage.create_interactions_sync(batch)
    segment = "2026-01-01/a"
    statements.clear()
    assert storage.move_to_cold(batch[:50], segment) == 50
    assert len(statements) == 3
    storage.update_interaction_sync("i99", {"response": "changed"})
    assert storage.move_to_cold(batch[50:], segment) == 49
    assert storage.database.stubs(["i98", "i99"]).keys() == {"i98"}
