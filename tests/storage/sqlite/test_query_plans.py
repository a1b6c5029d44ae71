"""Every statement of LocalStorage uses the index that is meant for it, and reads no more."""

import itertools
import sqlite3
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import connection

from storage.models import (
    ArchivedInteraction,
    ChatInteraction,
    TextChange,
    UsageOfModel,
    UsageOfUser,
)
from storage.records.pages import Slice
from storage.records.questions import Question
from storage.sqlite import queries, searches
from tests.sqlite import connect

BY_ID = "sqlite_autoindex_storage_chatinteraction_1"
BY_USER = "interaction_of_user"
NEWEST = "interaction_newest"
ANSWER = "interaction_answer"
STUB = "sqlite_autoindex_storage_archivedinteraction_1"
FLAGS = [
    dict(zip(("of_user", "before", "until"), flags, strict=True))
    for flags in itertools.product((False, True), repeat=3)
]
START = datetime(2026, 1, 1, tzinfo=UTC)


def flag_names(flags):
    return "+".join(name for name, given in flags.items() if given) or "everyone"


def select_examined(flags):
    """The statement of a search with all filters."""
    bounds = tuple(flags.values())
    return searches.select_examined("default", bounds, False, True, True, True, True)


def statements():
    """Every statement in `storage.sqlite.queries`, with the index it is to use, if any."""
    yield "select_by_id", queries.select_by_id("default"), BY_ID
    for flags in FLAGS:
        index = BY_USER if flags["of_user"] else NEWEST
        yield f"newest {flag_names(flags)}", queries.select_newest("default", **flags), index
        yield f"search {flag_names(flags)}", select_examined(flags), index
    for of_model in (False, True):
        sql = queries.select_answer("default", of_model=of_model)
        yield f"answer of_model={of_model}", sql, ANSWER
        sql = queries.select_answer("default", of_model=of_model, in_object=True)
        yield f"answer in_object of_model={of_model}", sql, ANSWER
    yield "insert", queries.insert("default"), None
    yield "upsert", queries.upsert("default"), None
    yield "update", queries.update("default"), BY_ID
    for of_user in (False, True):
        yield f"delete of_user={of_user}", queries.delete("default", of_user=of_user), BY_ID
    yield "delete_expired", queries.delete_expired("default"), BY_ID
    for after in (False, True):
        yield f"oldest after={after}", queries.select_oldest("default", after=after), NEWEST
    yield "delete_unchanged", queries.delete_unchanged("default"), BY_ID
    yield "select_stub", queries.select_stub("default"), STUB


PARAMETERS = queries.slice_parameters(Slice("user-1", 50, START, (START, "i"), START)) | {
    **{field.name: 1 for field in queries.COLUMNS},
    "limit": 51,
    "tokens_min": 1,
    "tokens_max": 1,
    "cutoff": queries.to_text(START),
    "until": queries.to_text(START),
    "latest": queries.to_text(START),
    "after_time": queries.to_text(START),
    "after_id": "i",
    "ids": '["i"]',
}


@pytest.fixture
def schema(db):
    """The statements that make the tables of interactions and stubs, as migrated.

    And those of the tables to which their triggers write.
    """
    models = ChatInteraction, ArchivedInteraction, UsageOfModel, UsageOfUser, TextChange
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name IN (%s, %s, %s, %s, %s)"
            # Triggers name several tables.
            " AND sql IS NOT NULL ORDER BY type = 'table' DESC, type",
            [model._meta.db_table for model in models],
        )
        return [sql for (sql,) in cursor.fetchall()]


@pytest.fixture(scope="module")
def originals():
    """Databases by what is in them: to fill one takes half a second, to copy it no time."""
    made = {}
    yield made
    for database in made.values():
        database.close()


@pytest.fixture
def make_database(schema, originals):
    """Makes a database in memory with that schema and rows, a copy of those made before."""
    opened = []

    def make(make_rows, count):
        if (make_rows, count) not in originals:
            original = connect(":memory:")
            for sql in schema:
                original.execute(sql)
            rows = (queries.to_parameters(make_rows(n)) for n in range(count))
            original.executemany(queries.insert("default"), rows)
            original.commit()
            originals[make_rows, count] = original
        database = connect(":memory:")
        opened.append(database)
        originals[make_rows, count].backup(database)
        return database

    yield make
    for database in opened:
        database.close()


