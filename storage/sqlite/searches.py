"""Searches through the rows of SQLite: in one statement, which is left when enough was examined.

SQLite decides about each row, and Python about its words. Only the rows that pass are read whole.
"""

import functools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import (
    BooleanField,
    Case,
    ExpressionWrapper,
    F,
    Q,
    QuerySet,
    TextField,
    Value,
    When,
)

from storage.compat import batched
from storage.large.rows import LargeRows
from storage.large.stand_ins import decode
from storage.models.interaction import HAS_RESPONSE
from storage.records.cursors import Position
from storage.records.json import Record
from storage.records.pages import Slice, ends
from storage.records.searches import Filters
from storage.records.texts import OBJECT
from storage.sqlite import queries
from storage.sqlite.statements import Statements

EXAMINED_AT_MOST = 20_000
"""Rows of which one page looks at the fields: 0.06 s of CPU (`benchmarks/search.py`)."""

CLOCK_EVERY = 64
"""Rows between two looks at the clock."""

READ_AT_ONCE = 50
"""Rows in memory before their texts are counted: at most 20 MB."""


def search(
    statements: Statements,
    large: LargeRows,
    wanted: Slice,
    filters: Filters,
    at_most: int,
    deadline: float,
) -> tuple[list[Record], Position | None]:
    """See `Database.search`. The records may have stand-ins."""
    with statements.snapshot():
        ids, end = _passing(statements, large, wanted, filters, at_most, deadline)
        left = wanted.max_text
        found: list[Record] = []
        for record in _records(statements, ids):
            characters = wanted.characters_of(record)
            if found and ends(left, characters):
                return found, ids[len(found) - 1]
            found.append(record)
            left -= characters
        return found, end


def _passing(
    statements: Statements,
    large: LargeRows,
    wanted: Slice,
    filters: Filters,
    at_most: int,
    deadline: float,
) -> tuple[list[Position], Position | None]:
    """The positions of rows that pass, and how far they were examined; None if none is left."""
    sql = select_examined(
        statements.alias,
        (wanted.user_id is not None, wanted.before is not None, wanted.created_before is not None),
        filters.answered,
        filters.model_used is not None,
        filters.tokens_min is not None,
        filters.tokens_max is not None,
        bool(filters.phrases),
    )
    parameters = queries.slice_parameters(wanted) | {
        "model_used": filters.model_used,
        "tokens_min": filters.tokens_min,
        "tokens_max": filters.tokens_max,
        "limit": at_most + 1,  # one more shows whether there are more
    }
    found: list[Position] = []
    position: Position | None = None
    with statements.cursor(sql, parameters) as cursor:
        look_at_clock = False
        for number, (created_at, interaction_id, passes, *texts) in enumerate(cursor):
            if number == at_most or (
                number
                and (number % CLOCK_EVERY == 0 or look_at_clock)
                and time.monotonic() > deadline
            ):
                return found, position
            position = queries.to_time(created_at), interaction_id
            look_at_clock = bool(passes and texts and texts[2])
            if passes and (not texts or _pass(filters, large, interaction_id, *texts)):
                found.append(position)
                if len(found) == wanted.limit:
                    return found, position
    return found, None


def _pass(
    filters: Filters,
    large: LargeRows,
    interaction_id: str,
    message: str,
    response: str,
    reference: str | None,
    user_id: str,
) -> bool:
    """Whether the texts pass. Large ones are fetched if what is in the row does not decide it."""
    if reference is None:
        return filters.pass_texts(message, response)
    row = {"interaction_id": interaction_id, "user_id": user_id, OBJECT: reference}
    row |= {"message": message, "response": response}
    decode(row)
    if filters.pass_texts(row["message"], row["response"]):
        return True
    return not large.fill([row]) and filters.pass_texts(row["message"], row["response"])


def _records(statements: Statements, positions: Sequence[Position]) -> Iterator[Record]:
    """The records at positions that were read in the same snapshot."""
    sql = queries.select_by_ids(statements.alias)
    for batch in batched(positions, READ_AT_ONCE):
        ids = [interaction_id for _, interaction_id in batch]
        rows = statements.rows(sql, {"ids": json.dumps(ids)})
        records = {record["interaction_id"]: record for record in map(queries.to_record, rows)}
        yield from (records[interaction_id] for interaction_id in ids)


@functools.cache
def select_examined(
    alias: str,
    bounds: tuple[bool, bool, bool],
    answered: bool | None,
    model: bool,
    tokens_min: bool,
    tokens_max: bool,
    texts: bool,
) -> str:
    """All rows of a slice, newest first.

    Columns: created_at, interaction_id, whether the row passes and, with `texts`, if it does:
    message, response, the reference to their object, and user_id. Parameters: those of
    `slice_parameters`, limit, model_used, tokens_min and tokens_max.
    """
    rows: QuerySet[Any] = queries.newest_rows(*bounds)
    rows = rows.alias(tokens=F("input_tokens") + F("output_tokens"))
    conditions = _conditions(answered, model, tokens_min, tokens_max)
    passes = ExpressionWrapper(conditions, BooleanField()) if conditions else Value(1)
    rows = rows.annotate(passes=passes)
    columns = ["created_at", "interaction_id", "passes"]
    for name in ("message", "response", OBJECT, "user_id") if texts else ():
        text = (
            Case(When(conditions, then=F(name)), output_field=TextField())
            if conditions
            else F(name)
        )
        rows = rows.annotate(**{f"passing_{name}": text})
        columns.append(f"passing_{name}")
    return queries.sql_of(rows.values_list(*columns), alias) + " LIMIT :limit"


def _conditions(answered: bool | None, model: bool, tokens_min: bool, tokens_max: bool) -> Q:
    conditions = Q()
    if answered is not None:
        conditions &= HAS_RESPONSE if answered else ~HAS_RESPONSE
    if model:
        conditions &= Q(model_used=queries.parameter("model_used"))
    if tokens_min:
        conditions &= Q(tokens__gte=queries.parameter("tokens_min", "input_tokens"))
    if tokens_max:
        conditions &= Q(tokens__lte=queries.parameter("tokens_max", "input_tokens"))
    return conditions
