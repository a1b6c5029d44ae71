"""Rows that go to the archive, many in one transaction."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.sqlite import connect

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=40)
SEGMENT = f"{DAY.date()}/0199f0c2-0000-7000-8000-000000000000"


@pytest.fixture
def rows(patient_storage, make_interaction):
    times = [DAY + timedelta(seconds=number) for number in range(20)]
    made = [make_interaction(created_at=at, updated_at=at) for at in times]
    patient_storage.create_interactions_sync(made)
    return made


@pytest.fixture
def statements(patient, monkeypatch):
    """All statements that this process runs on the database from now on."""
    seen = []
    opened = type(patient).open

    def traced(wrapper):
        connection = opened(wrapper)
        connection.set_trace_callback(seen.append)
        return connection

    monkeypatch.setattr(type(patient), "open", traced)
    patient.close()
    patient.pool.close_idle()
    patient.pool.writer.close()
    return seen


def begins(statements, word):
    return [each for each in statements if each.startswith(word)]


def test_no_savepoint_is_held_while_many_rows_move(patient_storage, rows, statements):
    assert patient_storage.move_to_cold(rows, SEGMENT) == len(rows)
    assert len(begins(statements, "DELETE")) >= len(rows)
    assert begins(statements, "SAVEPOINT") == []  # its pages are gone through at each statement
    assert begins(statements, "COMMIT") == ["COMMIT"]


def test_one_that_has_changed_stays_and_the_others_move(patient, patient_storage, rows, statements):
    changed = rows[7].interaction_id
    patient_storage.update_interaction_sync(changed, {"response": "another"})
    assert patient_storage.move_to_cold(rows, SEGMENT) == len(rows) - 1
    assert begins(statements, "SAVEPOINT") == []
    other = connect(patient.settings_dict["NAME"])
    hot = other.execute("SELECT interaction_id FROM storage_chatinteraction").fetchall()
    (stubs,) = other.execute("SELECT count(*) FROM storage_archivedinteraction").fetchone()
    other.close()
    assert hot == [(changed,)]
    assert stubs == len(rows) - 1
