"""What staff do is in the audit log, or is not done; and the pages of the log."""

import csv
import io
import re

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.test import Client

from chat.admin import login as login_module
from storage.accounts import audit_chain, audit_log, audit_pages
from storage.accounts.audit_log import Action
from storage.archive.pseudonyms import pseudonym
from storage.exceptions import StorageUnavailable
from storage.models import ApiKey, AuditEntry
from storage.sql import vendors
from tests.chat.calls import INTERACTIONS, reveal

pytestmark = pytest.mark.every_sql(exhaustive=True)

LOG = "/admin/storage/auditentry/"
KEYS = "/admin/storage/apikey/"
USERS = "/admin/auth/user/"

ENTRIES = AuditEntry.objects


@pytest.fixture
def root(transactional_db):
    """A superuser who is logged in."""
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(User.objects.create_superuser("root", password="right"))
    return client


@pytest.fixture
def full(monkeypatch):
    """The audit log cannot be written; call it when that begins."""

    def begin():
        def fail(*args):
            raise StorageUnavailable("The database failed: disk I/O error.")

        monkeypatch.setattr(audit_log, "_append", fail)

    return begin


def seen():
    """What the log has, as action, account and address, and its chain is sound."""
    audit_chain.verify()
    return list(ENTRIES.order_by("pk").values_list("action", "staff", "address"))


def log_in(name, password, **headers):
    form = {"username": name, "password": password, "next": "/admin/"}
    client = Client(REMOTE_ADDR="192.0.2.7")
    return client, client.post("/admin/login/", form, **headers)


class TestLogin:
    def test_login_logout_and_refusals(self, root):
        client, _ = log_in("root", "right")
        client.post("/admin/logout/")
        log_in("root", "wrong")
        log_in("a-password-in-the-wrong-field", "wrong")
        assert seen() == [
            ("logged in", "root", "192.0.2.7"),
            ("logged out", "root", "192.0.2.7"),
            ("login refused", "root", "192.0.2.7"),
            ("login refused", "", "192.0.2.7"),
        ]
        assert "password" not in repr(list(ENTRIES.values()))

    def test_refused_logins_fill_no_disk(self, root, monkeypatch):
        monkeypatch.setattr(login_module, "REFUSALS_A_DAY", 2)
        monkeypatch.setattr(login_module, "_refusals", login_module._Refusals())
        for number in range(4):
            log_in(f"name{number}", "wrong")
        assert [entry.details for entry in ENTRIES.order_by("pk")] == [
            {},
            {"further_today": "not written"},
        ]

    def test_nobody_logs_in_unseen_but_everybody_can_log_out(self, root, full, caplog):
        inside, _ = log_in("root", "right")
        full()
        client, response = log_in("root", "right")
        assert response.status_code == 503
        assert "The store is unavailable" in caplog.text
        assert client.get("/admin/").status_code == 302, "not logged in"
        inside.post("/admin/logout/")
        assert inside.get("/admin/").status_code == 302
        assert log_in("root", "wrong")[1].status_code == 200

    def test_a_logout_waits_once_for_a_locked_database(self, root, monkeypatch):
        """What the log waits comes after what the session waits, and there is no after then."""
        client, _ = log_in("root", "right")
        client.raise_request_exception = False
        before = ENTRIES.count()

        def locked(session):
            raise OperationalError("database is locked")

        monkeypatch.setattr(SessionStore, "flush", locked)
        assert client.post("/admin/logout/").status_code == 503
        assert ENTRIES.count() == before

    def test_the_login_page_alone_leads_to_the_admin(self, root):
        response = Client().post("/admin/login/", {"username": "root", "password": "right"})
        assert response["Location"] == "/admin/"


