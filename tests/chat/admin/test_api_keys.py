"""API keys in the admin: what is made, who may give what away, and where a new key is shown."""

import re
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from chat.admin import key_rotation
from storage.accounts import api_keys
from storage.models import ApiKey, AuditEntry
from tests.chat.forms import form_on

pytestmark = pytest.mark.every_sql(exhaustive=True)

KEYS = "/admin/storage/apikey/"

UNUSUAL_IDS = [" ada", "ada ", "   ", "\N{NO-BREAK SPACE}ada", "ada\N{ZERO WIDTH SPACE}", "a  b"]
RIGHTS = ["read_texts", "grant_service_wide", "grant_erasure"]
EVERY_SET = [set(rights) - {""} for rights in product(*(["", right] for right in RIGHTS))]


def staff(*rights):
    user = User.objects.create_user("grace", is_staff=True)
    if "read_texts" in rights:  # the page of an interaction comes first
        rights = (*rights, "view_chatinteraction")
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client = Client()
    client.force_login(user)
    return client


def make_key(client, **fields):
    """Post the form. A checkbox is given as `on`, and left out otherwise."""
    form = {"name": "billing", "user_id": "", "expiry_date_0": "", "expiry_date_1": ""} | fields
    return client.post(f"{KEYS}add/", form)


def change_key(client, api_key, **fields):
    form = {"name": "billing", "expiry_date_0": "", "expiry_date_1": ""} | fields
    response = client.post(f"{KEYS}{api_key.pk}/change/", form)
    api_key.refresh_from_db()
    return response


def key_on(page):
    found = re.search(r"<code>(\S+)</code>", page.content.decode())
    return found and found.group(1)


def test_new_key_is_shown_once_and_works(root):
    key = key_on(make_key(root, user_id="ada"))
    assert api_keys.find(key).user_id == "ada"
    for page in (KEYS, "/admin/", f"{KEYS}{ApiKey.objects.get().pk}/change/"):
        assert key not in root.get(page).content.decode()


def test_new_key_is_in_no_cookie_no_session_and_no_cache(root):
    response = make_key(root, user_id="ada")
    key = key_on(response)
    assert "no-store" in response["Cache-Control"]
    assert key.partition(".")[2] not in str(root.cookies) + str(dict(root.session))
    assert "messages" not in root.cookies


def test_a_form_that_is_sent_twice_makes_one_key(root):
    """Also by reloading the page with the new key. Somebody who wants two sends the page again."""
    opened = form_on(root.get(f"{KEYS}add/")) | {"name": "billing", "user_id": "ada"}
    first, second = (root.post(f"{KEYS}add/", opened) for _ in range(2))
    assert api_keys.find(key_on(first)).user_id == "ada"
    assert "A key like this one was made since this page was opened" in second.content.decode()
    assert ApiKey.objects.count() == 1
    assert AuditEntry.objects.filter(action="key made").count() == 1
    assert api_keys.find(key_on(root.post(f"{KEYS}add/", form_on(second)))).name == "billing"


def test_a_form_makes_a_key_beside_others_that_were_made_meanwhile(root):
    ApiKey.objects.create_key(name="billing", user_id="ada")  # before
    opened = form_on(root.get(f"{KEYS}add/")) | {"name": "billing"}
    for user_id in ("ada", "bob", "eve"):
        assert key_on(root.post(f"{KEYS}add/", opened | {"user_id": user_id})), user_id
    wide = opened | {"service_wide": "on"}
    assert key_on(root.post(f"{KEYS}add/", wide))
    assert key_on(root.post(f"{KEYS}add/", wide | {"may_erase": "on"}))


@pytest.mark.parametrize("spoilt", ["x", "-1", "9" * 30])
def test_a_spoilt_form_makes_no_key(root, spoilt):
    make_key(root, user_id="ada", newest=spoilt)
    assert not ApiKey.objects.exists()


def test_an_address_fills_nothing_into_the_form(root):
    """Nor a key for everyone in, for somebody who follows a link; and Django fails at some."""
    page = root.get(f"{KEYS}add/?service_wide=on&expiry_date=x&name=billing")
    assert page.status_code == 200
    sent = form_on(page)
    assert (sent["name"], "service_wide" in sent) == ([""], False)


def test_key_for_everyone_is_a_choice(root):
    assert "choose service-wide" in make_key(root).content.decode()
    assert not ApiKey.objects.exists()
    assert api_keys.find(key_on(make_key(root, service_wide="on"))).user_id == ""


