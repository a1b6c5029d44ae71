"""Prices of models, which staff with the permission change."""

from datetime import date
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from storage.accounts import audit_log
from storage.accounts.prices import prices
from storage.exceptions import StorageUnavailable
from storage.models import AuditEntry, ModelPrice
from tests.chat.forms import form_on
from tests.chat.usage_rows import priced

pytestmark = pytest.mark.every_sql(exhaustive=True)

LIST = "/admin/storage/modelprice/"
ADD = f"{LIST}add/"
NEW = {
    "model_used": "model-1",
    "valid_from": "2026-11-01",
    "input_price": "0.15",
    "output_price": "0.6",
    "note": "",
}


@pytest.fixture
def staff(transactional_db):
    user = User.objects.create_user("grace", is_staff=True)
    permissions = Permission.objects.filter(content_type__model="modelprice")
    user.user_permissions.set(permissions)
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.every_sql
def test_a_price_is_added_changed_and_removed_and_each_is_audited(staff):
    assert staff.post(ADD, NEW).status_code == 302
    price = ModelPrice.objects.get()
    assert "0.15" in staff.get(LIST).content.decode()
    staff.post(f"{LIST}{price.pk}/change/", NEW | {"input_price": "0.2"})
    staff.post(f"{LIST}{price.pk}/delete/", {"post": "yes"})
    assert not ModelPrice.objects.exists()
    told = [
        (entry.action, entry.staff, entry.details["before"], entry.details["after"])
        for entry in AuditEntry.objects.order_by("pk")
        if entry.action == "prices changed"
    ]
    first = {"model_used": "model-1", "valid_from": "2026-11-01"}
    first |= {"input_price": "0.15", "output_price": "0.6"}
    stored = first | {"input_price": "0.150000", "output_price": "0.600000"}
    changed = stored | {"input_price": "0.2", "output_price": "0.6"}
    removed = stored | {"input_price": "0.200000"}
    assert told == [
        ("prices changed", "grace", None, first),
        ("prices changed", "grace", stored, changed),
        ("prices changed", "grace", removed, None),
    ]


@pytest.mark.parametrize("model", [" model-1", "model-1 ", "   "])
def test_a_model_is_taken_as_interactions_name_it(staff, model):
    """The first page links to this form, with a name that has no price."""
    opened = form_on(staff.get(ADD, {"model_used": model}))
    assert staff.post(ADD, opened | NEW | {"model_used": opened["model_used"]}).status_code == 302
    assert ModelPrice.objects.get().model_used == model
    assert prices().at(model, date(2026, 11, 1))
    page = f"{LIST}{ModelPrice.objects.get().pk}/change/"
    assert staff.post(page, form_on(staff.get(page)) | {"note": "dearer"}).status_code == 302
    assert ModelPrice.objects.values_list("model_used", "note").get() == (model, "dearer")


def test_a_page_that_was_opened_before_does_not_bring_an_old_price_back(staff):
    price = priced(inputs="1")
    page = f"{LIST}{price.pk}/change/"
    form = form_on(staff.get(page))
    ModelPrice.objects.update(input_price="0.5")
    assert staff.post(page, form | {"note": "of the provider"}).status_code == 302
    assert ModelPrice.objects.values_list("input_price", "note").get() == (
        Decimal("0.5"),
        "of the provider",
    )


@pytest.mark.every_sql
def test_several_are_removed_at_once_and_each_is_audited(staff):
    keys = [priced(name).pk for name in ("a", "b")]
    form = {"action": "delete_selected", "_selected_action": keys, "post": "yes"}
    assert staff.post(LIST, form).status_code == 302
    assert not ModelPrice.objects.exists()
    assert AuditEntry.objects.filter(action="prices changed").count() == 2


def test_what_cannot_be_audited_is_not_done(staff, monkeypatch):
    def fail(*arguments, **about):
        raise StorageUnavailable("The database did not answer.")

    monkeypatch.setattr("storage.accounts.audit_log.record", fail)
    response = staff.post(ADD, NEW)
    assert (response.status_code, ModelPrice.objects.count()) == (503, 0)
    assert "The store did not answer" in response.content.decode()


def test_what_cannot_be_audited_is_not_removed(staff, monkeypatch):
    def fail(*arguments, **about):
        raise StorageUnavailable("The database did not answer.")

    price = priced("a")
    monkeypatch.setattr("storage.accounts.audit_log.record", fail)
    several = {"action": "delete_selected", "_selected_action": [price.pk], "post": "yes"}
    assert staff.post(f"{LIST}{price.pk}/delete/", {"post": "yes"}).status_code == 503
    assert staff.post(LIST, several).status_code == 503
    assert ModelPrice.objects.exists()


def test_several_are_removed_together_or_not_at_all(staff, monkeypatch):
    """Otherwise the log would say that one is removed which is there."""
    keys = [priced(name).pk for name in ("a", "b", "c")]
    append = audit_log._append

    def fail_later(entry):
        if entry.details.get("before", {}).get("model_used") == "b":
            raise StorageUnavailable("The database did not answer.")
        append(entry)

    monkeypatch.setattr(audit_log, "_append", fail_later)
    form = {"action": "delete_selected", "_selected_action": keys, "post": "yes"}
    assert staff.post(LIST, form).status_code == 503
    assert ModelPrice.objects.count() == 3
    assert not AuditEntry.objects.filter(action="prices changed").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"input_price": "-0.1"}, "greater than or equal to 0"),
        ({"output_price": "1e400"}, "Ensure that there are no more than 14 digits in total"),
        ({"input_price": "NaN"}, "Enter a number"),
        ({"valid_from": "2026-02-30"}, "Enter a valid date"),
        ({"model_used": ""}, "This field is required"),
        ({"model_used": "taken"}, "This model has a price from that day already."),
    ],
)
def test_what_is_no_price_is_refused(staff, wrong, said):
    taken = priced("taken")
    ModelPrice.objects.update(valid_from="2026-11-01")
    response = staff.post(ADD, NEW | wrong)
    assert response.status_code == 200
    assert said in response.content.decode()
    assert ModelPrice.objects.get() == taken


def test_whoever_lacks_the_permission_sees_and_changes_none(transactional_db):
    key = priced().pk
    user = User.objects.create_user("eve", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_usageofmodel"))
    client = Client()
    client.force_login(user)
    for page in (LIST, ADD, f"{LIST}{key}/change/", f"{LIST}{key}/delete/"):
        assert client.get(page).status_code == 403
        assert client.post(page, NEW | {"post": "yes"}).status_code == 403
    assert ModelPrice.objects.count() == 1


@pytest.mark.parametrize("year", ["0", "-1", "20261130"])
def test_a_lookup_that_the_filter_does_not_make_is_refused(staff, year):
    """Django's own error for such a year is no answer, but a 500."""
    assert staff.get(f"{LIST}?valid_from__year={year}").status_code == 400
    assert staff.get(f"{LIST}?valid_from__gte=2026-11-01").status_code == 200
