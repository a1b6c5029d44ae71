"""Erasing ada, who has interactions among bob's: what the tests of it share."""

import json
from datetime import timedelta
from typing import Any

from tests.clocks import YESTERDAY

NOW = YESTERDAY
HOT = NOW - timedelta(days=2)
COLD = NOW - timedelta(days=40)


def make_people(store: Any) -> Any:
    """Interactions of ada and bob, two hot and two cold each; the ids of each."""
    ids = {
        user: store.fill(HOT, HOT, COLD, COLD + timedelta(seconds=1), user_id=user)
        for user in ("ada", "bob")
    }
    store.run("archive_interactions", now=NOW)
    return ids


def erase(store: Any, *arguments: Any, status: int = 0, user_id: str = "ada") -> Any:
    """Run the command; its summary. Without a user: --pending."""
    who = ["--pending"] if user_id is None else [user_id]
    return store.run("erase_user", *who, *arguments, now=NOW, status=status)


def refused(store: Any, *arguments: Any, user_id: str = "ada") -> Any:
    """Run it, to fail; what it says, the reason last."""
    who = ["--pending"] if user_id is None else [user_id]
    status, said, errors = store.told("erase_user", "--now", NOW.isoformat(), *who, *arguments)
    assert status == 1
    assert json.loads(said)["status"] == "failed"
    return errors


def left_of(store: Any, user_id: str | None) -> Any:
    """The ids of a user's interactions that are stored in any way."""
    hot = [each.interaction_id for each in store._hot() if each.user_id == user_id]
    rows = [row for segment in store.segments() for row in store.archive.rows(segment)]
    return hot + [row.interaction_id for row in rows if row.user_id == user_id]


def is_untouched(store: Any, ids: Any) -> bool:
    store.check_readable(ids)
    return True
