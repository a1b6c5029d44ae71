"""Every page of the admin, for every kind of account: what it needs, and that nothing less will do.

The pages come from the URL configuration, what they need from the table here.
"""

import itertools
import logging
import re
from datetime import date
from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import URLResolver, get_resolver

from storage.models import ApiKey, ChatInteraction, ModelPrice

ROLES = import_module("storage.migrations.0012_roles").ROLES

SINGLE = [
    *("view_chatinteraction", "read_texts", "export_user", "erase_user", "hold_user"),
    *("restore_day", "view_auditentry", "view_usageofmodel", "view_intakecount"),
    *("view_apikey", "add_apikey", "change_apikey", "delete_apikey", "grant_service_wide"),
    *("view_user", "add_user", "change_user", "delete_user", "view_group", "change_group"),
]

ANYBODY, STAFF, NOBODY, ELSEWHERE = "anybody", "staff", "nobody", "elsewhere"
"""Pages without a login, pages of all staff, pages that are closed to superusers, too, and old
addresses that lead to another page of this table."""

NOTHING = "nothing there"


def needs(*permissions):
    """Staff with one of these; several that are needed together are joined with a +."""
    return frozenset(permissions)


def of_model(name):
    """What Django's pages of a model need."""
    return {
        "": needs(f"view_{name}", f"change_{name}"),
        "add/": needs(f"add_{name}"),
        "<object_id>/change/": needs(f"view_{name}", f"change_{name}"),
        "<object_id>/history/": needs(f"view_{name}", f"change_{name}"),
        "<object_id>/delete/": needs(f"delete_{name}"),
        "<object_id>/": ELSEWHERE,
    }


VIEW = needs("view_chatinteraction")
INTERACTIONS = {
    **of_model("chatinteraction"),
    "": VIEW,
    "add/": NOBODY,
    "<object_id>/change/": VIEW,
    "<object_id>/history/": VIEW,
    "<object_id>/delete/": NOBODY,
    "user/": VIEW,
    # The actions on a user.
    "user/export/": needs("export_user"),
    "user/erase/": needs("erase_user"),
    "user/hold/": needs("hold_user"),
    "user/lift/": needs("hold_user"),
    "erasure/<erasure_id>/": needs("erase_user"),
    "erasure/<erasure_id>/continue/": needs("erase_user"),
    "holds/": needs("hold_user"),
    "restore/": needs("restore_day"),
}
KEYS = {
    **of_model("apikey"),
    # Whoever sees a new key could read with it.
    "add/": needs("add_apikey+view_chatinteraction+read_texts"),
    "<object_id>/rotate/": needs(
        "change_apikey+add_apikey+view_chatinteraction+read_texts+grant_service_wide"
    ),
}
TABLE = {
    "": STAFF,
    "login/": ANYBODY,
    "logout/": STAFF,
    "password_change/": STAFF,
    "password_change/done/": STAFF,
    "autocomplete/": NOBODY,
    "jsi18n/": STAFF,
    "search/": NOTHING,
    "r/<content_type_id>/<object_id>/": NOTHING,
    "^(?P<app_label>auth|storage)/$": STAFF,  # a list of what they may see, or nothing
    "(?P<url>.*)$": NOTHING,
    "storage/intakecount/": needs("view_intakecount"),
    "storage/auditentry/": needs("view_auditentry"),
    "storage/auditentry/export/": needs("view_auditentry"),
    **{f"storage/chatinteraction/{page}": need for page, need in INTERACTIONS.items()},
    **{f"storage/apikey/{page}": need for page, need in KEYS.items()},
    **{f"storage/modelprice/{page}": need for page, need in of_model("modelprice").items()},
    **{f"auth/user/{page}": need for page, need in of_model("user").items()},
    # Without the right to see staff, Django's page of a new one could be used to find names.
    "auth/user/add/": needs("add_user+change_user"),
    "auth/user/<id>/password/": needs("change_user"),
    **{f"auth/group/{page}": need for page, need in of_model("group").items()},
}

OPEN = {ELSEWHERE: (302,), NOTHING: (404,), STAFF: (200, 404)}

SEEN = (200, 302, 400, 404, 405)
"""Of a page that is open: it was reached, whatever it says to a request without parameters."""


