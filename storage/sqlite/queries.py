"""The SQL statements: written as ORM queries, compiled once, run many times.

Compiling an ORM query takes ten times as long as SQLite needs for a read by id, and the SQL is the
same every time. So each query is compiled once, with named parameters (`:user_id`) in place of
values. The ORM remains the only source of names and of the schema.
"""

import functools
from datetime import UTC, datetime
from typing import Any

from django.db import connections, models
from django.db.models import Case, F, Func, Q, When
from django.db.models.constants import OnConflict
from django.db.models.functions import Cast, JSONObject
from django.db.models.sql import DeleteQuery, InsertQuery, UpdateQuery

from storage import expiry
from storage.large.stand_ins import decode, encoded
from storage.models import ArchivedInteraction, ChatInteraction
from storage.models.interaction import COMPLETED_FIELDS, HAS_RESPONSE, message_parts
from storage.models.interaction import FIELDS as RECORD_FIELDS
from storage.records.json import Record, Stored
from storage.records.pages import Slice
from storage.records.questions import Question
from storage.records.stubs import Stub
from storage.records.texts import OBJECT

COLUMNS = ChatInteraction._meta.concrete_fields
"""All columns: the fields of a record, and the reference to an object with large texts."""

FIELDS = [field for field in COLUMNS if field.name in RECORD_FIELDS]


class Parameter(models.Expression):
    """A named parameter: `:name` in the SQL, in place of a value."""

    def __init__(self, name: str, field: Any) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        """Returns the SQL of the parameter. Its value is given when the statement runs."""
        return f":{self.name}", ()


