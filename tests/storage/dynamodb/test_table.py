"""`manage.py dynamodb_table`: makes the table what it must be, and finds each thing that is not."""

import copy
import itertools

import pytest
from django.core.management import CommandError, call_command

from storage.dynamodb import mirror, shards, table
from storage.dynamodb.client import Client, TableMissing
from storage.dynamodb.configured import configured_client
from storage.management.commands import dynamodb_table
from tests.conftest import PATIENCE_SECONDS

INDEXES = ("newest", "of_user", "answers")

REGION = "eu-central-1"
numbers = itertools.count()

STRING_KEY = [{"AttributeName": "interaction_id", "AttributeType": "S"}]


@pytest.fixture
def client(dynamodb_server, settings, monkeypatch):
    """Of a table that does not exist, as the settings name it. The command has the same one.

    To make one for each command would take three quarters of the time. On a busy machine an answer
    may take longer than two seconds.
    """
    settings.AWS_REGION = REGION
    settings.DYNAMODB_ENDPOINT_URL = dynamodb_server.url
    settings.DYNAMODB_TABLE = f"table-{next(numbers)}"
    monkeypatch.setattr(mirror, "READ_SECONDS", PATIENCE_SECONDS)
    client = configured_client()
    monkeypatch.setattr(dynamodb_table, "configured_client", lambda: client)
    return client


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(table, "POLL_SECONDS", 0.01)


@pytest.fixture
def call(client, capsys):
    """Runs an action; gives the exit status, the lines of output and those of errors."""

    def call(action):
        status = 0
        try:
            call_command("dynamodb_table", action)
        except SystemExit as exit_:
            status = exit_.code
        output, errors = capsys.readouterr()
        return status, output.splitlines(), errors.splitlines()

    return call


def test_create_makes_a_table_that_check_finds_right(client, call):
    status, output, errors = call("create")
    assert (status, errors) == (0, [])
    assert output == [
        f"{client.table}: created the table",
        f"{client.table}: turned TTL on",
        f"{client.table}: turned point-in-time recovery on",
        f"The table {client.table} is as it must be.",
    ]
    assert call("check") == (0, [f"The table {client.table} is as it must be."], [])


def test_create_again_changes_nothing_and_says_so(client, call):
    call("create")
    before = client.manage("DescribeTable", TableName=client.table)["Table"]
    assert call("create") == (0, [f"The table {client.table} is as it must be."], [])
    assert client.manage("DescribeTable", TableName=client.table)["Table"] == before


def test_check_of_a_missing_table_says_how_to_make_it(client, call):
    remedy = (
        f"There is no DynamoDB table {client.table}. Create it: manage.py dynamodb_table create"
    )
    assert call("check") == (1, [], [remedy])


def test_describe_of_a_missing_table_says_how_to_make_it(client):
    with pytest.raises(CommandError, match=r"manage\.py dynamodb_table create"):
        call_command("dynamodb_table", "describe")


def test_check_and_describe_make_no_table(client, call):
    call("check")
    with pytest.raises(CommandError):
        call_command("dynamodb_table", "describe")
    with pytest.raises(TableMissing):
        client.manage("DescribeTable", TableName=client.table)


def test_describe_shows_the_state_in_aligned_lines(client, call):
    call("create")
    status, output, errors = call("describe")
    assert (status, errors) == (0, [])
    described = {line[:24].strip(): line[24:] for line in output}
    arn = described.pop("table")
    assert arn.startswith(f"arn:aws:dynamodb:{REGION}:")
    assert arn.endswith(f":table/{client.table}")
    assert described == {
        "status": "ACTIVE",
        "billing": "PAY_PER_REQUEST",
        "items, some hours ago": "0",
        "bytes, some hours ago": "0",
        "indexes": ", ".join(f"{name} (ACTIVE)" for name in INDEXES),
        "stream": "NEW_AND_OLD_IMAGES",
        "TTL": "expires_at",
        "point-in-time recovery": "on",
        "deletion protection": "on",
        "shards of newest": "4",
    }


@pytest.mark.parametrize("action", ["create", "check", "describe"])
def test_no_action_reads_interactions(client, call, monkeypatch, action):
    call("create")
    asked = []
    manage = Client.manage
    monkeypatch.setattr(
        Client, "manage", lambda self, name, **kw: asked.append(name) or manage(self, name, **kw)
    )
    keys = []
    request = Client.request
    monkeypatch.setattr(
        Client, "request", lambda self, *call: keys.append(call[1]["Key"]) or request(self, *call)
    )
    call(action)
    assert keys == [shards.KEY]
    assert asked
    assert {name.removeprefix("Describe") for name in asked} <= {
        "Table",
        "TimeToLive",
        "ContinuousBackups",
        "ListTagsOfResource",
    }


