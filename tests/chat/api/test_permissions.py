"""Who may do what: every route, every method, every kind of caller.

The routes and methods come from the URL configuration, the answers from the table here.
"""

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import URLResolver, get_resolver
from django.utils import timezone

from storage.accounts import api_keys
from storage.models import ApiKey
from storage.records.json import to_json
from storage.sqlite.database import SqliteDatabase
from tests.chat.calls import BATCH, INTERACTIONS, LOOKUP, new, one, reveal, seen
from tests.chat.usage_rows import priced

pytestmark = pytest.mark.every_backend
ABOUT_ACCOUNTS = pytest.mark.on_sqlite("keys and sessions are in the SQL database")

CALLERS = [
    "anonymous",
    "garbage key",
    "revoked key",
    "expired key",
    "service-wide key",
    "key of the user",
    "key of another user",
    "staff who may view",
    "staff who may not",
    "session without staff",
]

# The expected statuses, in the order of CALLERS: four who show no valid key, three keys,
# three sessions.
READ = "401 401 401 401 200 200 404 200 403 401"
READ_USER = "401 401 401 401 200 200 403 200 403 401"
READ_USAGE = "401 401 401 401 200 200 200 200 403 401"  # a bound key: its own user's
READ_ALL = "401 401 401 401 200 403 403 200 403 401"
CREATE = "401 401 401 401 201 201 403 403 403 401"
CREATE_MANY = "401 401 401 401 200 200 403 403 403 401"
LOOK_UP = "401 401 401 401 200 200 403 403 403 401"
COMPLETE = "401 401 401 401 200 200 404 403 403 401"
DELETE = "401 401 401 401 204 204 404 403 403 401"
ERASE = "401 401 401 401 403 403 403 403 403 401"  # a permission that none of these has
EVERYONE = "200 200 200 200 200 200 200 200 200 200"
REDIRECT = "302 302 302 302 302 302 302 302 302 302"
# The admin: a key is no login, so all but staff are led to the login page (302).
ADMIN = "302 302 302 302 302 302 302 200 200 302"
ADMIN_VIEW = "302 302 302 302 302 302 302 200 403 302"
ADMIN_REASON = "302 302 302 302 302 302 302 400 403 302"  # revealing takes one
ADMIN_NO_USER = ADMIN_REASON  # the page of a user needs one
ADMIN_CLOSED = "302 302 302 302 302 302 302 403 403 302"
ADMIN_NOTHING = "302 302 302 302 302 302 302 404 404 302"
ADMIN_LOGIN = "200 200 200 200 200 200 200 302 302 200"
ADMIN_NOT_SO = "302 302 302 302 302 302 302 405 405 302"

SEARCH = "401 401 401 401 200 200 200 200 403 401"  # a user's key finds its own
INGEST = "401 401 401 401 200 200 200 403 403 401"

