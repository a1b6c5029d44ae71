"""Writers on several machines, which in PostgreSQL work beside each other. Threads stand for them.

Those about locks and about the order of rows failed without them.
"""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client

from storage import accounts
from storage.accounts import audit_chain, audit_log, intake, key_use, roll_ups
from storage.accounts.audit_log import Action
from storage.accounts.intake import Count
from storage.dynamodb import usage_rows
from storage.models import (
    ApiKey,
    ApiKeyUse,
    AuditEntry,
    ModelPrice,
    StreamPosition,
    UsageOfUser,
    UsageRebuild,
)
from storage.sql.vendors import lock_until_commit
from tests.chat.forms import form_on
from tests.postgresql import in_threads

pytestmark = pytest.mark.usefixtures("in_postgresql")

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_the_chain_of_the_audit_log_does_not_fork():
    def write():
        for _ in range(25):
            audit_log.record(Action.READ, "grace")

    assert in_threads(4, write) == [None] * 4
    assert audit_chain.verify().entries == 100


def test_retention_of_the_audit_log_and_writers_keep_one_chain():
    for _ in range(20):
        audit_log.record(Action.READ, "grace")
    later = datetime.now(UTC) + timedelta(seconds=1)
    works = iter([lambda: audit_log.remove(later, 10)] * 2 + [lambda: write_ten()] * 2)
    lock = threading.Lock()

    def write_ten():
        for _ in range(10):
            audit_log.record(Action.READ, "alan")

    def work():
        with lock:
            chosen = next(works)
        chosen()

    assert in_threads(4, work) == [None] * 4
    audit_chain.verify()


def test_counts_of_many_add_up_and_nobody_is_in_anothers_way():
    names = [f"outcome {number}" for number in range(20)]

    def add(names):
        for _ in range(10):
            intake.add(Count(NOW, "otlp", name, 1, NOW) for name in names)

    orders = [names, names[::-1]] * 2
    works = iter(orders)
    assert in_threads(4, lambda: add(next(works))) == [None] * 4
    assert {total.count for total in intake.totals(NOW)} == {40}


def test_one_of_many_tells_of_what_was_left_out():
    def tell():
        return intake.tell("otlp", hour, {"no text"}, hour, timedelta(hours=1)).is_due

    for number in range(15):
        hour = NOW + timedelta(hours=3 * number)
        intake.add([Count(hour, "otlp", "no text", 3, hour)])
        assert sorted(in_threads(4, tell)) == [False, False, False, True]


def test_uses_of_keys_add_up():
    prefixes = [ApiKey.objects.create_key(name="a")[0].prefix for _ in range(5)]

    def add():
        for _ in range(10):
            key_use._add(dict.fromkeys(prefixes, 2), {}, datetime.now(UTC))

    assert in_threads(4, add) == [None] * 4
    assert set(ApiKeyUse.objects.values_list("calls", flat=True)) == {80}
    assert None not in ApiKey.objects.values_list("last_used_at", flat=True)


def test_a_rebuild_that_two_find_due_is_one():
    assert in_threads(4, usage_rows.lose) == [None] * 4
    assert in_threads(4, roll_ups.begin_rebuild) == [None] * 4
    assert UsageRebuild.objects.count() == 1


def record(user_id):
    """A change in a table's stream: an interaction was created."""
    return {
        "eventName": "INSERT",
        "dynamodb": {
            "ApproximateCreationDateTime": NOW,
            "SequenceNumber": "1",
            "Keys": {"interaction_id": {"S": "i"}},
            "NewImage": {
                "interaction_id": {"S": "i"},
                "user_id": {"S": user_id},
                "message": {"S": "m"},
                "response": {"S": "r"},
                "model_used": {"S": "model"},
                "input_tokens": {"N": "1"},
                "output_tokens": {"N": "1"},
                "created_at": {"S": "2026-11-30T12:00:00.000000Z"},
                "updated_at": {"S": "2026-11-30T12:00:00.000000Z"},
            },
        },
    }


def test_an_erased_user_gets_no_roll_up_of_what_is_being_counted(monkeypatch):
    """The counter has read that nobody is erased, and writes after the erasure has looked."""
    from storage.dynamodb.usage import UsageFollower

    has_read, erases = threading.Event(), threading.Event()
    forgotten = usage_rows._forgotten

    def reads():
        found = forgotten()
        has_read.set()
        erases.wait(1)  # without a lock it is done by then; with one it waits for this
        return found

    monkeypatch.setattr(usage_rows, "_forgotten", reads)
    position = StreamPosition.objects.create(stream="s", shard="p", counted_until=NOW)

    def count():
        follower = UsageFollower(client=None)
        return follower._count(position, [record("ada")], NOW, is_closed=False)

    def erase():
        has_read.wait()
        accounts.forget_user("ada")
        erases.set()

    works = iter([count, erase])
    assert set(in_threads(2, lambda: next(works)())) == {True, None}
    assert not UsageOfUser.objects.exists()


