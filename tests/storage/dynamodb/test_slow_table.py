"""Making and checking the table when DynamoDB takes its time, as only AWS does."""

import pytest

from storage.dynamodb import table
from storage.dynamodb.client import TableMissing
from storage.exceptions import StorageUnavailable


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(table, "POLL_SECONDS", 0.01)


class Answers:
    """In the place of a client: the answer to each operation, in order; the last one stays."""

    table = "chat"

    def __init__(self, **answers):
        self.asked = []
        self._answers = {name: list(given) for name, given in answers.items()}

    def manage(self, operation, **parameters):
        self.asked.append(operation)
        given = self._answers[operation]
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def description(status="ACTIVE", index_status="ACTIVE"):
    indexes = [
        each | {"IndexStatus": index_status}
        for each in table.definition()["GlobalSecondaryIndexes"]
    ]
    return {
        "Table": {
            **table.definition(),
            "TableStatus": status,
            "TableArn": "arn",
            "GlobalSecondaryIndexes": indexes,
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        }
    }


def backups(status):
    return {
        "ContinuousBackupsDescription": {
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": status}
        }
    }


ALL_RIGHT = {
    "DescribeTable": [description()],
    "DescribeTimeToLive": [
        {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLING", "AttributeName": "expires_at"}}
    ],
    "DescribeContinuousBackups": [backups("ENABLED")],
    "ListTagsOfResource": [{"Tags": table.definition()["Tags"]}],
}


def test_the_answers_of_these_tests_are_those_of_a_right_table():
    assert table.differences(Answers(**ALL_RIGHT)) == []


def test_create_waits_for_a_table_that_dynamodb_does_not_show_yet():
    missing = TableMissing("chat")
    shown = [missing, missing, description("CREATING"), description()]
    answers = Answers(**{**ALL_RIGHT, "DescribeTable": shown, "CreateTable": [{}]})
    assert table.create(answers) == ["created the table"]


def test_create_waits_until_a_new_table_can_have_backups():
    not_yet = StorageUnavailable(
        "DynamoDB did not complete UpdateContinuousBackups: ContinuousBackupsUnavailableException."
    )
    answers = Answers(
        **{
            **ALL_RIGHT,
            "DescribeContinuousBackups": [backups("DISABLED")],
            "UpdateContinuousBackups": [not_yet, not_yet, {}],
        }
    )
    assert table.create(answers) == ["turned point-in-time recovery on"]
    assert answers.asked.count("UpdateContinuousBackups") == 3


def test_another_refusal_of_backups_is_an_error_at_once():
    refusal = StorageUnavailable("DynamoDB did not complete it: AccessDeniedException.")
    answers = Answers(
        **{
            **ALL_RIGHT,
            "DescribeContinuousBackups": [backups("DISABLED")],
            "UpdateContinuousBackups": [refusal],
        }
    )
    with pytest.raises(StorageUnavailable, match="AccessDenied"):
        table.create(answers)


@pytest.mark.parametrize("shown", [description("CREATING"), description("ACTIVE", "CREATING")])
def test_create_does_not_wait_for_ever(monkeypatch, shown):
    monkeypatch.setattr(table, "WAIT_SECONDS", 0.05)
    with pytest.raises(StorageUnavailable, match="run the command again to continue"):
        table.create(Answers(**{**ALL_RIGHT, "DescribeTable": [shown]}))


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
def test_a_table_that_is_not_active_is_named(status):
    found = table.differences(Answers(**{**ALL_RIGHT, "DescribeTable": [description(status)]}))
    assert found == [f"The table is {status}; it must be ACTIVE."]


def test_an_index_that_is_still_being_made_is_named():
    shown = description(index_status="CREATING")
    found = table.differences(Answers(**{**ALL_RIGHT, "DescribeTable": [shown]}))
    assert found == [
        f"The index {name} is CREATING; lists and lookups work when it is ACTIVE."
        for name in ("newest", "of_user", "answers")
    ]
