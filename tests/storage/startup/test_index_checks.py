"""The check that compares the indexes of the database with those that the migrations make."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from storage.models import ChatInteraction
from storage.startup.index_checks import check_indexes

ANSWER = "interaction_answer"


def execute(*statements):
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


@pytest.mark.django_db
def test_what_the_migrations_have_made_is_right():
    assert check_indexes(databases=["default"]) == []


@pytest.mark.django_db
def test_a_missing_index_is_named_with_what_makes_it():
    execute(f"DROP INDEX {ANSWER}")
    (error,) = check_indexes(databases=["default"])
    assert error.id == "storage.E012"
    assert f"{ANSWER} is missing" in error.msg
    execute(error.msg.partition(f"{ANSWER} is missing (")[2].removesuffix(")."))
    assert check_indexes(databases=["default"]) == []


@pytest.mark.django_db
def test_an_index_of_that_name_with_other_columns_is_another():
    execute(
        f"DROP INDEX {ANSWER}",
        f"CREATE INDEX {ANSWER} ON {ChatInteraction._meta.db_table} (user_id)",
    )
    (error,) = check_indexes(databases=["default"])
    assert f"{ANSWER} is another" in error.msg


@pytest.mark.django_db
def test_quotes_space_and_case_make_no_difference():
    table = ChatInteraction._meta.db_table
    execute(
        "DROP INDEX interaction_newest",
        f"create index interaction_newest on {table}(created_at,  interaction_id)",
    )
    assert check_indexes(databases=["default"]) == []


@pytest.mark.django_db
def test_the_command_says_it():
    execute(f"DROP INDEX {ANSWER}")
    with pytest.raises(SystemCheckError, match=r"storage\.E012"):
        call_command("check", databases=["default"])


@pytest.mark.django_db
def test_a_database_that_is_not_migrated_is_not_complained_of():
    execute(f"DROP TABLE {ChatInteraction._meta.db_table}")
    assert check_indexes(databases=["default"]) == []


@pytest.mark.django_db
def test_without_being_asked_it_looks_at_no_database():
    execute(f"DROP INDEX {ANSWER}")
    assert check_indexes() == check_indexes(databases=["other"]) == []


def test_no_database_is_made(no_default_database):
    assert check_indexes(databases=["default"]) == []