def of_ten_users(n):
    return ChatInteraction(
        interaction_id=f"{n:06}",
        user_id=f"user-{n % 10}",
        message="m" * 500,
        model_used="x",
        # Two at a time, so that ties occur; the newest have the highest ids.
        created_at=START + timedelta(minutes=n // 2),
    )


def of_one_question(n):
    return ChatInteraction(
        interaction_id=f"{n:06}",
        user_id="ada",
        message="hello",
        response="r" if n % 2 or not n else "",
        model_used="common" if n else "rare",
        created_at=START + timedelta(minutes=n),
    )


@pytest.fixture
def make_filled(make_database):
    """Makes a database with as many rows of ten users."""
    return partial(make_database, of_ten_users)


def plan(database, sql):
    rows = database.execute(f"EXPLAIN QUERY PLAN {sql}", PARAMETERS).fetchall()
    return [detail for *_, detail in rows]


def test_a_users_rows_are_deleted_by_their_ids(make_filled):
    """Not by the index of the user, which would read all of them for each batch."""
    first, *others = plan(make_filled(0), queries.delete_of_user("default"))
    assert f"USING INDEX {BY_ID} (interaction_id=?)" in first
    assert others == ["LIST SUBQUERY 1", "SCAN json_each VIRTUAL TABLE INDEX 1:"]


@pytest.mark.parametrize(
    ("sql", "index"),
    [pytest.param(sql, index, id=name) for name, sql, index in statements()],
)
def test_each_statement_uses_its_index(make_filled, sql, index):
    steps = plan(make_filled(0), sql)
    assert len(steps) == (index is not None)
    for step in steps:
        assert f"USING INDEX {index}" in step
        assert "TEMP B-TREE" not in step


@pytest.mark.parametrize("flags", FLAGS, ids=flag_names)
def test_the_index_is_entered_where_the_page_begins(make_filled, flags):
    (step,) = plan(make_filled(0), queries.select_newest("default", **flags))
    # The index is searched: a SCAN would begin at its end.
    assert step.startswith("SEARCH storage_chatinteraction USING INDEX")
    if flags["of_user"]:
        assert "(user_id=?" in step
    if flags["before"]:
        assert "(created_at,interaction_id)<(?,?)" in step
    elif flags["until"]:
        assert "created_at<?" in step
    assert "created_at>?" in step


def test_a_plan_without_its_index_would_be_seen(make_filled):
    # The control: what the plans look like when an index is missing.
    database = make_filled(0)
    database.execute(f"DROP INDEX {BY_USER}")
    sql = queries.select_newest("default", of_user=True, before=False, until=False)
    assert not any(f"USING INDEX {BY_USER}" in step for step in plan(database, sql))
    database.execute(f"DROP INDEX {NEWEST}")
    steps = plan(database, sql)
    assert any(step.startswith("SCAN") for step in steps)
    assert any("TEMP B-TREE" in step for step in steps)


@pytest.mark.parametrize("flags", FLAGS, ids=flag_names)
def test_the_order_does_not_rest_on_the_index_that_happens_to_be_used(make_filled, flags):
    sql, parameters = queries.select_newest("default", **flags), middle_page(flags, 2_000)
    database = make_filled(2_000)
    with_index = database.execute(sql, parameters).fetchall()
    database.execute(f"DROP INDEX {BY_USER}")
    database.execute(f"DROP INDEX {NEWEST}")
    assert len(with_index) == 51
    assert database.execute(sql, parameters).fetchall() == with_index


def work(database, sql, parameters):
    """The rows, and the steps of SQLite's virtual machine that they have taken."""
    steps = 0

    def count():
        nonlocal steps
        steps += 1

    database.set_progress_handler(count, 1)
    rows = database.execute(sql, parameters).fetchall()
    database.set_progress_handler(None, 1)
    return rows, steps


def middle_page(flags, count):
    """A page in the middle of all rows, within a period that reaches far beyond it."""
    first, middle, last = (START + timedelta(minutes=n) for n in (0, count // 4, count))
    return queries.slice_parameters(
        Slice(
            user_id="user-1" if flags["of_user"] else None,
            limit=50,
            before=(middle, f"{count // 2:06}") if flags["before"] else None,
            created_after=first,
            # With a cursor the period ends far behind it: to begin there would cost.
            created_before=(last if flags["before"] else middle) if flags["until"] else None,
        )
    ) | {"limit": 51}


@pytest.mark.parametrize("flags", FLAGS, ids=flag_names)
def test_a_page_costs_the_same_however_many_rows_there_are(make_filled, flags):
    sql = queries.select_newest("default", **flags)
    costs = []
    for count in (2_000, 8_000):
        rows, steps = work(make_filled(count), sql, middle_page(flags, count))
        assert len(rows) == 51  # the page of 50, and one row that tells that there is more
        costs.append(steps)
    assert abs(costs[0] - costs[1]) <= 5


@pytest.mark.parametrize("flags", FLAGS, ids=flag_names)
def test_a_step_of_a_search_costs_the_same_however_many_rows_there_are(make_filled, flags):
    costs = []
    for count in (2_000, 8_000):
        filters = {"model_used": "none", "tokens_min": 0, "tokens_max": 9}
        parameters = middle_page(flags, count) | filters
        rows, steps = work(make_filled(count), select_examined(flags), parameters)
        assert [(passes, *texts) for _, _, passes, *texts in rows] == [
            (0, None, None, None, None)
        ] * 51
        costs.append(steps)
    assert abs(costs[0] - costs[1]) <= 5


def test_a_page_that_scans_would_be_seen(make_filled):
    # The control: the same measure of a page that no index can answer.
    costs = []
    for count in (2_000, 8_000):
        database = make_filled(count)
        database.execute(f"DROP INDEX {BY_USER}")
        database.execute(f"DROP INDEX {NEWEST}")
        flags = dict.fromkeys(FLAGS[0], False) | {"of_user": True}
        sql = queries.select_newest("default", **flags)
        costs.append(work(database, sql, middle_page(flags, count))[1])
    assert costs[1] > 3 * costs[0]


@pytest.mark.parametrize(
    ("sql", "cutoff"),
    [
        (queries.select_by_id("default"), ""),
        (queries.delete("default", of_user=False), ""),
        (queries.delete("default", of_user=True), ""),
        (queries.delete_expired("default"), "9999-12-31 00:00:00"),
    ],
    ids=["read", "delete", "delete of a user's own", "delete of one that has expired"],
)
def test_one_row_costs_the_same_however_many_there_are(make_filled, sql, cutoff):
    costs = []
    for count in (2_000, 8_000):
        parameters = {"interaction_id": "001001", "user_id": "user-1", "cutoff": cutoff}
        rows, steps = work(make_filled(count), sql, parameters)
        assert len(rows) == 1
        costs.append(steps)
    assert abs(costs[0] - costs[1]) <= 5


@pytest.mark.parametrize(
    ("of_model", "model", "expected"),
    [(True, "common", None), (True, "rare", 0), (False, "s", 0), (False, "rare", None)],
)
def test_an_answer_costs_the_same_however_often_it_was_asked(
    make_database, of_model, model, expected
):
    """Asked again and again of one model; of another only once, long ago."""
    costs = []
    for count in (2_000, 8_000):
        database = make_database(of_one_question, count)
        asked = queries.question_parameters(Question("ada", "hello"), "hello") | {
            "model_used": model
        }
        sql = queries.select_answer("default", of_model=of_model)
        ((interaction_id, *_),), steps = work(database, sql, asked)
        assert interaction_id == f"{count - 1 if expected is None else expected:06}"
        costs.append(steps)
    assert abs(costs[0] - costs[1]) <= 5


@pytest.mark.parametrize(
    "message", ["", "é", "sixteen letters.", "m" * 40, "a\0b", "\U0001f600" * 20]
)
def test_the_message_is_found_by_all_of_it(make_filled, message):
    """The index has its length and both ends; messages that agree in these differ in the middle."""
    database = make_filled(0)
    others = [f"{message}x", f"x{message}", message[:20] + "x" + message[21:], message[:-1]]
    database.executemany(
        queries.insert("default"),
        (
            queries.to_parameters(
                ChatInteraction(
                    interaction_id=f"{n}",
                    user_id="ada",
                    message=text,
                    response="r",
                    model_used="x",
                    created_at=START + timedelta(minutes=n),
                )
            )
            for n, text in enumerate([message, *(text for text in others if text != message)])
        ),
    )
    sql = queries.select_answer("default", of_model=True)
    asked = queries.question_parameters(Question("ada", message), message) | {"model_used": "x"}
    ((found, *_),) = database.execute(sql, asked).fetchall()
    assert found == "0"


def test_other_programs_can_write_to_the_tables(schema, tmp_path):
    """No index, trigger or check needs a function that only Django gives to its connections."""
    path = tmp_path / "plain.sqlite3"
    database = sqlite3.connect(path)
    for sql in schema:
        database.execute(sql)
    row = queries.to_parameters(ChatInteraction(user_id="ada", message="m", response="r"))
    database.execute(queries.insert("default"), row)
    database.commit()
    for sql in ("VACUUM", "REINDEX", f"VACUUM INTO '{tmp_path / 'copy.sqlite3'}'"):
        database.execute(sql)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    assert {BY_USER, NEWEST, ANSWER} <= names
    database.execute("DELETE FROM storage_chatinteraction")
    database.close()