def routes(patterns=None, prefix=""):
    """Every route of the admin; `<str:user_id>` as `<user_id>`."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + re.sub(r"<\w+:(\w+)>", r"<\1>", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif route.startswith("admin/"):
            yield route.removeprefix("admin/")


ROUTES = sorted(set(routes()))


def is_met(need, has):
    """Whether who has these permissions has enough of them."""
    return any(set(together.split("+")) <= has for together in need)


def without(need):
    """Each smallest set of permissions whose lack closes a page, whatever else somebody has."""
    if isinstance(need, str):  # STAFF and the like
        return set()
    return {frozenset(each) for each in itertools.product(*(ways.split("+") for ways in need))}


def all_but(lacks):
    """The name of an account."""
    return f"everything but {' '.join(sorted(lacks))}"


LACKS = set().union(*map(without, TABLE.values()))


class Accounts:
    """Kinds of accounts by name, with their permissions. Each is made when it is first needed."""

    def __init__(self):
        self._every = {found.codename: found for found in Permission.objects.all()}
        every = frozenset(self._every)
        self.staff = {
            "staff without any permission": frozenset(),
            **{f"only {codename}": frozenset({codename}) for codename in SINGLE},
            **{role: frozenset(codenames) for role, codenames in ROLES.items()},
            "Operator and Reader": frozenset(
                {*ROLES["Operator"], *ROLES["Reader"], "grant_service_wide"}
            ),
            **{all_but(lacks): every - lacks for lacks in LACKS},
            "superuser": every,
        }
        # Who is refused as if nobody had logged in.
        self.strangers = {
            "anonymous": None,
            "no staff": {"is_staff": False},
            "superuser who is no staff": {"is_staff": False, "is_superuser": True},
            "inactive superuser": {"is_superuser": True},
        }
        self._clients = {}

    def client(self, name):
        if name not in self._clients:
            self._clients[name] = Client(raise_request_exception=False)
            if name != "anonymous":
                self._clients[name].force_login(self._user(name))
            User.objects.filter(username="inactive superuser").update(is_active=False)
        return self._clients[name]

    def _user(self, name):
        if name in self.strangers:
            return User.objects.create(username=name, **{"is_staff": True} | self.strangers[name])
        user = User.objects.create(username=name, is_staff=True, is_superuser=name == "superuser")
        roles = [role for role in ROLES if role in name.split(" and ")]
        user.groups.set(self._group(role) for role in roles)
        if name != "superuser" and name not in ROLES:
            of_roles = {codename for role in roles for codename in ROLES[role]}
            own = self.staff[name] - of_roles
            user.user_permissions.set(self._every[codename] for codename in own)
        return user

    def _group(self, role):
        group, _ = Group.objects.get_or_create(name=role)  # the first test has the migration's
        group.permissions.set(self._every[codename] for codename in ROLES[role])
        return group


@pytest.fixture
def accounts(transactional_db):
    return Accounts()


@pytest.fixture
def path_of(accounts, storage, make_interaction):
    """Turns a route into the address of something that is there."""
    storage.save_interaction_sync(make_interaction(interaction_id="one", user_id="ada"))
    api_key, _ = ApiKey.objects.create_key(name="billing")
    price = ModelPrice.objects.create(
        model_used="model-1", valid_from=date(2026, 11, 1), input_price=1, output_price=2
    )
    somebody = User.objects.create(username="somebody")
    type_id = ContentType.objects.get_for_model(ChatInteraction).pk
    objects = {
        "chatinteraction/<object_id>": "chatinteraction/one",
        "apikey/<object_id>": f"apikey/{api_key.pk}",
        "modelprice/<object_id>": f"modelprice/{price.pk}",
        "group/<object_id>": f"group/{Group.objects.create(name='clerks').pk}",
        "<object_id>": str(somebody.pk),
        "<id>": str(somebody.pk),
        "<content_type_id>": str(type_id),
        "^(?P<app_label>auth|storage)/$": "storage/",
        "(?P<url>.*)$": "no/such/page/",
    }

    def path(route):
        for placeholder, value in objects.items():
            route = route.replace(placeholder, value)
        return "/admin/" + re.sub(r"<\w+>", "unknown", route)

    return path


def test_every_page_has_a_row():
    missing = [route for route in ROUTES if route not in TABLE]
    assert not missing, f"Decide who may open these, and add them to TABLE of {__file__}."


@pytest.fixture
def _quiet():
    """Two thousand refusals are logged with their tracebacks, which takes longer than they do."""
    logger = logging.getLogger("django.request")
    logger.disabled = True
    yield
    logger.disabled = False


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize(
    "everybody", [False, pytest.param(True, marks=pytest.mark.exhaustive)], ids=["some", "each"]
)
def test_nobody_opens_a_page_without_what_it_needs(accounts, path_of, everybody):
    """Who has everything but that is refused. So is then who has less, which `everybody` tries."""
    wrong = []

    def check(name, route, methods, expected):
        for method in methods:
            status = accounts.client(name).generic(method, path_of(route)).status_code
            if status not in expected:
                wrong.append(f"{method} {route} by {name}: {status}")

    ends = ("staff without any permission", "superuser")
    strangers = accounts.strangers if everybody else ["no staff", "superuser who is no staff"]
    for route in [route for route in ROUTES if route not in ("login/", "logout/")]:
        need = TABLE[route]
        for name in strangers:
            check(name, route, ["GET", "POST"], (302,))
        if need in OPEN:
            for name in ends:
                check(name, route, ["GET"], OPEN[need])
        elif need == NOBODY:
            for name in ends:
                check(name, route, ["GET", "POST"], (403, 404, 405))
        else:
            met = [name for name, has in accounts.staff.items() if is_met(need, has)]
            unmet = [name for name in accounts.staff if name not in met]
            just_too_few = [*map(all_but, without(need))]
            for name in met if everybody else met[:1]:  # who has least comes first
                check(name, route, ["GET"], SEEN)
            for name in unmet if everybody else [*just_too_few, ends[0]]:
                check(name, route, ["GET", "POST"], (403, 405))
    assert wrong == []


def test_an_account_that_loses_its_rights_loses_them_at_once(accounts, path_of):
    client = accounts.client("Reader")
    assert client.get(path_of("storage/chatinteraction/")).status_code == 200
    Group.objects.get(name="Reader").permissions.clear()
    assert client.get(path_of("storage/chatinteraction/")).status_code == 403


def test_superusers_are_not_exempt_from_the_audit(accounts, path_of):
    client = accounts.client("superuser")
    for route in ("storage/auditentry/1/delete/", "storage/auditentry/add/"):
        assert client.post(path_of(route), {"post": "yes"}).status_code == 404


@pytest.mark.skipif(not apps.is_installed("unfold"), reason="Django's own admin has no such page")
@pytest.mark.parametrize("query", ["", "s=key", "s=key&page=x", "s=key&page=9", "s=key&extended=1"])
def test_the_search_of_the_theme_is_closed(accounts, query):
    """No page leads there. It fails: what it finds is no JSON, which alone can be kept in Redis."""
    assert accounts.client("superuser").get(f"/admin/search/?{query}").status_code == 404