INTERACTION = "api/v1/interactions/<interaction_id>/"
TABLE = {
    "api/v1/interactions/": {"GET": READ_ALL, "HEAD": READ_ALL, "POST": CREATE},
    "api/v1/interactions/batch/": {
        "GET": READ,
        "HEAD": READ,
        "POST": CREATE_MANY,
        "PATCH": COMPLETE,
        "DELETE": DELETE,
    },
    "api/v1/interactions/lookup/": {
        "GET": READ,
        "HEAD": READ,
        "POST": LOOK_UP,
        "PATCH": COMPLETE,
        "DELETE": DELETE,
    },
    "api/v1/interactions/search/": {
        "GET": SEARCH,
        "HEAD": SEARCH,
        "PATCH": COMPLETE,
        "DELETE": DELETE,
    },
    INTERACTION: {"GET": READ, "HEAD": READ, "PATCH": COMPLETE, "DELETE": DELETE},
    "api/v1/users/<user_id>/interactions/": {"GET": READ_USER, "HEAD": READ_USER},
    "api/v1/users/<user_id>/export/": {"GET": ERASE, "HEAD": ERASE},
    "api/v1/users/<user_id>/": {"DELETE": ERASE},
    "api/v1/usage/": {"GET": READ_USAGE, "HEAD": READ_USAGE},
    "api/v1/erasures/<erasure_id>/": {"GET": ERASE, "HEAD": ERASE},
    "^api/otlp/v1/traces/?$": {"POST": INGEST},
    "^api/otlp/v1/logs/?$": {"POST": INGEST},
    "^api/public/otel/v1/traces/?$": {"POST": INGEST},
    "^api/v1/ingest/litellm/?$": {"POST": INGEST},
    "api/v1/status/": {"GET": READ_ALL, "HEAD": READ_ALL},
    "api/schema/": {"GET": EVERYONE, "HEAD": EVERYONE},
    "api/docs/": {"GET": EVERYONE, "HEAD": EVERYONE},
    "healthz": {"GET": EVERYONE, "POST": EVERYONE},
    "readyz": {"GET": EVERYONE, "POST": EVERYONE},
    "metrics": {"GET": READ_ALL, "HEAD": READ_ALL},
    "": dict.fromkeys(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], REDIRECT),
    "admin/": {"GET": ADMIN, "POST": ADMIN},
    "admin/login/": {"GET": ADMIN_LOGIN, "POST": "200 200 200 200 200 200 200 200 200 200"},
    "admin/logout/": {"GET": ADMIN_NOT_SO, "POST": ADMIN},
    "admin/password_change/": {"GET": ADMIN, "POST": ADMIN},
    "admin/password_change/done/": {"GET": ADMIN, "POST": ADMIN_NOT_SO},
    "admin/autocomplete/": {"GET": ADMIN_CLOSED, "POST": ADMIN_NOT_SO},
    "admin/jsi18n/": {"GET": ADMIN, "POST": ADMIN_NOT_SO},
    "admin/r/<content_type_id>/<object_id>/": {
        "GET": ADMIN_NOTHING,
        "POST": ADMIN_NOTHING,
    },
    "admin/^(?P<app_label>auth|storage)/$": {
        "GET": "302 302 302 302 302 302 302 200 404 302",
        "POST": "302 302 302 302 302 302 302 200 404 302",
    },
    "admin/(?P<url>.*)$": {"GET": ADMIN_NOTHING, "POST": ADMIN_NOTHING},
}
if apps.is_installed("unfold"):
    TABLE["admin/search/"] = {"GET": ADMIN_NOTHING, "POST": ADMIN_NOTHING}

OTLP = ("/api/otlp/v1/traces", "/api/otlp/v1/logs", "/api/public/otel/v1/traces")

# It has a permission of its own, which none of these has.
TABLE["admin/storage/intakecount/"] = {"GET": ADMIN_CLOSED, "POST": ADMIN_NOT_SO}
for _page in ("", "export/"):
    TABLE[f"admin/storage/auditentry/{_page}"] = {"GET": ADMIN_CLOSED, "POST": ADMIN_NOT_SO}
TABLE["admin/storage/apikey/<object_id>/rotate/"] = {"GET": ADMIN_CLOSED, "POST": ADMIN_CLOSED}
SEEN = "admin/storage/chatinteraction/"
TABLE |= {
    SEEN: {"GET": ADMIN_VIEW, "POST": ADMIN_NOT_SO},
    f"{SEEN}add/": {"GET": ADMIN_CLOSED, "POST": ADMIN_CLOSED},
    f"{SEEN}<object_id>/history/": {"GET": ADMIN_VIEW, "POST": ADMIN_REASON},
    f"{SEEN}<object_id>/delete/": {"GET": ADMIN_CLOSED, "POST": ADMIN_CLOSED},
    f"{SEEN}<object_id>/change/": {"GET": ADMIN_VIEW, "POST": ADMIN_REASON},
}
# Each has a permission of its own, which none of these has.
TABLE |= {
    f"{SEEN}user/": {"GET": ADMIN_NO_USER, "POST": ADMIN_NOT_SO},
    f"{SEEN}user/export/": {"GET": ADMIN_CLOSED, "POST": ADMIN_CLOSED},
    f"{SEEN}user/erase/": {"GET": ADMIN_CLOSED, "POST": ADMIN_CLOSED},
    f"{SEEN}user/hold/": {"GET": ADMIN_CLOSED, "POST": ADMIN_CLOSED},
    f"{SEEN}user/lift/": {"GET": ADMIN_CLOSED, "POST": ADMIN_CLOSED},
    f"{SEEN}erasure/<erasure_id>/": {"GET": ADMIN_CLOSED, "POST": ADMIN_NOT_SO},
    f"{SEEN}erasure/<erasure_id>/continue/": {"GET": ADMIN_NOT_SO, "POST": ADMIN_CLOSED},
    f"{SEEN}holds/": {"GET": ADMIN_CLOSED, "POST": ADMIN_NOT_SO},
    f"{SEEN}restore/": {"GET": ADMIN_CLOSED, "POST": ADMIN_CLOSED},
}
for _model in ("storage/apikey", "storage/modelprice", "auth/user", "auth/group"):
    for _page in (
        "",
        "add/",
        "<object_id>/history/",
        "<object_id>/delete/",
        "<object_id>/change/",
    ):
        TABLE[f"admin/{_model}/{_page}"] = {"GET": ADMIN_CLOSED, "POST": ADMIN_CLOSED}
