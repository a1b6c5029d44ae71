"""The template and the IAM policies in docs/production are what the code needs, no more or less."""

import ast
import inspect
import json
import re
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from config import environment
from storage.archive.bucket import ArchiveBucket
from storage.backups.base import BackupReport
from storage.backups.table import TableBackups
from storage.dynamodb import lists, shards, table
from storage.dynamodb.mirror import Answers as AnswersIndex
from storage.dynamodb.mirror import InteractionItem, Newest, OfUser
from tests.storage.dynamodb.test_slow_table import ALL_RIGHT, Answers

ROOT = Path(__file__).resolve().parent.parent
PRODUCTION = ROOT / "docs" / "production"
MODELS_OF_INDEXES = (Newest, OfUser, AnswersIndex)

# The template


@pytest.fixture(scope="module")
def template():
    return yaml.safe_load((PRODUCTION / "table.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def properties(template):
    (resource,) = template["Resources"].values()
    return resource["Properties"]


def test_the_template_has_the_table_alone_and_keeps_it(template):
    (resource,) = template["Resources"].values()
    assert resource["Type"] == "AWS::DynamoDB::Table"
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


def test_every_parameter_of_create_table_is_in_the_template_as_it_is(properties):
    definition = table.definition()
    # CloudFormation turns a stream on by naming what it has.
    assert definition["StreamSpecification"].pop("StreamEnabled")
    assert {name: properties.get(name) for name in definition} == definition


def test_the_template_sets_nothing_else_but_ttl_recovery_and_the_name(properties):
    assert properties.keys() - table.definition().keys() == {
        "TableName",
        "TimeToLiveSpecification",
        "PointInTimeRecoverySpecification",
    }


def test_the_template_turns_on_what_create_turns_on(properties):
    """`create` is asked what it sends for a table that has neither."""
    sent = {}

    class Recorder(Answers):
        def manage(self, operation, **parameters):
            sent[operation] = parameters
            return super().manage(operation, **parameters)

    off = {
        "DescribeTimeToLive": [{"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}],
        "DescribeContinuousBackups": [{"ContinuousBackupsDescription": {}}],
        "UpdateTimeToLive": [{}],
        "UpdateContinuousBackups": [{}],
    }
    table.create(Recorder(**{**ALL_RIGHT, **off}))
    for operation, name in [
        ("UpdateTimeToLive", "TimeToLiveSpecification"),
        ("UpdateContinuousBackups", "PointInTimeRecoverySpecification"),
    ]:
        assert properties[name] == sent[operation][name]


def test_the_template_has_the_keys_of_the_pynamodb_models(properties):
    types = {
        each["AttributeName"]: each["AttributeType"] for each in properties["AttributeDefinitions"]
    }
    indexes = {each["IndexName"]: each for each in properties["GlobalSecondaryIndexes"]}
    assert indexes.keys() == {index.Meta.index_name for index in MODELS_OF_INDEXES}
    schemas = [(properties["KeySchema"], InteractionItem.get_attributes())]
    for index in MODELS_OF_INDEXES:
        found = indexes[index.Meta.index_name]
        assert found["Projection"] == {"ProjectionType": index.Meta.projection.projection_type}
        schemas.append((found["KeySchema"], index.Meta.attributes))
    for schema, attributes in schemas:
        keys = {
            each.attr_name: "HASH" if each.is_hash_key else "RANGE"
            for each in attributes.values()
            if each.is_hash_key or each.is_range_key
        }
        assert {each["AttributeName"]: each["KeyType"] for each in schema} == keys
        for name in keys:
            assert types.pop(name, "S") == InteractionItem.get_attributes()[name].attr_type
    assert types == {}, "no attribute is defined that is no key"


def test_the_name_is_a_parameter_with_the_default_of_the_setting(template, properties):
    assert properties["TableName"] == {"Ref": "TableName"}
    parameter = template["Parameters"]["TableName"]
    assert parameter["Default"] == environment.DYNAMODB_TABLE.default
    assert re.fullmatch(parameter["AllowedPattern"], parameter["Default"])


# The policies

STORAGE = ROOT / "storage"
OF_SQLITE = {
    *(STORAGE / "sqlite").glob("*.py"),
    STORAGE / "backups" / "snapshot.py",
    STORAGE / "startup" / "upgrades.py",
}
SOURCES = sorted(set(STORAGE.rglob("*.py")) - OF_SQLITE)
TREES = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]

NEEDED_BY_PARTS = {
    "ConditionCheck": "ConditionCheckItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
}
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html"""

NEEDED_BY_STATEMENTS = {
    "INSERT": "PartiQLInsert",
    "UPDATE": "PartiQLUpdate",
    "DELETE": "PartiQLDelete",
    "SELECT": "PartiQLSelect",
}
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html"""


def nodes(kind):
    return [node for tree in TREES for node in ast.walk(tree) if isinstance(node, kind)]


def operations(*methods):
    """The names of operations in calls such as `client.call("GetItem", ...)`."""
    found = set()
    for call in nodes(ast.Call):
        named = isinstance(call.func, ast.Attribute) and call.func.attr in methods
        if named and call.args and isinstance(call.args[0], ast.Constant):
            found.add(call.args[0].value)
    return {name for name in found if isinstance(name, str) and name[:1].isupper()}


def calls_without_a_plain_name(*methods):
    """Calls of a client whose operation cannot be read from the source."""
    return [
        ast.unparse(call)
        for call in nodes(ast.Call)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in methods
        and ast.unparse(call.func.value).endswith("client")
        and not (call.args and isinstance(call.args[0], ast.Constant))
    ]


def transaction_parts():
    return {
        part.value
        for node in nodes(ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "TransactItems"
        for each in value.elts
        for part in _first_dict(each).keys
    }


def _first_dict(node):
    """The outermost dictionary in an element of a list, which may be a comprehension."""
    return next(each for each in ast.walk(node) if isinstance(each, ast.Dict))


def statements():
    """The verbs of PartiQL in the source: a string that begins with one and names a table.

    The names of tables are quoted there, which tells it from SQL.
    """
    texts = [node.value for node in nodes(ast.Constant) if isinstance(node.value, str)]
    pattern = r"(INSERT) INTO \"|(UPDATE) \"|(DELETE) FROM \"|(SELECT) .*FROM \""
    return {match[match.lastindex] for text in texts if (match := re.match(pattern, text))}


def used_by_the_application():
    asked = operations("call", "request") - {"Scan"}  # for who moves or upgrades all items
    for operation, parts, needed in [
        ("TransactWriteItems", transaction_parts, NEEDED_BY_PARTS),
        ("BatchExecuteStatement", statements, NEEDED_BY_STATEMENTS),
    ]:
        if operation in asked:
            asked = asked - {operation} | {needed[part] for part in parts()}
    return asked | LOOK_AT_THE_TABLE | operations("read_stream")


def used_by_the_operator():
    asked = operations("manage")
    asked |= {action.partition(":")[2] for action in on_shards("operator")}
    # CreateTable with tags needs the permission to set them.
    return asked | ({"TagResource"} if "Tags" in table.definition() else set())


def policy(name):
    return json.loads((PRODUCTION / f"{name}-policy.json").read_text(encoding="utf-8"))


def allowed(name):
    """Action to the resources it is allowed on."""
    found = {}
    for statement in policy(name)["Statement"]:
        assert statement["Effect"] == "Allow"
        condition = statement.pop("Condition", None)
        assert statement.keys() == {"Sid", "Effect", "Action", "Resource"}
        for action in in_list(statement["Action"]):
            assert action not in found, "an action is allowed once"
            found[action] = set(in_list(statement["Resource"]))
            assert condition == (KEY_OF_SHARDS if action in on_shards(name) else None)
    return found


def on_the_table(name):
    return {action: at for action, at in allowed(name).items() if action.startswith("dynamodb:")}


def on_shards(name):
    """What is allowed only on the item with the number of shards."""
    return {"dynamodb:GetItem", "dynamodb:UpdateItem"} if name == "operator" else set()


# A question mark is any one character: here a control character, which no interaction's id has.
KEY_OF_SHARDS = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["?shards-of-newest"]}}


def test_the_key_of_the_number_of_shards_is_that_of_the_policy():
    (pattern,) = KEY_OF_SHARDS["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    assert {"interaction_id": {"S": pattern.replace("?", "\x1f")}} == shards.KEY


def in_list(value):
    return [value] if isinstance(value, str) else value


TABLE = "arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE"
LOOK_AT_THE_TABLE = {"DescribeTable", "DescribeContinuousBackups"}
"""To find its stream, and for `manage.py backup`, which cron runs in the servers' container."""

STREAMS = f"{TABLE}/stream/*"
"""A stream's name is the time at which it was turned on."""

INDEXES = {f"{TABLE}/index/{index.Meta.index_name}" for index in MODELS_OF_INDEXES}


def test_the_operations_of_the_source_are_found():
    """Or the comparison would be one of nothing with nothing."""
    assert operations("call", "request") >= {
        "GetItem",
        "Query",
        "TransactWriteItems",
        "BatchExecuteStatement",
    }
    assert operations("manage") >= {"CreateTable", "DescribeTable", "UpdateContinuousBackups"}
    assert transaction_parts() == {"Put", "ConditionCheck"}
    assert statements() == {"INSERT"}


def test_every_operation_is_written_out_where_it_is_called():
    assert calls_without_a_plain_name("call", "request", "manage", "read_stream") == []


def test_the_application_may_do_what_it_does_and_nothing_else():
    assert allowed("application").keys() == {
        f"dynamodb:{name}" for name in used_by_the_application()
    }


def test_cron_may_ask_with_the_role_of_the_application_what_a_backup_asks():
    class Recorder:
        table = "chat-interactions"

        def manage(self, operation, **parameters):
            asked.append(f"dynamodb:{operation}")
            window = {"EarliestRestorableDateTime": now, "LatestRestorableDateTime": now}
            return {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": window}}

    now, asked = datetime.now(UTC), []
    TableBackups("chat-interactions", Recorder).take(now, BackupReport())
    assert asked
    assert set(asked) <= allowed("application").keys()


def test_the_operator_may_do_what_dynamodb_table_does_and_nothing_else():
    assert on_the_table("operator").keys() == {
        f"dynamodb:{name}" for name in used_by_the_operator()
    }


def test_the_application_may_query_the_indexes_read_the_stream_and_all_else_on_the_table():
    places = {f"dynamodb:{name}": {STREAMS} for name in operations("read_stream")}
    places["dynamodb:Query"] = INDEXES
    for action, resources in allowed("application").items():
        assert resources == places.get(action, {TABLE}), action
    assert '"IndexName"' in Path(lists.__file__).read_text(encoding="utf-8")


def test_the_operator_sees_no_interaction():
    assert all(resources == {TABLE} for resources in on_the_table("operator").values())
    both = {f"dynamodb:{name}" for name in LOOK_AT_THE_TABLE} | on_shards("operator")
    assert allowed("operator").keys() & allowed("application").keys() == both


@pytest.mark.parametrize("name", ["application", "operator"])
def test_no_policy_has_a_wildcard_or_a_scan(name):
    text = json.dumps(policy(name)).replace(STREAMS, "")
    assert "*" not in text
    assert "Scan" not in text


def test_nothing_scans_but_the_move_between_backends_and_the_upgrade_of_items():
    scanning = {
        path.relative_to(ROOT).as_posix()
        for path, tree in zip(SOURCES, TREES, strict=True)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value == "Scan"
    }
    assert scanning == {"storage/dynamodb/cold.py", "storage/dynamodb/upgrade.py"}
    assert not [call for call in nodes(ast.Call) if ast.unparse(call.func).endswith(".scan")]
    assert allowed("migration") == {"dynamodb:Scan": {TABLE}}


# The archive

NEEDED_BY_CALLS = {
    "put_object": {"s3:PutObject"},
    "get_object": {"s3:GetObject"},
    "delete_object": {"s3:DeleteObject"},
    "delete_objects": {"s3:DeleteObjectVersion"},
    "list_objects_v2": {"s3:ListBucket"},
    "list_object_versions": {"s3:ListBucketVersions"},
}
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html"""


def test_the_archive_may_be_used_as_the_source_does_and_in_no_other_way():
    tree = ast.parse((ROOT / "storage" / "archive" / "bucket.py").read_text(encoding="utf-8"))
    called = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "self._client"
    }
    assert called - {"get_paginator"} == NEEDED_BY_CALLS.keys()
    needed = set.union(*NEEDED_BY_CALLS.values())
    found = allowed("archive")
    assert found.keys() == needed
    for action, resources in found.items():
        whole = action.startswith("s3:List")
        assert resources == {"arn:aws:s3:::BUCKET" + ("" if whole else "/*")}


def test_the_operator_may_list_the_archive_as_check_deploy_does_and_read_nothing_of_it():
    look = ast.parse(textwrap.dedent(inspect.getsource(ArchiveBucket.look)))
    called = {node.attr for node in ast.walk(look) if isinstance(node, ast.Attribute)}
    needed = set.union(*(NEEDED_BY_CALLS[name] for name in called & NEEDED_BY_CALLS.keys()))
    found = allowed("operator")
    assert found.keys() - on_the_table("operator").keys() == needed
    assert all(found[action] == {"arn:aws:s3:::BUCKET"} for action in needed)


def test_the_bucket_is_private_and_keeps_nothing_that_is_deleted():
    template = yaml.safe_load((PRODUCTION / "archive.yaml").read_text(encoding="utf-8"))
    (bucket,) = template["Resources"].values()
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    properties = bucket["Properties"]
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert properties.keys().isdisjoint({"VersioningConfiguration", "ObjectLockEnabled"})
    assert properties["BucketName"] == {"Ref": "BucketName"}


def test_every_place_to_fill_in_is_named_in_the_guide():
    guide = (ROOT / "docs" / "how-to" / "production.md").read_text(encoding="utf-8")
    for name in ("application", "operator", "archive", "migration"):
        assert f"{name}-policy.json" in guide
    for place in ("REGION", "ACCOUNT", "TABLE", "BUCKET"):
        assert re.search(rf"s[/|]{place}[/|]", guide), "the guide fills it in with sed"
