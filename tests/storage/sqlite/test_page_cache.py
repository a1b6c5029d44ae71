"""The connection that commits keeps many pages for a batch, and gives the memory back after it."""

from storage.sqlite.statements import Statements


def test_a_batch_has_room_for_its_pages_and_a_single_save_does_not_keep_it(patient):
    statements = Statements(patient.alias)

    def kib():
        ((pages,),) = statements.rows("PRAGMA cache_size", {})
        return -pages

    assert statements.transaction(kib, "an id") == 2_000
    assert statements.transaction(kib) == 16_000
    assert statements.transaction(kib, "an id") == 2_000
