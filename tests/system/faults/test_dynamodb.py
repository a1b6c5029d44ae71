"""Whatever DynamoDB does: nothing is lost or done twice, and errors are the right ones."""

import random

import pytest

from storage.cache.breaker import CircuitBreaker
from storage.dynamodb import batches, expressions, mirror, pauses, saves, transport
from storage.dynamodb import client as dynamodb_client
from storage.dynamodb import database as cloud
from storage.dynamodb.client import Client
from storage.exceptions import BatchUnfinished, InteractionConflict, StorageUnavailable
from storage.models.idempotency import Idempotency
from storage.records.outcomes import Outcome
from tests import clouds
from tests.system.faults import proxy as faults
from tests.system.faults.operations import BATCH, READS, WRITES, batch, everything, new

OTHER_KEY = Idempotency("l" * 64, "r" * 64)
BY_NAME = {operation.name: operation for operation in (*WRITES, *READS)}

every_operation = pytest.mark.parametrize("operation", [*WRITES, *READS], ids=str)
every_write = pytest.mark.parametrize("operation", WRITES, ids=str)

# Two attempts fail in one of these ways, and the third, the last, does not.
PASSING = {
    "throttled": [faults.throttle, faults.exceed],
    "failed before": [faults.fail_before] * 2,
    "cut before": [faults.cut] * 2,
}
DONE_BUT_UNTOLD = {
    "failed after": [faults.fail_after] * 2,
    "answer lost": [faults.cut_after] * 2,
    "answer lost, then throttled": [faults.cut_after, faults.throttle],
    "throttled, then answer lost": [faults.throttle, faults.cut_after],
    "answer cut in two": [faults.cut_inside] * 2,
}
# As others, once libcurl has waited: so not each operation takes the time.
HANGING = {
    "hung, then cut": [faults.hang, faults.cut],
    "answer too late": [faults.hang_after],
}
ENOUGH = {"save", "create many"}
LASTING = {
    "throttled": faults.throttle,
    "over capacity": faults.exceed,
    "failed before": faults.fail_before,
    "cut before": faults.cut,
}
LASTING_BUT_DONE = {
    "failed after": faults.fail_after,
    "answer lost": faults.cut_after,
}


def cases(modes):
    return pytest.mark.parametrize("mode", modes.values(), ids=modes)


def with_modes(modes):
    """Each of these with each operation; but a mode that takes long, with others by `test-all`."""
    return [
        pytest.param(
            operation,
            mode,
            id=f"{name}-{operation}",
            marks=pytest.mark.exhaustive
            if name in HANGING and operation.name not in ENOUGH
            else (),
        )
        for name, mode in modes.items()
        for operation in (*WRITES, *READS)
    ]


@pytest.mark.parametrize(("operation", "mode"), with_modes(PASSING | DONE_BUT_UNTOLD | HANGING))
def test_a_fault_that_passes_is_not_noticed(storage, direct, proxy, operation, mode):
    operation.prepare(direct)
    proxy.fail(operation.wire, *mode)
    assert operation.call(storage) == operation.told
    assert everything(direct) == operation.left
    if operation in WRITES:
        assert proxy.effects[operation.wire] == operation.effects


@every_operation
@cases(LASTING)
def test_a_fault_that_lasts_is_told_and_nothing_is_done(
    storage, direct, proxy, timed, operation, mode
):
    operation.prepare(direct)
    before = everything(direct)
    proxy.always(operation.wire, mode)
    error, seconds = timed(operation.call, storage)
    expected = BatchUnfinished if operation.name == "create many" else StorageUnavailable
    assert type(error) is expected, error
    assert seconds < 2
    assert everything(direct) == before
    assert proxy.effects[operation.wire] == 0
    proxy.calm()
    assert operation.call(storage) == operation.told
    assert everything(direct) == operation.left


