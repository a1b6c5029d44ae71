"""Staff and groups in the admin: nobody gives rights but a superuser."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from tests.chat.forms import form_on

pytestmark = pytest.mark.every_sql(exhaustive=True)

USERS = "/admin/auth/user/"
GROUPS = "/admin/auth/group/"
PAGES = ["/admin/", USERS, f"{USERS}add/", GROUPS, f"{GROUPS}add/", "/admin/storage/apikey/"]
MANAGING = ["view", "add", "change", "delete"]


def client_of(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def root(transactional_db):
    return User.objects.create_superuser("root", password="right")


@pytest.fixture
def grace(transactional_db):
    """Staff who may do everything with users and groups, and nothing else."""
    user = User.objects.create_user("grace", is_staff=True)
    names = [f"{verb}_{model}" for verb in MANAGING for model in ("user", "group")]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


def user_form(user, **fields):
    times = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    return {"username": user.username, "is_active": "on", **times} | fields


def test_pages_are_served(root):
    client = client_of(root)
    for page in PAGES:
        assert client.get(page).status_code == 200, page


def test_superusers_give_rights(root):
    eve = User.objects.create_user("eve")
    client_of(root).post(f"{USERS}{eve.pk}/change/", user_form(eve, is_superuser="on"))
    eve.refresh_from_db()
    assert eve.is_superuser


def test_a_page_that_was_opened_before_gives_no_right_back(root):
    """One superuser takes rights away from an account while another enters its address."""
    eve = User.objects.create_superuser("eve", password="secret")
    eve.groups.add(Group.objects.create(name="clerks"))
    page = client_of(root).get(f"{USERS}{eve.pk}/change/")
    assert eve.password not in page.content.decode()
    form = form_on(page)
    assert form["is_active"] == form["is_superuser"] == ["on"]
    assert len(form["groups"]) == 1
    User.objects.filter(pk=eve.pk).update(is_active=False, is_superuser=False)
    eve.groups.clear()
    client_of(root).post(f"{USERS}{eve.pk}/change/", form | {"email": "eve@example.org"})
    eve = User.objects.get(pk=eve.pk)
    assert (eve.email, eve.is_active, eve.is_superuser) == ("eve@example.org", False, False)
    assert not eve.groups.exists()
    assert eve.check_password("secret")


def test_groups_that_were_chosen_on_a_page_that_came_again_with_a_mistake_count(root):
    eve = User.objects.create_user("eve")
    group = Group.objects.create(name="clerks")
    page, client = f"{USERS}{eve.pk}/change/", client_of(root)
    wrong = {"groups": [str(group.pk)], "email": "no address"}
    again = client.post(page, form_on(client.get(page)) | wrong)
    assert again.status_code == 200
    assert client.post(page, form_on(again) | {"email": "eve@example.org"}).status_code == 302
    assert list(eve.groups.all()) == [group]


def test_a_page_that_was_opened_before_gives_a_group_no_permission_back(root):
    group = Group.objects.create(name="clerks")
    rights = Permission.objects.filter(codename__in=["view_user", "grant_erasure"])
    group.permissions.set(rights)
    form = form_on(client_of(root).get(f"{GROUPS}{group.pk}/change/"))
    assert len(form["permissions"]) == 2
    group.permissions.remove(rights.get(codename="grant_erasure"))
    client_of(root).post(f"{GROUPS}{group.pk}/change/", form | {"name": "officers"})
    group.refresh_from_db()
    names = list(group.permissions.values_list("codename", flat=True))
    assert (group.name, names) == ("officers", ["view_user"])


def test_staff_make_no_superuser_of_themselves(grace):
    every = [str(permission.pk) for permission in Permission.objects.all()]
    form = user_form(
        grace, email="g@example.org", is_superuser="on", is_staff="on", user_permissions=every
    )
    client_of(grace).post(f"{USERS}{grace.pk}/change/", form)
    grace.refresh_from_db()
    assert grace.email == "g@example.org"
    assert not grace.is_superuser
    assert grace.user_permissions.count() == 8


def test_staff_give_no_permission_to_their_group(grace):
    group = Group.objects.create(name="clerks")
    grace.groups.add(group)
    right = Permission.objects.get(codename="grant_erasure")
    client_of(grace).post(
        f"{GROUPS}{group.pk}/change/", {"name": "officers", "permissions": [right.pk]}
    )
    group.refresh_from_db()
    assert (group.name, group.permissions.count()) == ("officers", 0)


@pytest.mark.parametrize("page", ["change/", "password/", "delete/"])
@pytest.mark.parametrize("kind", ["superuser", "more rights", "no rights"])
def test_staff_touch_no_account_with_more_rights(grace, kind, page):
    other = User.objects.create_user("other", is_superuser=kind == "superuser")
    if kind == "more rights":
        other.user_permissions.add(Permission.objects.get(codename="view_chatinteraction"))
    form = user_form(other, email="new@example.org", post="yes")
    form |= {"password1": "Entirely-new-7", "password2": "Entirely-new-7"}
    before = User.objects.filter(pk=other.pk).values().first()
    client_of(grace).post(f"{USERS}{other.pk}/{page}", form)
    after = User.objects.filter(pk=other.pk).values().first()
    assert (after == before) == (kind != "no rights")


@pytest.mark.parametrize("is_given_by", ["account", "group", "superuser"])
def test_staff_take_over_no_account_that_is_switched_off(grace, is_given_by):
    """Django says that it has no permissions; it has them again once it is switched on."""
    fields = {"is_active": False, "is_superuser": is_given_by == "superuser"}
    other = User.objects.create_user("other", password="theirs", is_staff=True, **fields)
    right = Permission.objects.get(codename="view_chatinteraction")
    if is_given_by == "group":
        group = Group.objects.create(name="viewers")
        group.permissions.add(right)
        other.groups.add(group)
    elif is_given_by == "account":
        other.user_permissions.add(right)
    client = client_of(grace)
    passwords = {"password1": "Entirely-new-7", "password2": "Entirely-new-7"}
    assert client.post(f"{USERS}{other.pk}/change/", user_form(other)).status_code == 403
    assert client.post(f"{USERS}{other.pk}/password/", passwords).status_code == 403
    other.refresh_from_db()
    assert not other.is_active
    assert other.check_password("theirs")


def test_staff_switch_an_account_on_that_has_no_more_rights(grace):
    other = User.objects.create_user("other", is_active=False)
    client_of(grace).post(f"{USERS}{other.pk}/change/", user_form(other))
    other.refresh_from_db()
    assert other.is_active


def test_staff_delete_no_account_with_more_rights_in_a_list(grace, root):
    form = {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes"}
    client_of(grace).post(USERS, form)
    assert User.objects.filter(pk=root.pk).exists()


@pytest.mark.parametrize("chosen", ["", "x", "9" * 40])
def test_who_chooses_what_no_list_has_deletes_nothing(root, chosen):
    client = client_of(root)
    client.raise_request_exception = False
    form = {"action": "delete_selected", "_selected_action": [chosen], "post": "yes"}
    assert client.post(USERS, form).status_code in (302, 400)
    assert User.objects.filter(pk=root.pk).exists()