def test_key_for_everyone_and_for_one_user_is_refused(root):
    page = make_key(root, user_id="ada", service_wide="on")
    assert "not both" in page.content.decode()
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("user_id", UNUSUAL_IDS)
def test_user_id_is_taken_as_it_was_written(root, user_id):
    page = make_key(root, user_id=user_id)
    assert api_keys.find(key_on(page)).user_id == user_id
    assert f"the user “{user_id}”" in page.content.decode()


@pytest.mark.parametrize("user_id", UNUSUAL_IDS)
def test_searching_finds_the_term_as_it_was_written(root, user_id):
    ApiKey.objects.create_key(name="first", user_id=user_id)
    ApiKey.objects.create_key(name="second", user_id="bob")
    ApiKey.objects.create_key(name="third", user_id="ada")
    page = root.get(KEYS, {"q": user_id}).content.decode()
    names = [name for name in ("first", "second", "third") if name in page]
    assert names == ["first"]


def test_impossible_user_is_refused(root):
    page = make_key(root, user_id="a\x7fb").content.decode()
    assert "must not contain control characters" in page
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("user_id", ["..", "ada/../bobby"])
def test_user_with_a_dot_segment_is_refused(root, user_id):
    assert "dot segment" in make_key(root, user_id=user_id).content.decode()
    assert not ApiKey.objects.exists()


def test_one_that_is_bound_to_such_a_user_can_be_revoked(root):
    api_key, _ = ApiKey.objects.create_key(name="billing", user_id="ada/../bobby")
    change_key(root, api_key, revoked="on")
    assert api_key.revoked


def test_key_never_changes_hands(root):
    api_key, _ = ApiKey.objects.create_key(name="billing", user_id="ada")
    change_key(root, api_key, name="renamed", user_id="eve", service_wide="on")
    assert (api_key.name, api_key.user_id) == ("renamed", "ada")


def test_a_page_that_was_opened_before_takes_nothing_back(root):
    """As with the back button: its form has what the key was then."""
    wide, _ = ApiKey.objects.create_key(name="billing", may_erase=True)
    form = form_on(root.get(f"{KEYS}{wide.pk}/change/"))
    assert form["may_erase"] == ["on"]
    ends = timezone.now() + timedelta(hours=24)
    ApiKey.objects.filter(pk=wide.pk).update(expiry_date=ends, may_erase=False)
    assert root.post(f"{KEYS}{wide.pk}/change/", form | {"name": "old"}).status_code == 302
    wide.refresh_from_db()
    assert (wide.name, wide.expiry_date, wide.may_erase) == ("old", ends, False)
    entry = AuditEntry.objects.get(action="key changed")
    assert entry.details["fields"] == ["Name"]


def test_what_was_changed_on_a_page_that_came_again_with_a_mistake_counts(root):
    api_key, _ = ApiKey.objects.create_key(name="billing")
    page = f"{KEYS}{api_key.pk}/change/"
    ends = {"expiry_date_0": "2035-06-01", "expiry_date_1": "12:00:00"}
    again = root.post(page, form_on(root.get(page)) | ends | {"name": ""})
    assert again.status_code == 200
    assert root.post(page, form_on(again) | {"name": "billing"}).status_code == 302
    api_key.refresh_from_db()
    assert api_key.expiry_date == datetime(2035, 6, 1, 12, tzinfo=UTC)


def test_revoked_in_the_admin_stops_working(root):
    api_key, key = ApiKey.objects.create_key(name="billing")
    change_key(root, api_key, revoked="on")
    api_keys.forget()
    assert api_keys.find(key) is None


@pytest.mark.parametrize("rights", EVERY_SET, ids=lambda rights: "+".join(sorted(rights)) or "none")
def test_who_may_make_which_key(transactional_db, rights):
    client = staff("add_apikey", *rights)
    views = "read_texts" in rights
    wide = views and "grant_service_wide" in rights
    erasing = wide and "grant_erasure" in rights
    wishes = {
        "one user": ({"user_id": "ada"}, views),
        "every user": ({"service_wide": "on"}, wide),
        "erasing": ({"service_wide": "on", "may_erase": "on"}, erasing),
    }
    for fields, is_given in wishes.values():
        ApiKey.objects.all().delete()
        make_key(client, **fields)
        made = ApiKey.objects.first()
        given = made and {
            "user_id": made.user_id,
            "service_wide": made.user_id == "",
            "may_erase": made.may_erase,
        }
        if is_given:
            assert given == {
                "user_id": fields.get("user_id", ""),
                "service_wide": "service_wide" in fields,
                "may_erase": "may_erase" in fields,
            }
        else:
            assert made is None or not (made.may_erase and not erasing)
            assert made is None or made.user_id or wide
    page = client.get(f"{KEYS}add/")
    assert (page.status_code == 200) == views
    offered = set(re.findall(r'name="(user_id|service_wide|may_erase)"', page.content.decode()))
    expected = {"user_id": views, "service_wide": wide, "may_erase": erasing}
    assert offered == {field for field, is_there in expected.items() if is_there}


