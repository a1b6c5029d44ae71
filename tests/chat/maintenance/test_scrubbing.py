"""The files of SQLite, after an erasure: nothing of what was deleted is left in them."""

import random
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from storage.models import ChatInteraction
from storage.sqlite import checkpoints
from tests.chat.maintenance.people import HOT, erase, make_people, refused
from tests.sqlite import connect


@pytest.fixture
def people(store):
    return make_people(store)


def test_a_reader_that_keeps_the_log_is_told_and_it_stays_pending(store, people):
    reader = connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM storage_chatinteraction").fetchone()
    assert "log cannot be emptied" in refused(store)
    reader.close()
    (done,) = erase(store, user_id=None)["erasures"]
    assert done["receipt"]["erased"] == {"hot": 2, "cold": 2}


def test_copies_that_secure_delete_leaves_in_pages_go(storage, make_interaction):
    """See Note [What secure_delete leaves]. Which rows leave some depends on how pages divide."""
    found = [copies_left(storage, make_interaction, seed) for seed in range(6)]
    assert sum(before for before, _ in found) > 0, "no copies were left, so this tests nothing"
    assert [after for _, after in found] == [0] * len(found)


def copies_left(storage, make_interaction, seed):
    """Copies of a user's text in the database's files: after its rows are gone, and scrubbed."""
    chosen = random.Random(seed)
    for _ in range(20):
        made = []
        for _ in range(50):
            mine = chosen.random() < 0.5
            user = "marker" if mine else f"user{chosen.randrange(9)}"
            made.append(
                make_interaction(
                    interaction_id=f"{user}-{chosen.getrandbits(128):032x}".ljust(200, "y"),
                    user_id=user.ljust(200, "x"),
                    message="m" * chosen.randrange(100),
                    response="a" * chosen.randrange(300),
                    created_at=HOT + timedelta(microseconds=chosen.randrange(10**10)),
                )
            )
        storage.create_interactions_sync(made)
    user = "marker".ljust(200, "x")
    while rows := storage.hot_of_user(user, 100):
        storage.erase_hot(rows, user)
    checkpoints.empty_log(storage.database._statements)
    before = in_files()
    storage.database.scrub()
    after = in_files()
    ChatInteraction.objects.all().delete()
    return before, after


def in_files():
    file = Path(connection.settings_dict["NAME"])
    files = file.parent.glob(f"{file.name}*")
    return sum(each.read_bytes().count(b"marker") for each in files)