@pytest.fixture
def staff():
    grace = get_user_model().objects.create_superuser("grace", password="a b c")
    client = Client()
    client.force_login(grace)
    return client


def test_the_form_of_one_does_not_take_back_that_another_revoked_a_key(staff):
    made, _ = ApiKey.objects.create_key(name="phone")
    address = f"/admin/storage/apikey/{made.pk}/change/"
    reads = threading.Event()

    def rename():
        reads.wait()
        staff.post(address, {"name": "telephone", "expiry_date_0": "", "expiry_date_1": ""})

    def revoke():
        with transaction.atomic():
            ApiKey.objects.select_for_update().get(pk=made.pk)
            reads.set()
            while not waits_for_a_lock():
                pass
            ApiKey.objects.filter(pk=made.pk).update(revoked=True)

    works = iter([rename, revoke])
    assert in_threads(2, lambda: next(works)()) == [None] * 2
    assert ApiKey.objects.get(pk=made.pk).revoked


def test_the_form_of_one_does_not_bring_back_the_price_that_another_has_changed(staff):
    made = ModelPrice.objects.create(
        model_used="model-1", valid_from="2026-11-01", input_price=1, output_price=2
    )
    address = f"/admin/storage/modelprice/{made.pk}/change/"
    form = form_on(staff.get(address)) | {"note": "of the provider"}
    reads = threading.Event()

    def note():
        reads.wait()
        staff.post(address, form)

    def change():
        with transaction.atomic():
            ModelPrice.objects.select_for_update().get(pk=made.pk)
            reads.set()
            while not waits_for_a_lock():
                pass
            ModelPrice.objects.filter(pk=made.pk).update(input_price=7)

    works = iter([note, change])
    assert in_threads(2, lambda: next(works)()) == [None] * 2
    assert ModelPrice.objects.values_list("input_price", "note").get() == (7, "of the provider")
    entry = AuditEntry.objects.get(action="prices changed")
    assert entry.details["before"]["input_price"] == "7.000000"


def test_a_key_whose_form_is_sent_twice_at_once_is_made_once(staff):
    address = "/admin/storage/apikey/add/"
    form = form_on(staff.get(address)) | {"name": "phone", "user_id": "ada"}
    found = in_threads(2, lambda: staff.post(address, form).content.decode())
    assert sorted("was made since this page was opened" in page for page in found) == [False, True]
    assert ApiKey.objects.count() == 1


def test_a_price_whose_form_is_sent_twice_at_once_is_added_once(staff):
    address = "/admin/storage/modelprice/add/"
    form = form_on(staff.get(address)) | {"model_used": "model-1", "valid_from": "2026-11-01"}
    form |= {"input_price": "1", "output_price": "2"}
    found = in_threads(4, lambda: staff.post(address, form).status_code)
    assert sorted(found) == [200, 200, 200, 302], "the second page says that there is one already"
    assert ModelPrice.objects.count() == 1
    assert AuditEntry.objects.filter(action="prices changed").count() == 1


def test_who_deletes_several_waits_for_who_changes_one_and_not_both_for_each_other(staff):
    made = ModelPrice.objects.create(
        model_used="model-1", valid_from="2026-11-01", input_price=1, output_price=2
    )
    form = {"action": "delete_selected", "_selected_action": [made.pk], "post": "yes"}
    reads = threading.Event()

    def delete():
        reads.wait()
        return staff.post("/admin/storage/modelprice/", form).status_code

    def change():
        with transaction.atomic():
            ModelPrice.objects.select_for_update().get(pk=made.pk)
            reads.set()
            while not waits_for_a_lock():
                pass
            audit_log.record(Action.PRICES_CHANGED, "grace")

    works = iter([delete, change])
    assert sorted(map(str, in_threads(2, lambda: next(works)()))) == ["302", "None"]
    assert not ModelPrice.objects.exists()


def waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


def test_a_rotation_that_is_sent_twice_at_once_makes_one_key(staff):
    made, _ = ApiKey.objects.create_key(name="phone", user_id="ada")
    address = f"/admin/storage/apikey/{made.pk}/rotate/"
    form = {"overlap": "24", "alike": "1"}
    found = in_threads(2, lambda: staff.post(address, form).status_code)
    assert sorted(found) == [200, 409], found
    assert ApiKey.objects.filter(name="phone").count() == 2


def test_a_lock_ends_with_its_transaction():
    with transaction.atomic():
        lock_until_commit("a name")
        assert in_threads(1, is_free) == [False]
    assert in_threads(1, is_free) == [True]


def is_free():
    from storage.sql.vendors import lock_number

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock_number("a name")])
        return cursor.fetchone()[0]
