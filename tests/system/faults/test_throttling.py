"""Every attempt that DynamoDB throttles is counted, in whatever way it says so."""

import pytest
from prometheus_client import REGISTRY

from storage.dynamodb import batches
from tests.system.faults import proxy as faults
from tests.system.faults.operations import READS, WRITES

OPERATIONS = {operation.name: operation for operation in (*WRITES, *READS)}


def cancel(code):
    """A transaction is cancelled for a reason of one of its items."""

    def answer(exchange):
        reasons = [{"Code": code, "Message": "of a test"}, {"Code": "None"}]
        body = {
            "__type": faults.NAMESPACE + "TransactionCanceledException",
            "message": "of a test",
            "CancellationReasons": reasons,
        }
        exchange.answer(400, body)

    return answer


SAID = {
    "create": [faults.throttle, faults.exceed],
    "update": [faults.throttle, faults.exceed],
    "get": [faults.throttle, faults.exceed],
    "list": [faults.throttle, faults.exceed],
    "list's rows": [faults.unprocessed(faults.half), faults.unprocessed(faults.everything)],
    "create once": [cancel("ThrottlingError"), cancel("ProvisionedThroughputExceeded")],
    "create many": [
        faults.unwritten(faults.everything, "ThrottlingError"),
        faults.unwritten(faults.half, "ProvisionedThroughputExceeded"),
    ],
}
"""Two answers that throttle, by the operation of the store."""


def throttled(wire):
    counted = REGISTRY.get_sample_value(
        "chat_dynamodb_throttled_requests_total", {"operation": wire}
    )
    return counted or 0.0


@pytest.mark.parametrize("name", SAID)
def test_every_attempt_that_is_throttled_counts(storage, direct, proxy, name):
    operation = OPERATIONS[name]
    operation.prepare(direct)
    before = throttled(operation.wire)
    proxy.fail(operation.wire, *SAID[name])
    assert operation.call(storage) == operation.told
    assert throttled(operation.wire) - before == 2


def test_rows_that_are_left_out_of_an_answer_that_is_full_do_not(
    storage, direct, proxy, monkeypatch
):
    monkeypatch.setattr(batches, "FULL_BYTES", 1000)
    operation = OPERATIONS["list's rows"]
    operation.prepare(direct)
    before = throttled(operation.wire)
    proxy.fail(operation.wire, faults.unprocessed(faults.half))
    assert operation.call(storage) == operation.told
    assert throttled(operation.wire) == before


def test_what_fails_otherwise_does_not(storage, direct, proxy):
    operation = OPERATIONS["create once"]
    operation.prepare(direct)
    before = throttled(operation.wire)
    proxy.fail(operation.wire, cancel("TransactionConflict"), faults.fail_before)
    assert operation.call(storage) == operation.told
    assert throttled(operation.wire) == before
