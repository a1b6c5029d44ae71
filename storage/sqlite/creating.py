"""Creating many interactions in one transaction, some of which exist already."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from storage import expiry
from storage.large.stand_ins import Kept, decode, is_unwritten, same_content
from storage.records.outcomes import Outcome
from storage.records.stubs import Stub
from storage.records.texts import OBJECT
from storage.sqlite import cold, queries
from storage.sqlite.statements import Statements

Row = Mapping[str, Any]

ROWS_AT_ONCE = 25
"""At the end of each statement, other threads may take over the interpreter, and the writer waits
until it has it again. A batch of 100 took a fifth less CPU time than row by row; longer statements
gained nothing more.
"""

_values = itemgetter(*queries.NAMES)


class Unwritten(Exception):
    """Rows are to be inserted whose objects are not written yet: those with `interaction_ids`."""

    def __init__(self, interaction_ids: set[str]) -> None:
        super().__init__()
        self.interaction_ids = interaction_ids


def insert(statements: Statements, rows: Sequence[Row]) -> list[Outcome | Stub]:
    """Insert all rows. Raises IntegrityError if an id is taken, by a stub too, or there twice."""
    _insert_all(statements, rows)
    return [Outcome.CREATED] * len(rows)


def insert_missing(
    statements: Statements, rows: Sequence[Row], gone: list[Kept]
) -> list[Outcome | Stub]:
    """Insert the rows whose ids are free, or whose holders have expired. Returns the outcomes.

    Sets `gone` to the objects of rows that gave way. Raises Unwritten, and inserts nothing, if the
    reference of one that is to be inserted is empty. Two reads find all holders: one by one, they
    took two thirds of importing a file again.
    """
    ids = json.dumps([row["interaction_id"] for row in rows])
    found: dict[str, Row | Stub] = {**_stubs(statements, ids), **_hot_rows(statements, ids)}
    cutoff = queries.to_text(expiry.cutoff())
    missing, expired = [], []
    outcomes: list[Outcome | Stub] = []
    for row in rows:
        interaction_id = row["interaction_id"]
        holder = found.get(interaction_id)
        if holder is None or _created_at(holder) <= cutoff:
            if holder is not None:
                expired.append(interaction_id)
            missing.append(row)
            found[interaction_id] = row
            outcomes.append(Outcome.CREATED)
        elif isinstance(holder, Stub):
            outcomes.append(holder)
        else:
            is_same = same_content(_decoded(holder), _decoded(row))
            outcomes.append(Outcome.UNCHANGED if is_same else Outcome.CONFLICT)
    if unwritten := {row["interaction_id"] for row in missing if is_unwritten(row[OBJECT])}:
        raise Unwritten(unwritten)
    gone[:] = delete_expired(statements, expired)
    _insert_all(statements, missing)
    return outcomes


def _insert_all(statements: Statements, rows: Sequence[Row]) -> None:
    """Insert rows, ROWS_AT_ONCE with each statement."""
    whole = len(rows) - len(rows) % ROWS_AT_ONCE
    if whole:
        values = list(map(_values, rows[:whole]))
        statements.many(
            queries.insert_many(statements.alias, ROWS_AT_ONCE),
            [[*chain(*values[at : at + ROWS_AT_ONCE])] for at in range(0, whole, ROWS_AT_ONCE)],
        )
    if whole < len(rows):
        statements.many(queries.insert(statements.alias), rows[whole:])


def delete_expired(statements: Statements, interaction_ids: Iterable[str]) -> list[Kept]:
    """Free ids whose rows, or stubs, have expired. Returns the objects of those rows."""
    cutoff = expiry.cutoff()
    sql = queries.delete_expired(statements.alias)
    deleted: list[tuple[Any, ...]] = []
    for interaction_id in interaction_ids:
        given = {"interaction_id": interaction_id, "cutoff": queries.to_text(cutoff)}
        deleted += statements.rows(sql, given)
        cold.free_expired(statements.alias, interaction_id, cutoff)
    return cold.kept_in(deleted)


def _hot_rows(statements: Statements, ids: str) -> dict[str, Row]:
    rows = statements.rows(queries.select_by_ids(statements.alias), {"ids": ids})
    return {row[0]: dict(zip(queries.NAMES, row, strict=True)) for row in rows}


def _stubs(statements: Statements, ids: str) -> dict[str, Stub]:
    rows = statements.rows(queries.select_stubs(statements.alias), {"ids": ids})
    return {row[0]: queries.to_stub(row) for row in rows}


def _decoded(row: Row) -> Row:
    if not row[OBJECT]:
        return row
    values = dict(row)
    decode(values)
    return values


def _created_at(holder: Row | Stub) -> str:
    if isinstance(holder, Stub):
        return queries.to_text(holder.created_at)
    created_at: str = holder["created_at"]
    return created_at