@pytest.mark.parametrize("rights", EVERY_SET, ids=lambda rights: "+".join(sorted(rights)) or "none")
def test_who_may_give_a_key_more(transactional_db, rights):
    client = staff("add_apikey", "change_apikey", *rights)
    api_key, _ = ApiKey.objects.create_key(name="billing")
    later = {"expiry_date_0": "2036-01-01", "expiry_date_1": "00:00:00"}
    change_key(client, api_key, name="renamed", may_erase="on", **later)
    wide = {"read_texts", "grant_service_wide"} <= rights
    assert api_key.name == "renamed"
    assert api_key.may_erase == ({"grant_service_wide", "grant_erasure"} <= rights)
    assert (api_key.expiry_date is not None) == wide


def test_keys_are_deleted_together_or_not_at_all(root, monkeypatch):
    """Otherwise the log would say that a key is deleted with which somebody still reads."""
    keys = [ApiKey.objects.create_key(name=name)[0] for name in ("phone", "desk")]

    def fail(*arguments):
        raise OperationalError("database is locked")

    monkeypatch.setattr(QuerySet, "delete", fail)
    several = [api_key.pk for api_key in keys]
    form = {"action": "delete_selected", "_selected_action": several, "post": "yes"}
    assert root.post(KEYS, form).status_code == 503
    assert ApiKey.objects.count() == 2
    assert not AuditEntry.objects.filter(action="key deleted").exists()


@pytest.mark.parametrize("may_erase", [False, True])
def test_who_may_change_keys_may_revoke_any(transactional_db, may_erase):
    client = staff("change_apikey")
    api_key, _ = ApiKey.objects.create_key(name="billing", may_erase=may_erase)
    change_key(client, api_key, revoked="on")
    assert (api_key.revoked, api_key.may_erase) == (True, may_erase)


def test_the_key_that_cannot_be_bound_is_not_offered(root):
    assert root.get("/admin/rest_framework_api_key/").status_code == 404