@every_write
@cases(LASTING_BUT_DONE)
def test_a_write_whose_answers_are_all_lost_is_done_once(
    storage, direct, proxy, timed, operation, mode
):
    operation.prepare(direct)
    proxy.always(operation.wire, mode)
    error, _ = timed(operation.call, storage)
    assert isinstance(error, StorageUnavailable)
    assert type(error) in (StorageUnavailable, BatchUnfinished)
    # The first of this replacement only learns what it replaces.
    done = proxy.effects[operation.wire]
    if operation.name == "create many":  # 25 and 5, under way together; one may not have begun
        assert done in (5, 25, 30)
    else:
        assert done == (0 if operation.name == "replace a later one" else 1)
    proxy.calm()
    # A client repeats it. What is done already is told as what it is by then.
    of_25, of_5 = (
        [Outcome.UNCHANGED if done in (size, 30) else Outcome.CREATED] * size for size in (25, 5)
    )
    repeats = {
        "create": ("i", False),
        "create many": of_25 + of_5,
        "delete": False,
        "replace": operation.told,
    }
    again = operation.call(storage)
    if operation.name == "create once":
        assert again == ("i", False)
    else:
        assert again == repeats.get(operation.name, operation.told)
    assert everything(direct) == operation.left


@every_operation
def test_refused_connections_are_told_and_gone_when_they_are_accepted_again(
    storage, direct, proxy, timed, operation
):
    operation.prepare(direct)
    proxy.close()
    try:
        error, seconds = timed(operation.call, storage)
    finally:
        proxy.open()
    assert isinstance(error, StorageUnavailable)
    assert seconds < 2
    assert operation.call(storage) == operation.told
    assert everything(direct) == operation.left


@pytest.mark.parametrize(
    "code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]
)
def test_a_transaction_that_is_cancelled_for_a_passing_reason_is_tried_again(
    storage, direct, proxy, code
):
    def cancel(exchange):
        reasons = [{"Code": code, "Message": "of a test"}, {"Code": "None"}]
        exchange.answer(
            400,
            {
                "__type": faults.NAMESPACE + "TransactionCanceledException",
                "message": "of a test",
                "CancellationReasons": reasons,
            },
        )

    once = BY_NAME["create once"]
    proxy.fail("TransactWriteItems", *[cancel] * 3)
    assert once.call(storage) == ("i", True)
    assert once.call(storage) == ("i", False)
    assert everything(direct) == once.left
    proxy.always("TransactWriteItems", cancel)
    with pytest.raises(StorageUnavailable):
        storage.create_interaction_sync(new("j"), OTHER_KEY)


@every_operation
@pytest.mark.parametrize("status", [200, 400, 502])
def test_what_is_no_answer_of_dynamodb_is_told_and_never_taken_for_one(
    storage, direct, proxy, timed, operation, status
):
    operation.prepare(direct)
    proxy.always("*", lambda exchange: exchange.send(status, b"<html>A proxy's page</html>"))
    error, _ = timed(operation.call, storage)
    assert isinstance(error, StorageUnavailable), error


@every_operation
def test_answers_that_are_always_cut_in_two_are_told(storage, direct, proxy, timed, operation):
    operation.prepare(direct)
    proxy.always("*", faults.cut_inside)
    error, _ = timed(operation.call, storage)
    assert isinstance(error, StorageUnavailable), error


@pytest.fixture
def by_botocore(monkeypatch):
    """Calls go through botocore, as they do where libcurl is missing."""
    monkeypatch.setattr(transport, "OPERATIONS", frozenset())


def cut_twice(behind, proxy):
    """What a read finds if the answers to both of its looks are cut in two."""
    made = behind(mirror.bound("unused", clouds.REGION, proxy.url, clouds.CONNECTIONS))
    made.save_interaction_sync(new())
    proxy.fail("GetItem", faults.cut_inside, faults.cut_inside)  # an unknown id is looked at twice
    return made.get_interaction_sync("i")


def test_by_botocore_an_answer_that_is_cut_in_two_is_asked_for_again(
    by_botocore, behind, hurry, proxy, dynamodb_model
):
    assert cut_twice(behind, proxy) == new()


def test_by_botocore_half_an_answer_hides_an_item_without_a_look_at_its_length(
    by_botocore, behind, hurry, proxy, dynamodb_model, monkeypatch
):
    monkeypatch.setattr(dynamodb_client, "_half_answered", lambda **_: None)
    assert cut_twice(behind, proxy) is None


# Batches.


SOME = {"all": faults.everything, "half": faults.half, "random": faults.some_at_random}
CODES = ["ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError"]


@pytest.mark.parametrize("code", CODES)
@cases(SOME)
def test_statements_that_are_left_undone_are_written_later(storage, direct, proxy, mode, code):
    many = BY_NAME["create many"]
    proxy.fail("BatchExecuteStatement", *[faults.unwritten(mode, code)] * 2)
    assert many.call(storage) == many.told
    assert everything(direct) == many.left
    assert proxy.effects["BatchExecuteStatement"] == len(BATCH)


