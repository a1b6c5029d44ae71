"""What users said, and who they are, is not in the audit log, whatever staff do and type.

The names that they give to groups, keys and accounts are there, and the reasons, less the user.
"""

import json
import re
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from chat.admin import audit, filters
from chat.api import parameters, searches
from storage import get_storage
from storage.accounts import audit_chain
from storage.accounts.audit_log import Action
from storage.exceptions import StorageUnavailable
from storage.models import AuditEntry
from tests.chat.admin.test_permission_matrix import ROUTES
from tests.chat.calls import INTERACTIONS, SEARCH, of_user, one
from tests.config.watching import log_of

LIST = "/admin/storage/chatinteraction/"
AUDIT = "/admin/storage/auditentry/"
PARAMETERS = {
    LIST: (*filters.FilterForm.base_fields, "interaction_id", "cursor", "trail"),
    AUDIT: audit.FilterForm.base_fields,
    f"{AUDIT}export/": audit.FilterForm.base_fields,
    INTERACTIONS: parameters._PARSERS,
    SEARCH: searches._PARSERS,
}
"""What they take; the name of one that none takes is tried as well."""


@pytest.fixture
def markers():
    """Who the user is, and what was said: neither can be told from anything else."""
    return [f"{name}-{uuid4().hex}" for name in ("who", "said")]


@pytest.fixture
def root(transactional_db):
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("root", password="right"))
    return client


def everything_staff_do(client, who, said):
    """Each page, each filter, each action and each call of the API. Yields statuses."""
    mine = reverse("admin:storage_chatinteraction_change", args=["one"])
    why = f"{who} has asked for it"
    both = f"{who}-{said}"
    for page, names in PARAMETERS.items():
        for name in (*names, both):
            yield client.get(page, {name: both})
    for route in ROUTES:
        if route not in ("login/", "logout/", "password_change/"):
            path = "/admin/" + re.sub(r"<\w+>", both, route)
            yield client.get(path)
            yield client.post(path, {"reason": both, "day": both})
    yield Client().post("/admin/login/", {"username": both, "password": both})
    yield client.post("/admin/auth/user/add/", {"username": "new", "password1": both})
    yield client.post(mine, {"reason": why})
    for page in (mine, f"{mine}?view=download", f"{mine}?{said}={who}"):
        yield client.get(page)
    for path in (INTERACTIONS, one("one"), of_user(who), f"{of_user(who)}?cursor={said}"):
        yield client.get(path)
    yield client.get(SEARCH, {"text": said, "user_id": who})
    for action in ("", "export/", "erase/", "hold/", "lift/"):
        path = f"{LIST}user/{action}?user_id={who}"
        yield client.get(path)
        yield client.post(path, {"reason": why, "confirmation": said})
        yield client.post(path, {"reason": why, "confirmation": who})


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(None, id="well"),
        pytest.param(StorageUnavailable, id="an outage", marks=pytest.mark.exhaustive),
        pytest.param(ValueError, id="a bug", marks=pytest.mark.exhaustive),
    ],
)
def test_no_entry_has_a_text_or_a_user(
    root, storage, make_interaction, markers, monkeypatch, failure
):
    who, said = markers
    storage.save_interaction_sync(
        make_interaction(interaction_id="one", user_id=who, message=said, response=said * 2)
    )
    if failure is not None:
        message = said if failure is ValueError else "away"
        for name in ("read_stored", "search", "newest_json", "delete", "users"):
            monkeypatch.setattr(type(get_storage().database), name, failing(failure(message)))
    with log_of() as log:
        answers = list(everything_staff_do(root, who, said))
        lines = log.text
    entries = list(AuditEntry.objects.values())
    audit_chain.verify()
    actions = {entry["action"] for entry in entries}
    assert {Action.LISTED, Action.SEARCHED, Action.EXPORTED, Action.LOGIN_REFUSED} <= actions
    if failure is None:
        assert {Action.READ, Action.REVEALED, Action.HELD, Action.ERASURE_BEGUN} <= actions
        assert {200, 302, 400, 403, 404} <= {answer.status_code for answer in answers}
    exported = b"".join(root.get(f"{AUDIT}export/").streaming_content).decode()
    for marker in markers:
        assert [entry for entry in entries if marker in json.dumps(entry, default=str)] == []
        assert marker not in exported
        assert [line for line in lines.splitlines() if marker in line] == []