class TestStaffAndKeys:
    def test_changes_of_staff(self, root):
        eve = User.objects.create_user("eve")
        group = Group.objects.create(name="clerks")
        form = {"username": "eve", "is_active": "on", "is_staff": "on", "groups": [group.pk]}
        times = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
        root.post(f"{USERS}{eve.pk}/change/", form | times)
        entry = ENTRIES.get()
        assert (entry.action, entry.staff) == ("staff changed", "root")
        assert entry.details["account"] == "eve"
        assert entry.details["rights"] == ["is_active", "is_staff"]
        assert entry.details["groups"] == ["clerks"]
        passwords = {"password1": "Entirely-new-7", "password2": "Entirely-new-7"}
        root.post(f"{USERS}{eve.pk}/password/", passwords)
        assert ENTRIES.latest("pk").details["fields"] == ["password"]
        right = Permission.objects.get(codename="erase_user")
        root.post(f"/admin/auth/group/{group.pk}/change/", {"name": "x", "permissions": [right.pk]})
        assert ENTRIES.latest("pk").details["permissions"] == ["erase_user"]
        root.post(USERS, {"action": "delete_selected", "_selected_action": [eve.pk], "post": "yes"})
        assert ENTRIES.latest("pk").details["change"] == "deleted"
        assert len(seen()) == 4

    def test_somebody_changes_the_own_password(self, root, full):
        form = {"old_password": "wrong", "new_password1": "New-7-new", "new_password2": "New-7-new"}
        page = "/admin/password_change/"
        root.post(page, form)
        Client().post(page, form)
        assert seen() == []
        assert root.post(page, form | {"old_password": "right"}).status_code == 302
        assert seen() == [("staff changed", "root", "192.0.2.7")]
        full()
        form |= {
            "old_password": "New-7-new",
            "new_password1": "Other-7-x",
            "new_password2": "Other-7-x",
        }
        assert root.post(page, form).status_code == 503
        assert User.objects.get().check_password("New-7-new")
        assert root.get("/admin/").status_code == 200

    def test_nothing_of_it_happens_unseen(self, root, full):
        eve = User.objects.create_user("eve")
        api_key, _ = ApiKey.objects.create_key(name="billing")
        full()
        times = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
        form = {"username": "eve", "is_superuser": "on"} | times
        new = {"name": "new", "service_wide": "on", "expiry_date_0": "", "expiry_date_1": ""}
        passwords = {"password1": "Entirely-new-7", "password2": "Entirely-new-7"}
        for path, fields in {
            f"{USERS}{eve.pk}/change/": form,
            f"{USERS}{eve.pk}/password/": passwords,
            f"{USERS}{eve.pk}/delete/": {"post": "yes"},
            f"{KEYS}add/": new,
            f"{KEYS}{api_key.pk}/change/": new | {"revoked": "on"},
            f"{KEYS}{api_key.pk}/rotate/": {"overlap": "1", "alike": 1},
            f"{KEYS}{api_key.pk}/delete/": {"post": "yes"},
            LOG: None,
            f"{LOG}export/": None,
        }.items():
            response = root.get(path) if fields is None else root.post(path, fields)
            assert response.status_code == 503, path
        after = User.objects.get(username="eve")
        assert (after.is_superuser, after.password) == (False, eve.password)
        assert [key.revoked for key in ApiKey.objects.all()] == [False]

    def test_keys_made_changed_revoked_and_deleted(self, root):
        form = {"name": "Ada's phone", "user_id": "ada", "expiry_date_0": "", "expiry_date_1": ""}
        root.post(f"{KEYS}add/", form)
        api_key = ApiKey.objects.get()
        root.post(f"{KEYS}{api_key.pk}/change/", form | {"name": "renamed"})
        root.post(f"{KEYS}{api_key.pk}/change/", form | {"revoked": "on"})
        root.post(f"{KEYS}{api_key.pk}/delete/", {"post": "yes"})
        actions = [action for action, _, _ in seen()]
        assert actions == ["key made", "key changed", "key revoked", "key deleted"]
        for entry in ENTRIES.all():
            assert entry.details["prefix"] == api_key.prefix
            assert entry.user_pseudonym == pseudonym("ada")
            assert "Ada" not in str(entry.details)


PATHS = (
    INTERACTIONS,
    f"{INTERACTIONS}one/",
    "/api/v1/users/ada/interactions/",
    f"{INTERACTIONS}search/?user_id=ada",
)


