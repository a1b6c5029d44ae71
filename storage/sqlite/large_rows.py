"""Writes in SQLite that have to wait for an object with large texts: never in a transaction."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from storage.database import BeforeCommit, apply_changes
from storage.exceptions import StorageUnavailable
from storage.large.rows import LargeRows
from storage.large.stand_ins import Kept, in_object, is_unwritten, reference_of, standing_in
from storage.models import ChatInteraction
from storage.models.interaction import FIELDS
from storage.records.outcomes import Outcome
from storage.records.stubs import Stub
from storage.records.texts import OBJECT
from storage.sql.errors import translated
from storage.sqlite import creating, queries
from storage.sqlite.statements import Statements

ATTEMPTS = 20
"""How often a change is tried again because others have changed the row meanwhile."""


class HasLargeTexts(Exception):
    """The row has large texts, or would have them: not to be changed in this transaction."""


def update(statements: Statements, interaction: ChatInteraction) -> None:
    """Write what an update may change.

    A row of an earlier version has a large message itself, which gives way to its stand-in.
    """
    values = queries.to_parameters(interaction)
    has_stand_in = isinstance(interaction.message, bytes)
    names = queries.MOVED if has_stand_in else queries.UPDATED
    parameters = {name: values[name] for name in ("interaction_id", *names)}
    statements.rows(queries.update(statements.alias, names), parameters)


def update_whole(
    statements: Statements,
    large: LargeRows,
    read: Callable[[], ChatInteraction | None],
    changes: Mapping[str, Any],
    before_commit: BeforeCommit,
) -> ChatInteraction | None:
    """See `Database.update`: optimistic, for a row that has large texts or will have them.

    `read` returns the row as it is now, with stand-ins, or None.
    """
    for _ in range(ATTEMPTS):
        seen = read()
        whole = None if seen is None else large.whole(_copy(seen), lambda _: read())
        if seen is None or whole is None:
            return None
        apply_changes(whole, changes)
        packed = large.packed(whole, seen)
        replaced = [seen] if reference_of(seen) != reference_of(packed) else []

        def commit(seen: ChatInteraction, packed: ChatInteraction, whole: ChatInteraction) -> bool:
            now = read()
            if now is None or not _is(now, seen):
                return False
            before_commit(whole)
            update(statements, packed)
            return True

        work = functools.partial(commit, seen, packed, whole)
        with large.committing(*[packed] if replaced else []), translated:
            is_done = statements.transaction(work, seen.interaction_id)
        if is_done:
            large.discard(replaced)
            return whole
        large.discard([packed] if replaced else [])
    raise StorageUnavailable("The interaction is being changed by others; try again.")


def create_many(
    statements: Statements, large: LargeRows, interactions: Sequence[ChatInteraction]
) -> list[Outcome | Stub]:
    """See `Database.create_many`. Writes objects only for what does not exist yet."""
    packed = [_unwritten(interaction) for interaction in interactions]
    written: list[ChatInteraction] = []
    gone: list[Kept] = []

    def insert() -> list[Outcome | Stub] | set[str]:
        rows = [queries.to_parameters(interaction) for interaction in packed]
        try:
            return creating.insert_missing(statements, rows, gone)
        except creating.Unwritten as unwritten:
            return unwritten.interaction_ids

    while True:
        with large.committing(*written), translated:
            outcomes = statements.transaction(insert)
        if isinstance(outcomes, list):
            break
        missing: list[int] = []
        for number, interaction in enumerate(packed):
            is_missing = interaction.interaction_id in outcomes
            if is_missing and is_unwritten(reference_of(interaction)):
                outcomes.remove(interaction.interaction_id)  # the first of two with an id counts
                missing.append(number)
        with large.committing(*written):
            new = large.packed_all([interactions[number] for number in missing])
        for number, row in zip(missing, new, strict=True):
            packed[number] = row
        written += new
    large.remove(gone)
    large.discard(
        row
        for row, outcome in zip(packed, outcomes, strict=True)
        if outcome is not Outcome.CREATED and not is_unwritten(reference_of(row))
    )
    return outcomes


def kept(statements: Statements, interaction_id: str) -> Kept | None:
    """The object of a row, if its texts are in one."""
    parameters = {"ids": json.dumps([interaction_id])}
    found = statements.rows(queries.select_objects(statements.alias), parameters)
    if not found:
        return None
    user_id, _, reference = found[0]
    return user_id, interaction_id, reference


def _unwritten(interaction: ChatInteraction) -> ChatInteraction:
    """The interaction as its row would be, with an empty reference to what is not written yet."""
    large = in_object(interaction.message, interaction.response)
    if large is None:
        return interaction
    message, response = map(bool, large)
    return standing_in(interaction, message=message, response=response, reference="")


def _copy(interaction: ChatInteraction) -> ChatInteraction:
    return ChatInteraction.from_stored({**interaction.__dict__})


def _is(now: ChatInteraction, seen: ChatInteraction) -> bool:
    """Whether the row has not changed."""
    return all(now.__dict__.get(name) == seen.__dict__.get(name) for name in (*FIELDS, OBJECT))