# What can be wrong with a table that exists, one thing at a time.


def make(client, **changes):
    """Make the table, but for `changes`: parameters of CreateTable, None to leave one out."""
    parameters = {**copy.deepcopy(table.definition()), **changes}
    parameters = {name: value for name, value in parameters.items() if value is not None}
    client.manage("CreateTable", TableName=client.table, **parameters)
    set_ttl(client, "expires_at")
    client.manage(
        "UpdateContinuousBackups",
        TableName=client.table,
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
    )


def set_ttl(client, attribute, enabled=True):
    client.manage(
        "UpdateTimeToLive",
        TableName=client.table,
        TimeToLiveSpecification={"Enabled": enabled, "AttributeName": attribute},
    )


def index(name, **changes):
    """The definitions of the indexes, that of one changed."""
    indexes = copy.deepcopy(table.definition()["GlobalSecondaryIndexes"])
    return [each | changes if each["IndexName"] == name else each for each in indexes]


def without_index(name):
    indexes = [each for each in index(name) if each["IndexName"] != name]
    names = {key["AttributeName"] for each in indexes for key in each["KeySchema"]}
    definitions = table.definition()["AttributeDefinitions"]
    return {
        "GlobalSecondaryIndexes": indexes,
        "AttributeDefinitions": [
            each for each in definitions if each["AttributeName"] in {*names, "interaction_id"}
        ],
    }


def provisioned():
    throughput = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
    return {
        "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": throughput,
        "GlobalSecondaryIndexes": [
            each | {"ProvisionedThroughput": throughput} for each in index("newest")
        ],
    }


def no_recovery(client):
    make(client)
    client.manage(
        "UpdateContinuousBackups",
        TableName=client.table,
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
    )


def no_ttl(client):
    make(client)
    set_ttl(client, "expires_at", enabled=False)


REPAIRABLE = {
    "no indexes": (
        lambda client: make(client, GlobalSecondaryIndexes=None, AttributeDefinitions=STRING_KEY),
        [f"The index {name} is missing." for name in INDEXES],
        [f"added the index {name}" for name in INDEXES],
    ),
    "no index of_user": (
        lambda client: make(client, **without_index("of_user")),
        ["The index of_user is missing."],
        ["added the index of_user"],
    ),
    "no index newest": (
        lambda client: make(client, **without_index("newest")),
        ["The index newest is missing."],
        ["added the index newest"],
    ),
    "provisioned": (
        lambda client: make(client, **provisioned()),
        ["The billing is provisioned; it must be on demand."],
        ["set billing on demand"],
    ),
    "no stream": (
        lambda client: make(client, StreamSpecification=None),
        ["The stream is off; without it no usage is counted."],
        ["turned the stream on"],
    ),
    "no TTL": (
        no_ttl,
        ["The TTL is off; it must be on, with the attribute expires_at."],
        ["turned TTL on"],
    ),
    "no recovery": (
        no_recovery,
        ["The point-in-time recovery is off."],
        ["turned point-in-time recovery on"],
    ),
    "no protection": (
        lambda client: make(client, DeletionProtectionEnabled=False),
        ["The deletion protection is off."],
        ["turned deletion protection on"],
    ),
    "no tags": (
        lambda client: make(client, Tags=None),
        [f"Tags are missing; the table should have {table.TAGS}."],
        ["added tags"],
    ),
    "another tag": (
        lambda client: make(client, Tags=[{"Key": "application", "Value": "other"}]),
        [f"Tags are missing; the table should have {table.TAGS}."],
        ["added tags"],
    ),
}


@pytest.mark.parametrize("case", REPAIRABLE)
def test_check_names_what_is_wrong_and_create_puts_it_right(client, call, case):
    spoil, problems, done = REPAIRABLE[case]
    spoil(client)
    assert call("check") == (1, [], problems)
    status, output, errors = call("create")
    assert (status, errors) == (0, [])
    assert output[:-1] == [f"{client.table}: {what}" for what in done]
    assert call("check")[0] == 0


def test_tags_of_others_are_left(client, call):
    others = {"Key": "cost-centre", "Value": "7"}
    make(client, Tags=[others])
    call("create")
    arn = client.manage("DescribeTable", TableName=client.table)["Table"]["TableArn"]
    assert others in client.manage("ListTagsOfResource", ResourceArn=arn)["Tags"]


NUMBERS = [
    each | {"AttributeType": "N" if each["AttributeName"] == "position" else "S"}
    for each in table.definition()["AttributeDefinitions"]
]
OTHER_KEYS = [{"AttributeName": "user_id", "KeyType": "HASH"}]