@pytest.mark.usefixtures("storage")
class TestReadingThroughTheApi:
    def test_a_session_is_audited_and_a_key_is_not(self, root, client, storage, make_interaction):
        storage.save_interaction_sync(make_interaction(interaction_id="one", user_id="ada"))
        reveal(root, "ada")
        for path in PATHS:
            assert root.get(path).status_code == client.get(path).status_code == 200
        assert [action for action, _, _ in seen()] == ["listed", "read", "listed", "searched"]
        found = ENTRIES.values_list("interaction_id", "user_pseudonym").order_by("pk")
        ada = pseudonym("ada")
        assert list(found) == [("", ada), ("one", ada), ("", ada), ("", ada)]
        assert [entry.pk for entry in ENTRIES.all() if "refused" in entry.details] == []

    def test_a_session_reads_only_what_was_revealed_in_it(self, root, storage, make_interaction):
        """Otherwise a reason would be asked for in the admin, and not one tab further."""
        for name, user_id in (("one", "ada"), ("other", "eve")):
            made = make_interaction(interaction_id=name, user_id=user_id, message="secret")
            storage.save_interaction_sync(made)
        for path in PATHS:
            response = root.get(path)
            assert response.status_code == 403
            assert "secret" not in response.content.decode()
        assert [entry.details.get("refused") for entry in ENTRIES.all()] == [True] * len(PATHS)
        reveal(root, "ada")
        found = {path: root.get(path).status_code for path in PATHS}
        assert list(found.values()) == [403, 200, 200, 200]  # eve is in the first
        assert root.get(f"{INTERACTIONS}search/?user_id=eve").status_code == 403
        assert root.get(f"{INTERACTIONS}other/").status_code == 403

    def test_nothing_is_shown_unseen(self, root, full):
        full()
        assert root.get(INTERACTIONS).status_code == 503

    def test_staff_for_whom_texts_are_masked_do_not_read_them_here(self, transactional_db):
        user = User.objects.create_user("grace", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_chatinteraction"))
        viewer = Client()
        viewer.force_login(user)
        response = viewer.get(INTERACTIONS)
        assert response.status_code == 403
        assert "permission to read messages" in response.json()["detail"]


class TestPages:
    @pytest.fixture
    def filled(self, root):
        for number in range(60):
            audit_log.record(
                Action.REVEALED if number % 2 else Action.READ,
                "grace",
                user_id="ada",
                interaction_id=f"i-{number}",
                reason="<b>=1+1</b>",
            )

    def numbers(self, response):
        assert response.status_code == 200
        return [int(n) for n in re.findall(r'class="number">(\d+)<', response.content.decode())]

    def test_it_pages_to_the_oldest_entry_newest_first(self, root, filled):
        found, url = [], LOG
        while url:
            response = root.get(url)
            found += self.numbers(response)
            link = re.search(r'href="(\?[^"]+)" rel="next"', response.content.decode())
            url = link and LOG + link.group(1).replace("&amp;", "&")
        assert found == list(range(60, 0, -1))
        assert ENTRIES.filter(staff="root", action="listed").count() == 2

    def test_filters(self, root, filled):
        assert len(self.numbers(root.get(LOG, {"action": "read", "user": "ada"}))) == 30
        assert self.numbers(root.get(LOG, {"user": "bob"})) == []
        assert len(self.numbers(root.get(LOG, {"staff": "root"}))) == 2
        page = root.get(LOG, {"pseudonym": pseudonym("ada"), "before": "3"})
        assert self.numbers(page) == [2, 1]
        assert "&lt;b&gt;=1+1" in page.content.decode()
        assert self.numbers(root.get(LOG, {"day": "2020-01-01"})) == []

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({"colour": "red"}, "Unknown: colour"),
            ({"day": "yesterday"}, "Enter a day such as 2026-11-30"),
            ({"day": "9999-12-31"}, "Enter a day such as 2026-11-30"),
            ({"staff": ["ada", "eve"]}, "Give staff once."),
            ({"action": "sung"}, "not one of the available choices"),
            ({"pseudonym": "x"}, "32 hexadecimal digits"),
            ({"before": "0"}, "before:"),
            ({"before": "9" * 30}, "before:"),
            ({"user": "a\0b"}, "Null characters"),
        ],
    )
    def test_what_is_not_understood_is_said(self, root, asked, message):
        for page in (LOG, f"{LOG}export/"):
            response = root.get(page, asked)
            assert response.status_code == 400
            assert message in response.content.decode()

    def test_no_page_of_an_export_waits_for_good(self, root, filled, monkeypatch):
        """The file is read after the response was returned, and so after `LimitedWaits`."""
        waits = []
        page = audit_pages.page

        def noted(*arguments):
            waits.append(vendors.answer_seconds.get())
            return page(*arguments)

        response = root.get(f"{LOG}export/")
        monkeypatch.setattr(audit_pages, "page", noted)
        assert b"".join(response.streaming_content)
        assert waits
        assert all(waits)
        assert vendors.answer_seconds.get() is None

    def test_export_has_everything_once_and_no_formula(self, root, filled):
        audit_log.record(Action.READ, "=cmd()", reason="@x")
        response = root.get(f"{LOG}export/")
        rows = list(csv.DictReader(io.StringIO(b"".join(response).decode())))
        assert [int(row["id"]) for row in rows] == list(range(61, 0, -1))
        assert (rows[0]["staff"], rows[0]["reason"]) == ("'=cmd()", "'@x")
        assert rows[0]["digest"] == ENTRIES.get(pk=61).digest
        last = ENTRIES.latest("pk")
        assert (last.action, last.details) == ("exported", {"page": "audit log"})

    @pytest.mark.parametrize("page", ["add/", "1/change/", "1/delete/", "1/"])
    def test_nobody_changes_it(self, root, filled, page):
        for method in (root.get, root.post):
            assert method(LOG + page, {"post": "yes"}).status_code in (404, 405)
        root.post(LOG, {"action": "delete_selected", "_selected_action": [1], "post": "yes"})
        assert ENTRIES.filter(pk=1).exists()