class Before(Func):
    """`(created_at, interaction_id) < (:before_time, :before_id)`, which an index can answer."""

    template = "(%(expressions)s)"
    output_field = models.BooleanField()

    def as_sql(  # type: ignore[override]  # takes no options
        self, compiler: Any, connection: Any, **extra: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        """Compare the first two expressions, as a row value, with the other two."""
        time, identifier, before_time, before_id = (
            compiler.compile(expression)[0] for expression in self.get_source_expressions()
        )
        return f"(({time}, {identifier}) < ({before_time}, {before_id}))", ()


class Unreplaced(Func):
    """`+column`, for a comparison with a value.

    SQLite 3.40 puts the value in the place of the column in the other conditions, too. Then it does
    not find an index on an expression of the column.
    """

    template = "+%(expressions)s"
    arity = 1
    output_field = models.TextField()


class RecordTime(Func):
    """A time as records have it; see `_to_record_time`."""

    template = (
        "replace(%(expressions)s, ' ', 'T')"
        " || CASE length(%(expressions)s) WHEN 19 THEN '.000000Z' ELSE 'Z' END"
    )
    arity = 1
    output_field = models.TextField()


_RECORD = JSONObject(
    **{
        field.name: RecordTime(field.name) if field.name.endswith("_at") else F(field.name)
        for field in FIELDS
    }
)
"""The record of a row, with its fields in the order of the data model."""

_JSON = Case(
    When(**{OBJECT: None}, then=Cast(_RECORD, models.BinaryField())),
    output_field=models.BinaryField(),
)
"""The same as JSON; NULL if the row has stand-ins for its texts."""


def parameter(name: str, field_name: str | None = None) -> Parameter:
    """Returns a parameter with the type of a field, by default the field of the same name."""
    return Parameter(name, ChatInteraction._meta.get_field(field_name or name))


@functools.cache
def select_by_id(alias: str) -> str:
    """Parameters: interaction_id. Columns: COLUMNS."""
    found = ChatInteraction.objects.filter(interaction_id=parameter("interaction_id"))
    return sql_of(found.order_by(), alias)


@functools.cache
def select_json_by_id(alias: str) -> str:
    """Parameters: interaction_id. Columns: interaction_id, user_id, created_at, record as JSON.

    For the reason of `select_newest_json`.
    """
    found = ChatInteraction.objects.filter(interaction_id=parameter("interaction_id"))
    outline = "interaction_id", "user_id", "created_at"
    return sql_of(found.annotate(json=_JSON).values_list(*outline, "json").order_by(), alias)


@functools.cache
def select_newest(alias: str, *, of_user: bool, before: bool, until: bool) -> str:
    """Newest rows first. Parameters: those of `slice_parameters`, limit. Columns: COLUMNS."""
    return sql_of(newest_rows(of_user, before, until), alias) + " LIMIT :limit"


@functools.cache
def select_newest_json(alias: str, *, of_user: bool, before: bool, until: bool) -> str:
    """As `select_newest`. Column: the record as JSON.

    It is bytes, so that no text is decoded only to be encoded again. For ASCII that takes next to
    no time, but for texts with emoji a third of a page.
    """
    found = newest_rows(of_user, before, until).annotate(json=_JSON)
    return sql_of(found.values_list("json"), alias) + " LIMIT :limit"


def newest_rows(of_user: bool, before: bool, until: bool) -> "models.QuerySet[ChatInteraction]":
    """The rows of a slice, newest first. Parameters: those of `slice_parameters`."""
    found = ChatInteraction.objects.filter(created_at__gte=parameter("created_after", "created_at"))
    if of_user:
        found = found.filter(user_id=parameter("user_id"))
    if before:
        found = found.filter(
            Before(
                F("created_at"),
                F("interaction_id"),
                parameter("before_time", "created_at"),
                parameter("before_id", "interaction_id"),
            )
        )
    if until:
        found = found.filter(created_at__lt=parameter("created_before", "created_at"))
    return found.order_by("-created_at", "-interaction_id")


@functools.cache
def select_answer(alias: str, *, of_model: bool, in_object: bool = False) -> str:
    """The newest answer to a message: by a given model or, without `of_model`,
    by the model whose name comes before a given one.

    With `in_object`, the message is what stands in for one in an object; without, it is a text that
    may look like that (see Note [Stand-ins]).

    What is dated in the future is no answer: it would be the newest until that time comes.
    The index has only parts of a message, so the message itself is compared as well.
    Parameters: those of `question_parameters`, and model_used.
    """
    length, start, end = message_parts("message")
    asked_length, asked_start, asked_end = message_parts(parameter("message"))
    compared = ChatInteraction.objects.alias(
        length=length, start=start, end=end, whole_message=Unreplaced("message")
    )
    found = compared.filter(
        HAS_RESPONSE,
        user_id=parameter("user_id"),
        whole_message=parameter("message"),
        length=asked_length,
        start=asked_start,
        end=asked_end,
        created_at__lte=parameter("latest", "created_at"),
        **{"model_used" if of_model else "model_used__lt": parameter("model_used")},
    )
    has_stand_in = models.Q(**{f"{OBJECT}__contains": "message"})
    found = found.filter(has_stand_in if in_object else ~has_stand_in)
    newest_first = ("-created_at", "-interaction_id")
    order = newest_first if of_model else ("-model_used", *newest_first)
    return sql_of(found.order_by(*order), alias) + " LIMIT 1"


@functools.cache
def insert(alias: str) -> str:
    """Insert a row. Raises IntegrityError if the id exists. Parameters: COLUMNS."""
    return insert_sql(InsertQuery(ChatInteraction), alias)


@functools.cache
def insert_many(alias: str, rows: int) -> str:
    """As `insert`, for so many rows. Parameters: the COLUMNS of each, one row after another."""
    beginning, values, _ = insert(alias).partition(" VALUES ")
    row = f"({', '.join('?' * len(COLUMNS))})"
    return beginning + values + ", ".join([row] * rows)


@functools.cache
def upsert(alias: str, *, over_object: bool = False) -> str:
    """Insert a row, or replace the one with its id. Column: created_at.

    Returns no row, and changes none, if the id is another user's, if its row has expired or,
    without `over_object`, if its texts are in an object, which the caller has to know of.
    Parameters: COLUMNS, cutoff.
    """
    key = ChatInteraction._meta.pk
    changed = [field for field in COLUMNS if field.name not in (key.name, "created_at")]
    query = InsertQuery(
        ChatInteraction,
        on_conflict=OnConflict.UPDATE,
        update_fields=changed,
        unique_fields=[key],
    )
    quote = connections[alias].ops.quote_name
    table, user, created = map(quote, (ChatInteraction._meta.db_table, "user_id", "created_at"))
    only = "" if over_object else f" AND {table}.{quote(OBJECT)} IS NULL"
    return (
        insert_sql(query, alias)
        + f" WHERE {table}.{user} = EXCLUDED.{user} AND {table}.{created} > :cutoff{only}"
        f" RETURNING {table}.{created}"
    )


UPDATED = (*COMPLETED_FIELDS, "updated_at", OBJECT)
"""What an update sets. A message never changes, but it may move to an object (`MOVED`)."""

MOVED = ("message", *UPDATED)


@functools.cache
def update(alias: str, names: tuple[str, ...] = UPDATED) -> str:
    """Update a row. Parameters: interaction_id, and `names`."""
    query = UpdateQuery(ChatInteraction)
    query.add_update_values({name: parameter(name) for name in names})
    query.add_q(Q(interaction_id=parameter("interaction_id")))
    return query.get_compiler(alias).as_sql()[0]


@functools.cache
def delete(alias: str, *, of_user: bool) -> str:
    """Delete a row, unless it has expired. Columns: those of `Kept`.

    Parameters: interaction_id, cutoff and, with `of_user`, user_id.
    """
    query = DeleteQuery(ChatInteraction)
    query.add_q(Q(interaction_id=parameter("interaction_id")))
    query.add_q(Q(created_at__gt=parameter("cutoff", "created_at")))
    if of_user:
        query.add_q(Q(user_id=parameter("user_id")))
    return query.get_compiler(alias).as_sql()[0] + _returning_kept(alias)


@functools.cache
def delete_of_user(alias: str) -> str:
    """Delete the rows with these ids that are a user's. Columns: those of `Kept`.

    Parameters: ids (in JSON), user_id.

    The + keeps SQLite from reading all rows of the user by an index, for each batch of ids.
    """
    quote = connections[alias].ops.quote_name
    table, key, user = map(quote, (ChatInteraction._meta.db_table, "interaction_id", "user_id"))
    ids = "(SELECT value FROM json_each(:ids))"
    deletion = f"DELETE FROM {table} WHERE {key} IN {ids} AND +{user} = :user_id"  # noqa: S608  (names)
    return deletion + _returning_kept(alias)


def _returning_kept(alias: str) -> str:
    quote = connections[alias].ops.quote_name
    return f" RETURNING {', '.join(map(quote, ('user_id', 'interaction_id', OBJECT)))}"


@functools.cache
def select_objects(alias: str) -> str:
    """`Kept` of rows whose texts are in objects. Parameters: ids (in JSON)."""
    quote = connections[alias].ops.quote_name
    columns = ", ".join(map(quote, ("user_id", "interaction_id", OBJECT)))
    table, key = map(quote, (ChatInteraction._meta.db_table, "interaction_id"))
    return (
        f"SELECT {columns} FROM {table} WHERE {key} IN (SELECT value FROM json_each(:ids))"  # noqa: S608  (names)
        f" AND {quote(OBJECT)} IS NOT NULL"
    )


@functools.cache
def delete_expired(alias: str) -> str:
    """Delete a row if it has expired. Columns: those of `Kept`.

    Parameters: interaction_id, cutoff.
    """
    query = DeleteQuery(ChatInteraction)
    query.add_q(Q(interaction_id=parameter("interaction_id")))
    query.add_q(Q(created_at__lte=parameter("cutoff", "created_at")))
    return query.get_compiler(alias).as_sql()[0] + _returning_kept(alias)


@functools.cache
def select_oldest(alias: str, *, after: bool) -> str:
    """Oldest rows first. Parameters: until, limit and, with `after`, after_time and after_id."""
    found = ChatInteraction.objects.filter(created_at__lte=parameter("until", "created_at"))
    if after:
        found = found.filter(
            Before(
                parameter("after_time", "created_at"),
                parameter("after_id", "interaction_id"),
                F("created_at"),
                F("interaction_id"),
            )
        )
    return sql_of(found.order_by("created_at", "interaction_id"), alias) + " LIMIT :limit"


@functools.cache
def select_next(alias: str) -> str:
    """The user's next row. Parameters: user_id, cutoff, after_time, after_id. Columns: COLUMNS."""
    found = ChatInteraction.objects.filter(
        Before(
            parameter("after_time", "created_at"),
            parameter("after_id", "interaction_id"),
            F("created_at"),
            F("interaction_id"),
        ),
        user_id=parameter("user_id"),
        created_at__gt=parameter("cutoff", "created_at"),
    )
    return sql_of(found.order_by("created_at", "interaction_id"), alias) + " LIMIT 1"


@functools.cache
def delete_unchanged(alias: str) -> str:
    """Delete the row whose FIELDS all equal the parameters. Parameters: FIELDS."""
    query = DeleteQuery(ChatInteraction)
    for field in FIELDS:
        query.add_q(Q(**{field.name: parameter(field.name)}))
    return query.get_compiler(alias).as_sql()[0]


@functools.cache
def select_by_ids(alias: str) -> str:
    """Rows in any order. Parameters: ids (in JSON). Columns: COLUMNS."""
    return sql_of(ChatInteraction.objects.order_by(), alias) + _of_ids(ChatInteraction, alias)


@functools.cache
def select_stubs(alias: str) -> str:
    """Stubs in any order. Parameters: ids (in JSON). Columns: those of ArchivedInteraction."""
    return sql_of(ArchivedInteraction.objects.order_by(), alias) + _of_ids(
        ArchivedInteraction, alias
    )


def _of_ids(model: type[models.Model], alias: str) -> str:
    quote = connections[alias].ops.quote_name
    key = f"{quote(model._meta.db_table)}.{quote('interaction_id')}"
    return f" WHERE {key} IN (SELECT value FROM json_each(:ids))"  # noqa: S608  (names)


@functools.cache
def insert_stub(alias: str) -> str:
    """Insert a stub. Parameters: interaction_id, created_at, segment, model_used."""
    return insert_sql(InsertQuery(ArchivedInteraction), alias)


@functools.cache
def select_stub(alias: str) -> str:
    """Parameters: interaction_id. Columns: those of ArchivedInteraction."""
    found = ArchivedInteraction.objects.filter(interaction_id=parameter("interaction_id"))
    return sql_of(found.order_by(), alias)


def slice_parameters(wanted: Slice) -> dict[str, Any]:
    """Returns the parameters of `select_newest`, except `limit`."""
    before_time, before_id = wanted.before or (None, None)
    return {
        "user_id": wanted.user_id,
        "before_time": before_time and to_text(before_time),
        "before_id": before_id,
        "created_after": to_text(wanted.created_after),
        "created_before": wanted.created_before and to_text(wanted.created_before),
    }


def question_parameters(question: Question, message: str) -> dict[str, Any]:
    """Returns the parameters of `select_answer`, except `model_used`.

    `message` is that of the question, or what stands in for it, encoded.
    """
    return {
        "user_id": question.user_id,
        "message": message,
        "latest": to_text(expiry.latest()),
    }


def to_parameters(interaction: ChatInteraction) -> dict[str, Any]:
    """Returns the values of all COLUMNS as SQLite keeps them."""
    created_at, updated_at = interaction.created_at, interaction.updated_at
    created = to_text(created_at)
    row: dict[str, Any] = {
        "interaction_id": interaction.interaction_id,
        "user_id": interaction.user_id,
        "message": interaction.message,
        "response": interaction.response,
        "model_used": interaction.model_used,
        "input_tokens": interaction.input_tokens,
        "output_tokens": interaction.output_tokens,
        "created_at": created,
        "updated_at": created if updated_at is created_at else to_text(updated_at),
        OBJECT: interaction.__dict__.get(OBJECT),
    }
    if row[OBJECT] is not None:
        row |= {name: encoded(row[name]) for name in ("message", "response")}
    return row


def to_interaction(row: tuple[Any, ...]) -> ChatInteraction:
    """Returns the interaction in a row with the columns COLUMNS. It may have stand-ins."""
    identifier, user, message, response, model, inputs, outputs, created, updated, kept = row
    created_at = to_time(created)
    values = {
        "interaction_id": identifier,
        "user_id": user,
        "message": message,
        "response": response,
        "model_used": model,
        "input_tokens": inputs,
        "output_tokens": outputs,
        "created_at": created_at,
        "updated_at": created_at if updated == created else to_time(updated),
    }
    if kept is not None:
        values[OBJECT] = kept
        decode(values)
    return ChatInteraction.from_stored(values)


def to_stored(row: tuple[Any, ...]) -> Stored | None:
    """Returns what is in a row of `select_json_by_id`; None if that has stand-ins."""
    interaction_id, user_id, created_at, json = row
    if json is None:
        return None
    return Stored(interaction_id, user_id, to_time(created_at), json=json)


NAMES = [field.name for field in COLUMNS]
MESSAGE, RESPONSE = NAMES.index("message"), NAMES.index("response")


def to_record(row: tuple[Any, ...]) -> Record:
    """Returns the record in a row with the columns COLUMNS. It may have stand-ins."""
    identifier, user, message, response, model, inputs, outputs, created, updated, kept = row
    record = {
        "interaction_id": identifier,
        "user_id": user,
        "message": message,
        "response": response,
        "model_used": model,
        "input_tokens": inputs,
        "output_tokens": outputs,
        "created_at": _to_record_time(created),
        "updated_at": _to_record_time(updated),
    }
    if kept is not None:
        record[OBJECT] = kept
        decode(record)
    return record


def to_time(text: str) -> datetime:
    """Returns the time that `to_text` has written."""
    return datetime.fromisoformat(text + "+00:00")


def to_text(value: datetime) -> str:
    """Returns a time as Django keeps it in SQLite: UTC, without offset. Texts sort as times do."""
    return str(value if value.tzinfo is UTC else value.astimezone(UTC))[: -len("+00:00")]


def _to_record_time(text: str) -> str:
    # `to_text` omits microseconds that are zero.
    return f"{text[:10]}T{text[11:]}{'Z' if '.' in text else '.000000Z'}"


def to_stub(row: tuple[Any, ...]) -> Stub:
    """Returns the stub in a row of `select_stub`."""
    interaction_id, created_at, segment, _ = row
    return Stub(interaction_id, to_time(created_at), segment)


def sql_of(queryset: "models.QuerySet[Any]", alias: str) -> str:
    """The SQL, with constants as literals: SQLite matches an index on an expression by its text."""
    connection: Any = connections[alias]
    sql, constants = queryset.query.get_compiler(alias).as_sql()
    connection.let_go()  # by which Django has asked the library what it can do
    quote = connection.schema_editor().quote_value
    return sql % tuple(map(quote, constants))


def insert_sql(query: InsertQuery, alias: str) -> str:
    """The SQL of an insertion, with the fields of its model as parameters."""
    model: Any = query.get_meta().model
    fields = model._meta.concrete_fields
    row = model(**{field.name: Parameter(field.name, field) for field in fields})
    query.insert_values(fields, [row])
    ((sql, _),) = query.get_compiler(alias).as_sql()
    return sql