TABLE["admin/auth/user/<id>/password/"] = {"GET": ADMIN_CLOSED, "POST": ADMIN_CLOSED}
for _model in (
    "storage/chatinteraction",
    "storage/apikey",
    "storage/modelprice",
    "auth/user",
    "auth/group",
):
    # Django's redirect from an old address; where it leads is closed to those it is closed to.
    TABLE[f"admin/{_model}/<object_id>/"] = dict.fromkeys(
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], REDIRECT
    )


def routes(patterns=None, prefix=""):
    """Every route of the URL configuration with its view; `<id:user_id>` as `<user_id>`."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + re.sub(r"<\w+:(\w+)>", r"<\1>", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route, pattern.callback


def methods(view):
    """The methods that a view allows. Those that are functions take any; two tell enough."""
    view_class = getattr(view, "cls", None) or getattr(view, "view_class", None)
    if view_class is None:
        return ["GET", "POST"]
    arguments = getattr(view, "initkwargs", None) or getattr(view, "view_initkwargs", {})
    allowed = arguments.get("http_method_names", view_class.http_method_names)
    handled = [name for name in allowed if hasattr(view_class, name)]
    if "get" in handled and "head" in allowed:
        handled.append("head")
    return sorted({name.upper() for name in handled})


METHODS = {}
for _route, _view in routes():
    METHODS.setdefault(_route, []).extend(methods(_view))
CASES = {(route, method) for route, allowed in METHODS.items() for method in allowed}


@dataclass(frozen=True)
class World:
    """What the callers meet."""

    paths: dict[str, Any]
    sessions: dict[str, User]
    keys: dict[str, str]
    make: Any
    clients: dict[str, Client]

    def client(self, caller):
        """One for all requests of a caller: a login takes longer than most of them."""
        if caller not in self.clients:
            self.clients[caller] = self._new_client(caller)
        return self.clients[caller]

    def _new_client(self, caller):
        client = Client(raise_request_exception=False)
        if caller in self.sessions:
            client.force_login(self.sessions[caller])
            reveal(client, "ada")
        if caller in self.keys:
            client.defaults["HTTP_AUTHORIZATION"] = f"Api-Key {self.keys[caller]}"
        return client

    def send(self, caller, route, method):
        """A sound request to the route, for what belongs to the user; it is there again then."""
        response = self._answer(caller, route, method)
        if response.status_code == 204:
            self.make()
        return response

    def _answer(self, caller, route, method):
        path = "/" + route
        for placeholder, value in self.paths.items():
            path = path.replace(placeholder, value)
        if path in OTLP:
            return self.client(caller).generic(method, path, CONTENT_TYPE="application/x-protobuf")
        if not path.startswith("/api/v1/"):
            return self.client(caller).generic(method, path)
        body = {"response": "r"} if method == "PATCH" else new()
        if (method, path) == ("POST", BATCH):
            body = {"interactions": [new()]}
        if (method, path) == ("POST", LOOKUP):
            body = {"user_id": "ada", "message": "asked"}
        return self.client(caller).generic(method, path, json.dumps(body), "application/json")


@pytest.fixture
def world(storage, make_interaction):
    """An interaction of ada, one of every caller, and one of every object of the admin."""
    viewer = User.objects.create(username="viewer", is_staff=True)
    rights = ["view_chatinteraction", "read_texts", "view_usageofmodel"]
    viewer.user_permissions.set(Permission.objects.filter(codename__in=rights))
    sessions = {
        "staff who may view": viewer,
        "staff who may not": User.objects.create(username="staff", is_staff=True),
        "session without staff": User.objects.create(username="visitor"),
    }
    keys = {"garbage key": "garbage"}
    for caller, fields in {
        "revoked key": {"revoked": True},
        "expired key": {"expiry_date": timezone.now() - timedelta(seconds=1)},
        "service-wide key": {},
        "key of the user": {"user_id": "ada"},
        "key of another user": {"user_id": "eve"},
    }.items():
        api_key, keys[caller] = ApiKey.objects.create_key(name=caller, **fields)
    paths = {
        "<interaction_id>": "one",
        "<user_id>": "ada",
        "storage/chatinteraction/<object_id>": "storage/chatinteraction/one",
        "storage/apikey/<object_id>": f"storage/apikey/{api_key.pk}",
        "storage/modelprice/<object_id>": f"storage/modelprice/{priced().pk}",
        "auth/group/<object_id>": f"auth/group/{Group.objects.create(name='group').pk}",
        "<content_type_id>": str(ContentType.objects.get_for_model(User).pk),
        "<object_id>": str(viewer.pk),
        "<id>": str(viewer.pk),
        "^(?P<app_label>auth|storage)/$": "storage/",
        "(?P<url>.*)$": "no/such/page/",
        "^api/": "api/",
        "/?$": "",
    }

    def make():
        storage.create_interactions_sync(
            [
                make_interaction(interaction_id=name, message="asked", response="answered")
                for name in ("one", "batch", "lookup", "search")
            ]
        )

    make()
    return World(paths, sessions, keys, make, {})


def assert_as_in_table(world, route, callers=CALLERS):
    for method in METHODS[route]:
        expected = TABLE.get(route, {}).get(method)
        assert expected is not None, (
            f"{method} /{route} is not in TABLE of {__file__}. Decide who may call it, and add: "
            f"TABLE[{route!r}][{method!r}] = one status for each of {', '.join(CALLERS)}."
        )
        statuses = dict(zip(CALLERS, map(int, expected.split()), strict=True))
        found = {caller: world.send(caller, route, method).status_code for caller in callers}
        assert found == {caller: statuses[caller] for caller in callers}, f"{method} /{route}"


def together(route):
    """What it is tried together with, in one world: what it changes must not matter to them."""
    if route == "admin/logout/":
        return route
    first, *others = route.lstrip("^").split("/")
    return "/".join([first, *others[:2]]) if first == "admin" and len(others) > 2 else first


def for_each(of_routes):
    groups = {}
    for route in of_routes:
        groups.setdefault(together(route), []).append(route)
    return pytest.mark.parametrize("group", groups.values(), ids=[f"/{name}" for name in groups])


# The pages of the admin and of the documentation that show no interactions know no backend.
OF_A_BACKEND = [
    route for route in METHODS if route.startswith(("api/v1/", "metrics", "readyz", SEEN))
]
OTHERS = [route for route in METHODS if route not in OF_A_BACKEND]
IN_THE_ADMIN = [route for route in METHODS if route.startswith("admin/")]

# Keys, accounts and permissions are in the SQL database on every backend. Whoever is refused for
# lack of them never reaches the interactions.
WITH_ACCESS = [*CALLERS[4:7], "staff who may view"]

# The admin looks at no key, so that one tells enough; `tests/chat/admin/test_permission_matrix.py`
# has every kind of session.
OF_THE_ADMIN = ["anonymous", "service-wide key", "staff who may view", "staff who may not"]


def assert_all_as_in_table(world, group, callers=CALLERS):
    for route in group:
        some = [caller for caller in OF_THE_ADMIN if caller in callers]
        assert_as_in_table(world, route, some if route in IN_THE_ADMIN else callers)


@for_each(OF_A_BACKEND)
def test_routes_to_interactions_answer_every_caller_as_the_table_says(world, storage, group):
    is_on_sqlite = isinstance(storage.database, SqliteDatabase)
    assert_all_as_in_table(world, group, CALLERS if is_on_sqlite else WITH_ACCESS)


@pytest.mark.on_sqlite("these routes do not reach the interactions")
@for_each(OTHERS)
def test_all_other_routes_answer_every_caller_as_the_table_says(world, group):
    assert_all_as_in_table(world, group)


@pytest.mark.exhaustive
@ABOUT_ACCOUNTS
@for_each(IN_THE_ADMIN)
def test_the_admin_answers_the_other_callers_as_the_table_says(world, group):
    for route in group:
        assert_as_in_table(world, route, [each for each in CALLERS if each not in OF_THE_ADMIN])


def test_the_table_has_no_route_or_method_that_is_gone():
    rows = {(route, method) for route, allowed in TABLE.items() for method in allowed}
    assert rows - CASES == set()


@ABOUT_ACCOUNTS
def test_other_methods_are_refused_with_the_list_of_those_allowed(world):
    for route in [route for route in TABLE if route.startswith("api/v1/")]:
        others = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - set(
            TABLE[route]
        )
        # As in the schema: the other methods are for the interaction with such an id.
        named = set(TABLE[route])
        if route.endswith(("batch/", "lookup/")):
            named = {"POST"}
        elif route.endswith("search/"):
            named = {"GET", "HEAD"}
        for method in others:
            response = world.send("service-wide key", route, method)
            assert response.status_code == 405, (method, route)
            assert set(response["Allow"].split(", ")) == named, (method, route)
            assert world.send("anonymous", route, method).status_code == 401, (method, route)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE"])
def test_another_users_interaction_looks_like_none_at_all(world, storage, method):
    foreign = seen(world.send("key of another user", INTERACTION, method))
    assert storage.delete_interaction_sync("one"), "the foreign call has deleted it"
    path, body = one("one"), json.dumps({"response": "r"})
    client = world.client("key of another user")
    missing = seen(client.generic(method, path, body, "application/json"))
    assert foreign == missing
    assert foreign[0] == 404


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_nothing_of_another_user_is_changed(world, storage, method):
    before = storage.get_interaction_sync("one")
    world.send("key of another user", INTERACTION, method)
    after = storage.get_interaction_sync("one")
    assert to_json(after) == to_json(before)


NO_KEYS = [
    "",
    "Api-Key",
    "Api-Key ",
    "Bearer {}",
    "Token {}",
    "Basic {}",
    "{}",
    "Api-Key {}x",
    "Api-Key x{}",
    "Api-Key née",
    "Api-Key a.b.c",
    "Api-Key .",
    "Api-Key " + "x" * 5000,
    'Api-Key "{}"',
    "Api-Key {} {}",
]


@ABOUT_ACCOUNTS
def test_what_is_not_quite_a_key_is_refused(world):
    client = Client()
    for form in NO_KEYS:
        header = form.replace("{}", world.keys["service-wide key"])
        response = client.get(INTERACTIONS, headers={"Authorization": header})
        assert response.status_code == 401, form
        assert response["WWW-Authenticate"] == "Api-Key", form


@ABOUT_ACCOUNTS
def test_the_word_before_the_key_may_be_in_any_case(world):
    headers = {"Authorization": f"API-KEY  {world.keys['service-wide key']} "}
    assert Client().get(INTERACTIONS, headers=headers).status_code == 200


@ABOUT_ACCOUNTS
def test_a_key_that_is_revoked_while_in_use_stops_working_within_seconds(world, monkeypatch):
    client = world.client("service-wide key")
    assert client.get(INTERACTIONS).status_code == 200
    ApiKey.objects.filter(name="service-wide key").update(revoked=True)
    later = api_keys.time.monotonic() + 5
    monkeypatch.setattr(api_keys.time, "monotonic", lambda: later)
    assert client.get(INTERACTIONS).status_code == 401


@ABOUT_ACCOUNTS
def test_a_session_adds_nothing_to_a_key(world):
    client = world.client("key of another user")
    client.force_login(world.sessions["staff who may view"])
    assert client.get(INTERACTIONS).status_code == 403


@ABOUT_ACCOUNTS
def test_a_bad_key_is_refused_even_with_a_good_session(world):
    client = world.client("revoked key")
    client.force_login(world.sessions["staff who may view"])
    assert client.get(INTERACTIONS).status_code == 401


@ABOUT_ACCOUNTS
def test_usage_that_the_admin_does_not_show_to_an_account_is_not_in_the_api(world):
    client = world.client("staff who may view")
    usage = Permission.objects.get(codename="view_usageofmodel")
    world.sessions["staff who may view"].user_permissions.remove(usage)
    response = client.get("/api/v1/usage/")
    assert response.status_code == 403
    assert response.json()["detail"] == "Your account lacks the permission to view usage."


@ABOUT_ACCOUNTS
def test_a_staff_account_that_is_switched_off_sees_nothing(world):
    client = world.client("staff who may view")
    User.objects.update(is_active=False)
    assert client.get(INTERACTIONS).status_code == 401


def test_a_bound_key_cannot_hand_over_an_interaction(world):
    response = world.client("key of another user").post(
        INTERACTIONS, new(interaction_id="other"), content_type="application/json"
    )
    assert response.status_code == 403
    assert world.client("service-wide key").get(f"{INTERACTIONS}other/").status_code == 404
