"""The same rule on DynamoDB and S3: ten times the rows, and the same requests for an answer."""

import pytest

SEGMENT = 130_000
"""Bytes of a segment of 500 rows like these, which is a full one."""

MANIFEST = 20_000


def requests(found):
    return found.get("dynamodb", 0) + found["s3"]


def test_every_command_did_what_it_was_asked(few, many):
    for counts in (few, many):
        failed = {
            name: found["error"]
            for name, found in counts.items()
            if isinstance(found, dict) and found.get("status")
        }
        assert failed == {}


def test_the_counts_tell_the_two_stores_apart(few, many):
    # The control: a user with ten times the rows takes more.
    assert many["erase average"]["dynamodb"] > 3 * few["erase average"]["dynamodb"]


@pytest.mark.parametrize("name", ["status", "cold reads", "export rare", "erase rare"])
def test_the_same_question_takes_as_many_requests(few, many, name):
    """What a page that is full or not, or what is left of a segment, differs by is no growth."""
    assert requests(many[name]) <= 1.1 * requests(few[name]) + 16


def test_a_page_of_everyone_s_archive_takes_a_request_for_each_row_at_most(few, many):
    """Rows lie by user, so each may be in a frame of its own, or with others of the page."""
    for page in (few["everyone's page"], many["everyone's page"]):
        assert requests(page) <= sum(page["lengths"]) + 3


@pytest.mark.parametrize("name", ["export rare", "erase rare"])
def test_three_rows_take_as_many_bytes(few, many, name):
    """An export reads the manifest of a segment, and an erasure also what is left of it."""
    most = 3 * (MANIFEST if name == "export rare" else SEGMENT)
    assert many[name]["s3 bytes"] <= 2 * few[name]["s3 bytes"] + most


def test_a_user_s_pages_take_the_bytes_of_the_rows(many):
    rows = sum(many["user's pages"]["lengths"])
    assert many["user's pages"]["s3 bytes"] <= 5_000 * rows + 50_000


@pytest.mark.parametrize("name", ["export average", "erase average"])
def test_a_user_takes_requests_by_the_user_s_rows(many, name):
    assert requests(many[name]) <= 120 + 3 * 100  # a hundred rows, of which a sixth are cold