IRREPARABLE = {
    "range key": (
        {
            "KeySchema": [
                *table.definition()["KeySchema"],
                {"AttributeName": "position", "KeyType": "RANGE"},
            ]
        },
        "The table's key must be interaction_id alone; make another table.",
    ),
    "numbers": (
        {"AttributeDefinitions": NUMBERS},
        "The key attributes position must be strings; make another table.",
    ),
    "projection ALL": (
        {"GlobalSecondaryIndexes": index("newest", Projection={"ProjectionType": "ALL"})},
        "The index newest must hold keys only; delete it, then create it again.",
    ),
    "projection INCLUDE": (
        {
            "GlobalSecondaryIndexes": index(
                "of_user",
                Projection={"ProjectionType": "INCLUDE", "NonKeyAttributes": ["message"]},
            )
        },
        "The index of_user must hold keys only; delete it, then create it again.",
    ),
    "keys of an index": (
        {"GlobalSecondaryIndexes": index("of_user", KeySchema=OTHER_KEYS)},
        "The index of_user has other keys; delete it, then create it again.",
    ),
}


@pytest.mark.parametrize("case", IRREPARABLE)
def test_what_dynamodb_cannot_change_is_named_and_left(client, call, case):
    changes, problem = IRREPARABLE[case]
    make(client, **changes)
    before = client.manage("DescribeTable", TableName=client.table)["Table"]
    assert call("check") == (1, [], [problem])
    assert call("create") == (1, [], [problem])
    assert client.manage("DescribeTable", TableName=client.table)["Table"] == before


def test_a_ttl_on_another_attribute_is_named_and_left(client, call):
    """DynamoDB refuses to move it, which the server of this test would not."""
    make(client)
    set_ttl(client, "created_at")
    problem = (
        "The TTL has the attribute created_at; it must be expires_at. Turn it off, wait an hour, "
        "then create it."
    )
    assert call("check") == (1, [], [problem])
    assert call("create") == (1, [], [problem])
    assert "created_at" in " ".join(call("describe")[1])


def test_a_stream_without_old_images_is_named_and_left(client, call):
    make(client, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    problem = (
        "The stream has NEW_IMAGE; it must have NEW_AND_OLD_IMAGES. Turn it off, then create it."
    )
    assert call("check") == (1, [], [problem])
    assert call("create") == (1, [], [problem])
    assert "NEW_IMAGE" in " ".join(call("describe")[1])


def test_everything_wrong_at_once_is_a_line_each(client, call):
    make(
        client,
        **{
            **provisioned(),
            "GlobalSecondaryIndexes": None,
            "AttributeDefinitions": STRING_KEY,
            "DeletionProtectionEnabled": False,
            "Tags": None,
        },
    )
    set_ttl(client, "expires_at", enabled=False)
    status, output, errors = call("check")
    assert (status, output, len(errors)) == (1, [], 7)
    status, output, errors = call("create")
    assert (status, errors, len(output)) == (0, [], 8)


def parts(answer, path=()):
    """The paths of all members of an answer."""
    members = answer.items() if isinstance(answer, dict) else enumerate(answer)
    for key, value in members:
        if isinstance(answer, dict):
            yield (*path, key)
        if isinstance(value, dict | list):
            yield from parts(value, (*path, key))


def without(answer, path):
    answer = copy.deepcopy(answer)
    parent = answer
    for key in path[:-1]:
        parent = parent[key]
    parent.pop(path[-1], None)
    return answer


def test_whatever_an_emulator_leaves_out_is_no_traceback(client, call, monkeypatch):
    """Each member of each answer, one after another. What matters is reported in a sentence."""
    call("create")
    manage, answers = Client.manage, {}

    def asked(client, operation, **parameters):
        if operation not in answers:
            answers[operation] = manage(client, operation, **parameters)
            del answers[operation]["ResponseMetadata"]
        return answers[operation]

    monkeypatch.setattr(Client, "manage", asked)
    assert call("check")[0] == 0
    whole, reported = dict(answers), set()
    for operation, answer in whole.items():
        for path in parts(answer):
            answers.update(whole)
            answers[operation] = without(answer, path)
            status, _, errors = call("check")
            assert (status, bool(errors)) in ((0, False), (1, True)), path
            if errors:
                reported.add(path[-1])
            assert call("describe")[0] == 0, path
    assert {"TableStatus", "KeySchema", "IndexStatus", "Projection", "TableArn"} <= reported
    assert {"TimeToLiveDescription", "ContinuousBackupsDescription"} <= reported
