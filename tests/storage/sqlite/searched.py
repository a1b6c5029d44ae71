"""What a search index must find, by a look at everything."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from storage import expiry
from storage.database import Indexed
from storage.models import ChatInteraction
from storage.records import words

FAR = datetime(9000, 1, 1, tzinfo=UTC)


def find(storage: Any, text: str, user_id: str | None = None, limit: int = 10_000) -> Any:
    """The ids that the index names for a text, newest first; None if it is not used."""
    after = expiry.BEGINNING
    found = storage.database.find_text(words.phrases(text), user_id, after, None, limit)
    return None if found is None else [interaction_id for _, interaction_id in found]


def catch_up(storage: Any) -> Indexed:
    """Bring the index up to date; what it has then."""
    while (state := storage.database.index_texts(1.0)) is Indexed.BEHIND:
        pass
    return state


def to_archive(storage: Any, interactions: list[ChatInteraction]) -> None:
    """Archive these, each day in a segment of its own."""
    for day in sorted({row.created_at.date() for row in interactions}):
        rows = [row for row in interactions if row.created_at.date() == day]
        segment = storage.archive.new_segment(day)
        storage.archive.write(segment, rows)
        storage.move_to_cold(rows, segment)


def everything(storage: Any) -> dict[str, ChatInteraction]:
    """All interactions, hot and cold, by id."""
    found = {row.interaction_id: row for row in storage.oldest(FAR, 10_000)}
    for segment in storage.archive.all_segments():
        rows = list(storage.archive.rows(segment))
        stubs = storage.database.stubs([row.interaction_id for row in rows])
        found |= {row.interaction_id: row for row in rows if row.interaction_id in stubs}
    return found


def check(storage: Any) -> None:
    """Each word finds exactly what has it: nothing is missing, nothing is left."""
    rows = everything(storage)
    having: dict[str, set[str]] = {}
    for row in rows.values():
        for word in words.words(f"{row.message} {row.response}"):
            having.setdefault(word, set()).add(row.interaction_id)
    in_order = sorted(having)
    for number, word in enumerate(in_order):
        longer = takewhile(lambda other: other.startswith(word), in_order[number:])  # noqa: B023
        beginning = set().union(*map(having.__getitem__, longer))
        found = find(storage, word)
        assert found is not None, "the index is not complete"
        assert set(found) == beginning, word
    for user_id in {row.user_id for row in rows.values()}:
        of_user = {row.interaction_id for row in rows.values() if row.user_id == user_id}
        assert set(find(storage, "w", user_id)) == of_user


def moments(number: int, days: int = 16) -> dict[str, datetime]:
    """Times of an interaction: some parts have many, and some seconds have several."""
    day = datetime(2026, 9, 1, tzinfo=UTC) + timedelta(days=number % days)
    created_at = day + timedelta(seconds=number // 3)
    return {"created_at": created_at, "updated_at": created_at}