def test_statements_that_are_written_and_told_as_failed_are_written_once(storage, direct, proxy):
    many = BY_NAME["create many"]
    proxy.fail("BatchExecuteStatement", faults.written_and_failed)
    assert many.call(storage) == many.told
    assert everything(direct) == many.left
    assert proxy.effects["BatchExecuteStatement"] == len(BATCH)


@pytest.mark.parametrize("code", [*CODES, "AccessDenied", "ResourceNotFound", "ValidationError"])
def test_a_batch_that_is_not_finished_names_what_is_left(storage, direct, proxy, timed, code):
    def last(statements):
        return [s for s in statements if s["Parameters"][0]["S"] in BATCH[20:]]

    proxy.always("BatchExecuteStatement", faults.unwritten(last, code))
    error, seconds = timed(storage.create_interactions_sync, batch())
    assert type(error) is BatchUnfinished
    left = set(error.interaction_ids)
    # What is not named is saved; nothing that is not saved goes unnamed.
    assert set(everything(direct)) | left == set(BATCH)
    assert left >= set(BATCH[20:])
    assert str(len(error.interaction_ids)) in str(error)
    assert seconds < 2
    proxy.calm()
    outcomes = storage.create_interactions_sync(batch())
    assert set(outcomes) <= {Outcome.CREATED, Outcome.UNCHANGED}
    assert set(everything(direct)) == set(BATCH)


@cases(SOME)
def test_rows_that_are_left_unread_are_read_later(storage, direct, proxy, mode):
    rows = BY_NAME["list's rows"]
    rows.prepare(direct)
    proxy.fail("BatchGetItem", *[faults.unprocessed(mode)] * 2)
    assert rows.call(storage) == rows.told


def test_rows_that_stay_unread_are_an_error_and_no_short_page(storage, direct, proxy, timed):
    rows = BY_NAME["list's rows"]
    rows.prepare(direct)
    proxy.always("BatchGetItem", faults.unprocessed(lambda keys: keys[-1:]))
    error, seconds = timed(rows.call, storage)
    assert type(error) is StorageUnavailable
    assert seconds < 2


# Others write in between.


def lost_and_overtaken(direct, do):
    """The first attempt takes effect, its answer is lost; another does `do` before the second."""

    def fault(exchange):
        exchange.forward()
        do(direct)
        exchange.cut()

    return fault


@pytest.mark.parametrize("name", ["create", "create once", "create many", "update"])
def test_another_writer_between_a_write_and_its_repeat_is_not_overwritten(
    storage, direct, proxy, timed, name
):
    def write(others):
        others.save_interaction_sync(new("i", response="of another"))
        others.save_interaction_sync(new("i00", response="of another"))

    operation = BY_NAME[name]
    operation.prepare(direct)
    proxy.fail(operation.wire, lost_and_overtaken(direct, write))
    result, _ = timed(operation.call, storage)
    if name == "update":
        # It was made, or it was not: who asked is told that nobody knows.
        assert type(result) is StorageUnavailable
    stored = everything(direct)
    assert stored["i"]["response"] == stored["i00"]["response"] == "of another"


@pytest.mark.parametrize("name", ["save", "create", "create once", "create many"])
def test_what_was_completed_between_a_write_and_its_repeat_stays(storage, direct, proxy, name):
    def complete(others):
        assert others.update_interaction_sync(
            "i" if name != "create many" else "i00", {"response": "c"}
        )

    operation = BY_NAME[name]
    operation.prepare(direct)
    proxy.fail(operation.wire, lost_and_overtaken(direct, complete))
    assert operation.call(storage) == operation.told
    stored = everything(direct)
    assert stored["i" if name != "create many" else "i00"]["response"] == "c"


def test_a_deletion_between_a_creation_and_its_repeat_is_undone_as_if_it_came_first(
    storage, direct, proxy
):
    """A repeat cannot know that its first attempt has been deleted: it counts as made by then."""
    deletion = lost_and_overtaken(direct, lambda s: s.delete_interaction_sync("i"))
    proxy.fail("PutItem", deletion)
    assert BY_NAME["create"].call(storage) == ("i", True)
    assert set(everything(direct)) == {"i"}


