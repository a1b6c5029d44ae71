"""What staff can do for one user, and that nobody else can."""

import json
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from chat.maintenance import holds
from chat.maintenance.archiving import Archived, archive
from chat.maintenance.erasure import ledger
from chat.maintenance.policy import Policy
from chat.maintenance.runs import Run
from storage import get_storage
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.archive.pseudonyms import pseudonym
from storage.exceptions import DamagedArchive, StorageUnavailable
from storage.interface import Storage
from storage.models import AuditEntry
from storage.records.searches import Search, SearchPage
from tests.chat.usage_rows import priced, used

pytestmark = pytest.mark.every_backend(exhaustive=True)  # a few tests reach each operation

ADMIN = "/admin/storage/chatinteraction/"
ODD = "a/b ?&=\u202eé"
REASON = "Request 2026-17 of the user"
OTHER_REASON = "Another court has asked for it"
ACTIONS = {
    "user/export/": "export_user",
    "user/erase/": "erase_user",
    "user/hold/": "hold_user",
    "user/lift/": "hold_user",
}


@pytest.fixture
def staff(transactional_db):
    """Makes a client that is logged in as staff with these permissions."""

    def make(*codenames):
        user = User.objects.create_user(f"staff-{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def saved(storage, make_interaction):
    """Three interactions of a user with an odd id, and one of another user."""
    for number in range(3):
        storage.save_interaction_sync(make_interaction(user_id=ODD, message=f"secret {number}"))
    storage.save_interaction_sync(make_interaction(user_id="bobby", message="of bobby"))


def of(name, user_id=ODD):
    return f"{ADMIN}{name}?user_id={quote(user_id, safe='')}"


def text_of(response):
    return response.content.decode()


def entries():
    """What is in the audit log, but for logins."""
    found = AuditEntry.objects.order_by("pk").exclude(action="logged in")
    return list(found.values_list("action", "user_pseudonym", "reason"))


def actions():
    return [action for action, _, _ in entries()]


@pytest.mark.every_backend
def test_the_page_shows_what_there_is_without_text(staff, saved):
    response = staff("view_chatinteraction").get(of("user/"))
    assert response.status_code == 200
    assert len(re.findall(r"/change/", text_of(response))) == 3
    assert "secret" not in text_of(response)
    assert "Erase" not in text_of(response)


def test_the_page_says_what_the_user_costs_and_what_has_no_price(staff, saved):
    used(0, "model-9", {ODD: (2, 1_000_000, 0)})
    priced("model-9", 1000, "3")
    used(1, "unpriced", {ODD: (4, 1, 1)})
    response = staff("view_chatinteraction").get(of("user/"))
    page = " ".join(re.sub(r"<[^>]*>", " ", text_of(response)).split())
    assert "Cost, in USD 3.00" in page
    assert "interactions are in no cost" in page


def test_the_page_shows_only_what_this_member_of_staff_may_do(staff, saved):
    shown = text_of(staff("view_chatinteraction", "hold_user").get(of("user/")))
    assert "user/hold/" in shown
    assert "user/erase/" not in shown
    assert "user/export/" not in shown


def test_a_user_of_whom_nothing_is_stored_is_no_error(staff, saved):
    response = staff("view_chatinteraction").get(of("user/", "nobody"))
    assert response.status_code == 200
    assert "Nothing is stored of this user" in text_of(response)


def test_a_search_that_has_found_nothing_yet_does_not_say_that_there_is_nothing(
    staff, saved, monkeypatch
):
    """An archive may have many days that must be asked for, and a page looks for a second."""
    unfinished = SearchPage([], "a-cursor", datetime.now(UTC))
    monkeypatch.setattr(Storage, "search_interactions_sync", lambda *_: unfinished)
    page = text_of(staff("view_chatinteraction").get(of("user/")))
    assert "Nothing is stored of this user" not in page
    assert "Nothing found yet" in page
    assert f'chatinteraction/?user_id={quote(ODD, safe="")}">Search all of it' in page


def test_a_request_that_names_no_user_asks_for_one(staff):
    client = staff("view_chatinteraction")
    for query in ("", "?user_id=", "?user_id=a&user_id=b", "?user_id=a&x=1", "?user_id=%00"):
        response = client.get(f"{ADMIN}user/{query}")
        assert response.status_code == 400, query
        assert "Which user?" in text_of(response)


@pytest.mark.parametrize("name", ACTIONS)
def test_each_action_takes_its_own_permission(staff, saved, name):
    others = [codename for codename in ACTIONS.values() if codename != ACTIONS[name]]
    client = staff("view_chatinteraction", *others)
    form = {"reason": REASON, "confirmation": ODD}
    assert client.get(of(name)).status_code == 403
    assert client.post(of(name), form).status_code == 403
    assert get_storage().search_interactions_sync(Search(user_id=ODD)).records != []
    assert actions() == []


@pytest.mark.parametrize("name", [*ACTIONS, "user/"])
def test_a_get_changes_nothing(staff, saved, name):
    client = staff("view_chatinteraction", *ACTIONS.values())
    holds.add(get_storage().archive, holds.Hold("user", ODD, "case 1", datetime.now(UTC)))
    assert client.get(of(name)).status_code == 200
    assert holds.find(get_storage().archive, "user", ODD) is not None
    assert ledger.pending_of(get_storage().archive, ODD) is None
    assert len(get_storage().search_interactions_sync(Search(user_id=ODD)).records) == 3


def test_what_only_a_hold_keeps_is_not_said_to_be_nothing(
    staff, storage, make_interaction, settings
):
    """It has expired, so no page shows it. But an export has it."""
    old = make_interaction(user_id=ODD, created_at=datetime.now(UTC) - timedelta(days=50))
    storage.create_interaction_sync(old)
    settings.RETENTION_TOTAL_DAYS = 40
    holds.add(storage.archive, holds.Hold("user", ODD, "case 1", datetime.now(UTC)))
    client = staff("view_chatinteraction", "export_user")
    page = text_of(client.get(of("user/")))
    assert "Nothing is stored of this user" not in page
    assert "Nothing of this user can be read. What has expired is kept by the hold" in page
    lines = b"".join(client.post(of("user/export/"), {"reason": REASON})).splitlines()
    assert json.loads(lines[-1])["count"] == 1


@pytest.mark.every_backend
def test_an_export_has_everything_and_says_that_it_is_complete(staff, saved):
    response = staff("export_user").post(of("user/export/"), {"reason": REASON})
    *rows, end = [json.loads(line) for line in b"".join(response).splitlines()]
    assert sorted(row["message"] for row in rows) == ["secret 0", "secret 1", "secret 2"]
    assert end["complete"] is True
    assert end["count"] == 3
    assert "attachment" in response["Content-Disposition"]
    assert entries() == [("exported", pseudonym(ODD), REASON)]


def test_an_export_without_a_reason_exports_nothing(staff, saved):
    response = staff("export_user").post(of("user/export/"), {"reason": "short"})
    assert response.status_code == 400
    assert "secret" not in text_of(response)
    assert actions() == []


def test_nothing_is_exported_if_it_cannot_be_audited(staff, saved, monkeypatch):
    def fail(*arguments, **options):
        raise StorageUnavailable("The disk is full.")

    client = staff("export_user")
    monkeypatch.setattr("storage.accounts.audit_log.record", fail)
    response = client.post(of("user/export/"), {"reason": REASON})
    assert response.status_code == 503
    assert "secret" not in text_of(response)


def test_an_erasure_takes_the_id_exactly(staff, saved):
    response = staff("erase_user").post(
        of("user/erase/"), {"reason": REASON, "confirmation": f"{ODD} "}
    )
    assert response.status_code == 400
    assert "This is not the user id" in text_of(response)
    assert len(get_storage().search_interactions_sync(Search(user_id=ODD)).records) == 3


@pytest.mark.every_backend
def test_an_erasure_erases_and_shows_its_receipt(staff, saved, monkeypatch):
    monkeypatch.setattr("chat.admin.erasures.REQUEST_SECONDS", 3600)
    client = staff("erase_user")
    response = client.post(of("user/erase/"), {"reason": REASON, "confirmation": ODD}, follow=True)
    assert response.status_code == 200
    assert "Receipt" in text_of(response)
    assert f"Requested at {datetime.now(UTC):%Y-%m-%d}" in text_of(response)
    assert ODD not in text_of(response)
    assert get_storage().search_interactions_sync(Search(user_id=ODD)).records == []
    assert get_storage().search_interactions_sync(Search(user_id="bobby")).records != []
    assert "erasure begun" in actions()


def test_a_damaged_note_of_an_earlier_request_keeps_nobody_from_erasing(
    staff, saved, storage, monkeypatch
):
    monkeypatch.setattr("chat.admin.erasures.REQUEST_SECONDS", 3600)

    def damaged(*arguments):
        raise DamagedArchive("a note", "it is no JSON")

    monkeypatch.setattr(ledger, "pending_of", damaged)
    client = staff("erase_user")
    assert client.get(of("user/erase/")).status_code == 200
    client.post(of("user/erase/"), {"reason": REASON, "confirmation": ODD})
    assert storage.search_interactions_sync(Search(user_id=ODD)).records == []


@pytest.mark.every_backend
def test_an_erasure_that_does_not_finish_is_shown_and_goes_on(staff, saved, monkeypatch):
    monkeypatch.setattr("chat.admin.erasures.REQUEST_SECONDS", 0)
    client = staff("erase_user")
    form = {"reason": REASON, "confirmation": ODD}
    shown = client.post(of("user/erase/"), form, follow=True)
    assert "Being removed" in text_of(shown)
    again = client.post(of("user/erase/"), form)
    page = shown.redirect_chain[-1][0]
    assert again["Location"] == page  # a second request goes to the same erasure
    monkeypatch.setattr("chat.admin.erasures.REQUEST_SECONDS", 3600)
    assert "Receipt" in text_of(client.post(f"{page}continue/", follow=True))
    client.post(f"{page}continue/")  # nothing is left to be done
    assert [(action, user) for action, user, _ in entries()] == [
        ("erasure begun", pseudonym(ODD)),
        ("erasure continued", pseudonym(ODD)),
    ]
    assert AuditEntry.objects.latest("pk").details == {"erasure": page.split("/")[-2]}


def test_only_who_may_see_an_erasure_is_led_to_it(staff, saved, monkeypatch):
    monkeypatch.setattr("chat.admin.erasures.REQUEST_SECONDS", 0)
    form = {"reason": REASON, "confirmation": ODD}
    staff("erase_user").post(of("user/erase/"), form)
    for rights, is_led in ((["view_chatinteraction"], False), (["erase_user"], True)):
        client = staff("view_chatinteraction", *rights)
        page = text_of(client.get(of("user/")))
        assert "An erasure is pending" in page
        assert (f"{ADMIN}erasure/" in page) == is_led


@pytest.mark.every_backend
def test_a_user_under_a_legal_hold_is_not_erased(staff, saved):
    holder, eraser = staff("hold_user", "view_chatinteraction"), staff("erase_user")
    holder.post(of("user/hold/"), {"reason": REASON})
    assert "Under a legal hold since" in text_of(holder.get(of("user/")))
    response = eraser.post(of("user/erase/"), {"reason": REASON, "confirmation": ODD})
    assert response.status_code == 409
    assert "legal hold" in text_of(response)
    assert len(get_storage().search_interactions_sync(Search(user_id=ODD)).records) == 3
    assert "erasure begun" not in actions()


def filled(client, name):
    """What the form of a page sends once it is filled in."""
    page = text_of(client.get(of(name)))
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    return hidden | {"reason": REASON, "confirmation": ODD}


def test_a_hold_is_listed_and_lifted(staff, saved):
    client = staff("hold_user")
    client.post(of("user/hold/"), {"reason": REASON})
    assert REASON in text_of(client.get(f"{ADMIN}holds/"))
    form = filled(client, "user/lift/")
    assert client.post(of("user/lift/"), form | {"confirmation": "x"}).status_code == 400
    assert holds.find(get_storage().archive, "user", ODD) is not None
    client.post(of("user/lift/"), form)
    assert holds.find(get_storage().archive, "user", ODD) is None
    assert client.post(of("user/lift/"), {}).status_code == 404
    assert [(action, user) for action, user, _ in entries()] == [
        ("held", pseudonym(ODD)),
        ("released", pseudonym(ODD)),
    ]


def test_a_hold_for_another_reason_than_the_page_has_shown_is_not_lifted(staff, saved):
    one, other = staff("hold_user"), staff("hold_user")
    one.post(of("user/hold/"), {"reason": REASON})
    form = filled(one, "user/lift/")
    other.post(of("user/hold/"), filled(other, "user/hold/") | {"reason": OTHER_REASON})
    refused = one.post(of("user/lift/"), form)
    assert refused.status_code == 409
    assert OTHER_REASON in text_of(refused)
    assert holds.find(get_storage().archive, "user", ODD) is not None
    assert actions() == ["held", "held"]
    assert one.post(of("user/lift/"), filled(one, "user/lift/")).status_code == 302
    assert holds.find(get_storage().archive, "user", ODD) is None


def test_a_hold_replaces_only_the_reason_that_the_page_has_shown(staff, saved):
    one, other = staff("hold_user"), staff("hold_user")
    early = filled(one, "user/hold/")
    assert other.post(of("user/hold/"), {"reason": REASON}).status_code == 302
    since = holds.find(get_storage().archive, "user", ODD).since
    refused = one.post(of("user/hold/"), early | {"reason": OTHER_REASON})
    assert refused.status_code == 409
    assert REASON in text_of(refused)
    assert holds.find(get_storage().archive, "user", ODD).reason == REASON
    assert actions() == ["held"]
    assert f"{REASON}</bdi>. Another reason takes its place" in text_of(one.get(of("user/hold/")))
    again = filled(one, "user/hold/") | {"reason": OTHER_REASON}
    assert one.post(of("user/hold/"), again).status_code == 302
    hold = holds.find(get_storage().archive, "user", ODD)
    assert (hold.reason, hold.since) == (OTHER_REASON, since)
    assert entries() == [
        ("held", pseudonym(ODD), REASON),
        ("held", pseudonym(ODD), OTHER_REASON),
    ]


def test_a_hold_that_is_sent_twice_is_put_on_once(staff, saved):
    client = staff("hold_user", "view_chatinteraction")
    sent = filled(client, "user/hold/")
    for _ in range(2):
        done = client.post(of("user/hold/"), sent, follow=True)
        assert done.redirect_chain[0][0].startswith(f"{ADMIN}user/?user_id=")
        assert "The hold is in place" in text_of(done)
    assert actions().count("held") == 1


def test_an_unknown_erasure_is_said_to_be_unknown(staff):
    response = staff("erase_user").get(f"{ADMIN}erasure/nothing/")
    assert response.status_code == 404
    assert "There is no such erasure" in text_of(response)


@pytest.fixture
def day(storage, make_interaction):
    """A day with two archived interactions."""
    now = datetime.now(UTC)
    created_at = now - timedelta(days=40)
    for number in range(2):
        old = make_interaction(interaction_id=f"old-{number}", created_at=created_at)
        storage.create_interaction_sync(old)
    with Run(storage) as run:
        archive(storage, Policy.at(now), run, Archived())
    return created_at.date()


@pytest.mark.every_backend
def test_a_day_is_restored(staff, day, storage):
    client = staff("restore_day")
    assert str(day) in text_of(client.get(f"{ADMIN}restore/"))
    assert "Up to 2 interactions" in text_of(client.get(f"{ADMIN}restore/?day={day}"))
    response = client.post(f"{ADMIN}restore/", {"day": str(day), "reason": REASON}, follow=True)
    assert f"2 interactions of {day} are hot again" in text_of(response)
    found = storage.search_interactions_sync(Search(tier="hot")).records
    assert sorted(record["interaction_id"] for record in found) == ["old-0", "old-1"]
    assert actions() == ["restored"]


@pytest.mark.every_backend
def test_a_restore_waits_for_no_other_run(staff, day, storage):
    client = staff("restore_day")
    with Run(storage):
        response = client.post(f"{ADMIN}restore/", {"day": str(day), "reason": REASON})
    assert response.status_code == 409
    assert "Another maintenance run is at work" in text_of(response)
    assert actions() == []


def test_a_day_that_is_not_archived_is_not_said_to_be_restored(staff, storage):
    today = datetime.now(UTC).date()
    form = {"day": str(today), "reason": REASON}
    response = staff("restore_day").post(f"{ADMIN}restore/", form)
    assert response.status_code == 404
    assert "Neither the archive nor the database has anything" in text_of(response)
    assert actions() == []


def test_a_wrong_day_is_said_to_be_wrong(staff):
    client, day = staff("restore_day"), "day=2026-10-01"
    for query in ("day=2026-13-01", "day=x", "days=1", f"{day}&x=1", f"{day}&{day}"):
        assert client.get(f"{ADMIN}restore/?{query}").status_code == 400, query


def test_restoring_takes_its_permission_and_a_reason(staff, day):
    assert staff("view_chatinteraction").get(f"{ADMIN}restore/").status_code == 403
    response = staff("restore_day").post(f"{ADMIN}restore/", {"day": str(day), "reason": ""})
    assert response.status_code == 400
    assert actions() == []


@pytest.mark.every_backend
def test_without_its_archive_no_page_is_silently_short(
    staff, saved, storage, tmp_path, monkeypatch, caplog
):
    """A volume that is not mounted looks like an archive without interactions and holds."""
    with Run(storage):
        pass
    client = staff(
        *("view_chatinteraction", "export_user", "hold_user", "restore_day", "erase_user")
    )
    pages = (of("user/"), ADMIN, f"{ADMIN}?tier=archive&user_id=bobby")
    pages += (f"{ADMIN}holds/", f"{ADMIN}restore/")
    assert {client.get(page).status_code for page in pages} == {200}
    pages += (f"{ADMIN}erasure/{uuid4()}/",)
    monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / "not mounted")))
    for page in pages:
        caplog.clear()
        response = client.get(page)
        assert response.status_code == 503
        assert "Is its disk mounted" in text_of(response)
        assert "Is its disk mounted" in caplog.text, page
    response = client.post(of("user/export/"), {"reason": REASON})
    assert response.status_code == 503
    assert client.get(f"{ADMIN}?tier=hot").status_code == 200