class TestRotation:
    def rotate(self, client, api_key, overlap="24"):
        asked = {"overlap": overlap, "alike": key_rotation.count_alike(api_key)}
        return client.post(f"{KEYS}{api_key.pk}/rotate/", asked)

    @pytest.mark.parametrize(("overlap", "hours"), [("1", 1), ("24", 24), ("168", 168)])
    def test_both_keys_work_until_the_old_one_expires(self, root, overlap, hours):
        old, old_key = ApiKey.objects.create_key(name="billing", may_erase=True)
        assert "24 hours" in root.get(f"{KEYS}{old.pk}/rotate/").content.decode()
        page = self.rotate(root, old, overlap)
        new = api_keys.find(key_on(page))
        assert (new.name, new.user_id, new.may_erase, new.expiry_date) == (
            "billing",
            "",
            True,
            None,
        )
        old.refresh_from_db()
        left = old.expiry_date - timezone.now()
        assert timedelta(hours=hours) - left < timedelta(minutes=5)
        assert api_keys.find(old_key).pk == old.pk
        ApiKey.objects.filter(pk=old.pk).update(expiry_date=timezone.now())
        api_keys.forget()
        assert api_keys.find(old_key) is None
        assert api_keys.find(key_on(page)) is not None
        entry = AuditEntry.objects.get()
        assert (entry.action, entry.details["replaces"]) == ("key rotated", old.prefix)

    def test_a_key_that_expires_earlier_still_does_and_the_new_one_lives_as_long(self, root):
        soon = timezone.now() + timedelta(minutes=10)
        old, _ = ApiKey.objects.create_key(name="billing", user_id="ada", expiry_date=soon)
        new = api_keys.find(key_on(self.rotate(root, old)))
        old.refresh_from_db()
        assert old.expiry_date == soon
        assert new.user_id == "ada"
        assert timedelta(minutes=9) < new.expiry_date - new.created < timedelta(minutes=11)

    def test_a_key_for_as_good_as_ever_is_rotated(self, root):
        never = datetime.max.replace(tzinfo=UTC)
        old, _ = ApiKey.objects.create_key(name="billing", expiry_date=never)
        new = api_keys.find(key_on(self.rotate(root, old)))
        assert new.expiry_date == never

    @pytest.mark.parametrize("days", [None, 90])
    def test_a_key_whose_new_one_was_lost_is_rotated_again_for_as_long(self, root, days):
        """The overlap has shortened the old one's life, and must not shorten that of a new one."""
        ends = days and timezone.now() + timedelta(days=days)
        old, _ = ApiKey.objects.create_key(name="billing", expiry_date=ends)
        lost, again, third = (api_keys.find(key_on(self.rotate(root, old))) for _ in range(3))
        lives = [new.expiry_date and new.expiry_date - new.created for new in (lost, again, third)]
        about = timedelta(minutes=5)
        for life in lives:
            assert life is None if days is None else abs(life - timedelta(days=days)) < about
        old.refresh_from_db()
        assert old.expiry_date < timezone.now() + timedelta(hours=24)

    def test_a_key_that_was_given_another_end_after_a_rotation_is_not_without_one(self, root):
        old, _ = ApiKey.objects.create_key(name="billing")
        self.rotate(root, old)
        ends = timezone.now() + timedelta(days=30)
        ApiKey.objects.filter(pk=old.pk).update(expiry_date=ends)
        again = api_keys.find(key_on(self.rotate(root, old)))
        assert abs(again.expiry_date - ends) < timedelta(minutes=5)

    @pytest.mark.parametrize("overlap", ["", "2", "x"])
    def test_another_overlap_is_refused(self, root, overlap):
        old, _ = ApiKey.objects.create_key(name="billing")
        page = self.rotate(root, old, overlap)
        assert page.status_code == 400
        assert "Choose 1 hour, 24 hours or 7 days" in page.content.decode()
        assert ApiKey.objects.count() == 1

    def test_a_page_that_is_sent_twice_makes_one_key(self, root):
        old, _ = ApiKey.objects.create_key(name="service")
        asked = {"overlap": "24", "alike": 1}
        found = [root.post(f"{KEYS}{old.pk}/rotate/", asked) for _ in range(2)]
        assert [response.status_code for response in found] == [200, 409]
        assert "A key like this one was made" in found[1].content.decode()
        assert ApiKey.objects.count() == 2
        assert self.rotate(root, old).status_code == 200  # after a look at that page

    @pytest.mark.parametrize("rights", EVERY_SET, ids=lambda rights: "+".join(sorted(rights)))
    def test_who_could_make_the_key_may_rotate_it(self, transactional_db, rights):
        client = staff("add_apikey", "change_apikey", *rights)
        bound, _ = ApiKey.objects.create_key(name="bound", user_id="ada")
        wide, _ = ApiKey.objects.create_key(name="wide")
        erasing, _ = ApiKey.objects.create_key(name="erasing", may_erase=True)
        may = [self.rotate(client, key).status_code == 200 for key in (bound, wide, erasing)]
        reads, gives, erases = (right in rights for right in RIGHTS)
        assert may == [reads, reads and gives, reads and gives and erases]
        assert ApiKey.objects.count() == 3 + sum(may)

    def test_a_key_that_no_longer_works_is_not_rotated(self, root):
        revoked, _ = ApiKey.objects.create_key(name="billing", revoked=True)
        assert self.rotate(root, revoked).status_code == 403
        assert root.get(f"{KEYS}unknown/rotate/").status_code == 404
        root.raise_request_exception = False  # PostgreSQL has no such text, which is no outage
        assert root.get(f"{KEYS}un%00known/rotate/").status_code in (400, 404)
        assert "Rotate this key" not in root.get(f"{KEYS}{revoked.pk}/change/").content.decode()


def test_the_page_of_a_key_shows_its_use(root, key_uses):
    api_key, _ = ApiKey.objects.create_key(name="billing")
    page = f"{KEYS}{api_key.pk}/change/"
    assert "No calls in the last 30 days" in root.get(page).content.decode()
    for _ in range(1234):
        key_uses.called(api_key.prefix)
    key_uses.refused(api_key.prefix)
    key_uses.flush()
    shown = root.get(page).content.decode()
    assert "<td>1,234</td><td>1</td>" in shown
    assert f"{KEYS}{quote(api_key.pk)}/rotate/" in shown
    assert f"{timezone.now():%Y-%m-%d}" in shown
