"""The rights that a restore of a table needs besides those of the operator."""

from tests.test_infrastructure import ROOT, TABLE, allowed, policy

NEEDED_BY_AWS = {
    f"dynamodb:{name}"
    for name in (
        "BatchWriteItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "Scan",
        "UpdateItem",
    )
}
"""On the new table, of whoever calls RestoreTableToPointInTime.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/backuprestore_IAM.html"""


def test_the_policy_has_what_aws_asks_for_on_one_table_and_nothing_else():
    found = allowed("restore")
    assert found.keys() == NEEDED_BY_AWS
    assert all(resources == {TABLE} for resources in found.values())
    assert "*" not in str(policy("restore"))


def test_the_operator_may_begin_and_end_a_restore():
    assert allowed("operator").keys() >= {
        "dynamodb:RestoreTableToPointInTime",
        "dynamodb:TagResource",
    }


def test_the_guide_names_every_policy():
    guide = (ROOT / "docs" / "how-to" / "backup-and-restore.md").read_text(encoding="utf-8")
    for name in ("application", "operator", "restore"):
        assert f"{name}-policy.json" in guide