def test_a_save_counts_from_its_last_attempt(storage, direct, proxy):
    def write(others):
        others.save_interaction_sync(new("i", response="of another"))

    proxy.fail("UpdateItem", lost_and_overtaken(direct, write))
    BY_NAME["save"].call(storage)
    assert storage.get_interaction_sync("i").response == new().response


def test_a_repeated_deletion_leaves_what_another_has_created_since(storage, direct, proxy):
    def write(others):
        others.create_interaction_sync(new("i", response="of another"))

    direct.save_interaction_sync(new())
    proxy.fail("DeleteItem", lost_and_overtaken(direct, write))
    with pytest.raises(StorageUnavailable):
        storage.delete_interaction_sync("i")
    assert direct.get_interaction_sync("i").response == "of another"


def test_an_update_that_is_overtaken_is_made_on_what_is_there(storage, direct, proxy):
    def overtaken(exchange):
        direct.update_interaction_sync("i", {"response": "of another"})
        faults.forward(exchange)

    direct.save_interaction_sync(new())
    proxy.fail("UpdateItem", overtaken)
    found = storage.update_interaction_sync("i", {"output_tokens": 9})
    assert (found.response, found.output_tokens) == ("of another", 9)


# Controls: without its protection, each of these does harm.


def test_without_its_version_a_repeated_create_is_told_as_not_made(storage, proxy, monkeypatch):
    put = saves.put_or_find

    def ignoring_the_version(client, item):
        stored, _ = put(client, item)
        return stored, False

    monkeypatch.setattr(saves, "put_or_find", ignoring_the_version)
    proxy.fail("PutItem", faults.cut_after)
    assert BY_NAME["create"].call(storage) == ("i", False)


def test_without_its_condition_a_repeated_save_takes_effect_twice(storage, proxy, monkeypatch):
    monkeypatch.setattr(
        expressions,
        "REPLACEABLE_IN_PLACE",
        "attribute_not_exists(#interaction_id) OR (#user_id = :user_id AND #position > :cutoff "
        "AND #position = :position)",
    )
    proxy.fail("UpdateItem", faults.cut_after)
    BY_NAME["save"].call(storage)
    assert proxy.effects["UpdateItem"] == 2


def test_without_a_look_at_whose_it_is_a_repeated_save_is_a_conflict(storage, proxy, monkeypatch):
    monkeypatch.setattr(cloud.writes, "is_own", lambda stored, item: False)
    proxy.fail("UpdateItem", faults.cut_after)
    with pytest.raises(InteractionConflict):
        BY_NAME["save"].call(storage)


def test_without_its_condition_an_update_undoes_what_overtook_it(
    storage, direct, proxy, monkeypatch
):
    def overtaken(exchange):
        direct.update_interaction_sync("i", {"response": "of another"})
        faults.forward(exchange)

    direct.save_interaction_sync(new())
    monkeypatch.setattr(
        expressions, "SAME_VERSION", "#version <> :expected OR #version = :expected"
    )
    proxy.fail("UpdateItem", overtaken)
    storage.update_interaction_sync("i", {"output_tokens": 9})
    assert direct.get_interaction_sync("i").response != "of another"


def test_without_the_count_of_attempts_a_repeated_delete_is_told_as_not_made(
    storage, direct, proxy, monkeypatch
):
    request = Client.request

    def forgetting(self, *arguments):
        try:
            return request(self, *arguments)
        except cloud.ConditionFailed as failure:
            failure.repeated = False
            raise

    direct.save_interaction_sync(new())
    monkeypatch.setattr(Client, "request", forgetting)
    proxy.fail("DeleteItem", faults.cut_after)
    assert storage.delete_interaction_sync("i") is False


def test_without_another_attempt_statements_stay_undone(storage, proxy, monkeypatch):
    monkeypatch.setattr(pauses.Pauses, "wait", lambda self: False)
    proxy.fail("BatchExecuteStatement", faults.unwritten(faults.half, "ThrottlingError"))
    with pytest.raises(BatchUnfinished):
        storage.create_interactions_sync(batch())


def test_without_another_attempt_a_page_would_be_short(storage, direct, proxy, monkeypatch):
    def read_once(client, ids, pauses):
        keys = [{"interaction_id": {"S": name}} for name in ids]
        answer = client.request("BatchGetItem", {"RequestItems": {client.table: {"Keys": keys}}})
        found = answer["Responses"].get(client.table, [])
        return {item["interaction_id"]["S"]: item for item in found}

    rows = BY_NAME["list's rows"]
    rows.prepare(direct)
    monkeypatch.setattr(batches, "read", read_once)
    proxy.always("BatchGetItem", faults.unprocessed(faults.half))
    interactions = storage.get_user_interactions_sync("ada", 20)
    names = [interaction.interaction_id for interaction in interactions]
    assert names != sorted(BATCH, reverse=True)[:20]


# Time.


@pytest.mark.parametrize("name", ["create", "create once", "create many", "update", "list"])
def test_throttling_without_end_is_told_within_8_seconds(
    patient_storage, proxy, timed, monkeypatch, name
):
    # The longest pauses there can be.
    monkeypatch.setattr(random, "uniform", lambda least, most: most)
    operation = BY_NAME[name]
    operation.prepare(patient_storage)
    proxy.always(operation.wire, faults.throttle)
    error, seconds = timed(operation.call, patient_storage)
    assert isinstance(error, StorageUnavailable)
    assert seconds < 8


def test_statements_that_are_throttled_without_end_are_told_within_8_seconds(
    patient_storage, proxy, timed
):
    proxy.always("BatchExecuteStatement", faults.unwritten(faults.everything, "ThrottlingError"))
    error, seconds = timed(patient_storage.create_interactions_sync, batch())
    assert type(error) is BatchUnfinished
    assert error.interaction_ids == BATCH
    assert 4 < seconds < 8


def test_a_hung_server_costs_one_call_10_seconds_at_most(hasty_storage, proxy, timed):
    proxy.always("*", faults.hang)
    error, seconds = timed(BY_NAME["create"].call, hasty_storage)
    assert type(error) is StorageUnavailable
    assert 5 < seconds < 10


def three_failures(storage, proxy):
    proxy.always("*", faults.cut)
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            storage.get_interaction_sync("i")


@every_operation
def test_after_three_failures_nothing_waits(storage, direct, proxy, timed, operation):
    operation.prepare(direct)
    three_failures(storage, proxy)
    proxy.always("*", faults.hang)
    asked = proxy.attempts.total()
    error, seconds = timed(operation.call, storage)
    assert isinstance(error, StorageUnavailable)
    assert seconds == 0
    assert proxy.attempts.total() == asked


@pytest.mark.exhaustive  # as after three connections that are cut; a hang takes long
def test_a_server_that_hangs_is_asked_three_times(hasty_storage, proxy, timed):
    proxy.always("*", faults.hang)
    took = [timed(hasty_storage.get_interaction_sync, "i")[1] for _ in range(4)]
    assert all(seconds > 1 for seconds in took[:3])
    assert took[3] == 0


def test_without_the_breaker_each_call_would_wait(hasty_storage, proxy, timed, monkeypatch):
    monkeypatch.setattr(CircuitBreaker, "admits", lambda self: True)
    three_failures(hasty_storage, proxy)
    proxy.always("*", faults.hang)
    _, seconds = timed(hasty_storage.get_interaction_sync, "i")
    assert seconds > 1


def test_calls_work_again_1_second_after_the_fault_has_ended(storage, proxy, clock):
    three_failures(storage, proxy)
    proxy.calm()
    clock.passes(0.9)
    with pytest.raises(StorageUnavailable):
        BY_NAME["create"].call(storage)
    clock.passes(0.2)
    assert BY_NAME["create"].call(storage) == ("i", True)


def test_one_failed_probe_keeps_the_others_from_waiting(hasty_storage, proxy, timed, clock):
    three_failures(hasty_storage, proxy)
    proxy.always("*", faults.hang)
    clock.passes(1.1)
    asked = proxy.attempts.total()
    error, _ = timed(hasty_storage.get_interaction_sync, "i")  # the probe
    assert isinstance(error, StorageUnavailable)
    assert proxy.attempts.total() == asked + 3
    _, seconds = timed(hasty_storage.get_interaction_sync, "i")
    assert seconds == 0


@pytest.mark.parametrize("fault", [faults.throttle, faults.error(400, "ValidationException")])
def test_a_server_that_answers_keeps_the_breaker_closed(storage, proxy, fault):
    proxy.always("GetItem", fault)
    for _ in range(5):
        with pytest.raises(StorageUnavailable):
            storage.get_interaction_sync("i")
    proxy.calm()
    assert storage.get_interaction_sync("i") is None
