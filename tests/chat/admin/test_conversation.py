"""The page of one interaction: who sees its texts, in which form, and what the audit log has."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client

from chat import revealed
from chat.maintenance import holds
from chat.maintenance.identity import confirm_archive
from storage import get_storage
from storage.accounts import audit_log
from storage.archive.archive import Archive
from storage.archive.folder import ArchiveFolder
from storage.archive.pseudonyms import pseudonym
from storage.exceptions import StorageFull, StorageUnavailable
from storage.models import AuditEntry, ModelPrice

pytestmark = pytest.mark.every_backend(exhaustive=True)  # a few tests reach each operation

REASON = "A complaint of the user, ticket 123."


def url(interaction_id="one", **query):
    path = f"/admin/storage/chatinteraction/{quote(interaction_id)}/change/"
    return path + (
        "?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else ""
    )


def logged_in(*permissions, **rights):
    user = User.objects.create_user(f"staff-{User.objects.count()}", is_staff=True, **rights)
    codes = ("view_chatinteraction", *permissions)
    user.user_permissions.set(Permission.objects.filter(codename__in=codes))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer(transactional_db):
    """Staff who may see interactions, but not read their texts."""
    return logged_in()


@pytest.fixture
def reader(transactional_db):
    """Staff who may read texts, once they have said why."""
    return logged_in("read_texts")


def reveal(client, interaction_id="one", reason=REASON):
    return client.post(url(interaction_id), {"reason": reason})


def content(response):
    return response.content.decode()


def audited(**wanted):
    return list(AuditEntry.objects.filter(**wanted).order_by("id"))


@pytest.fixture
def one(storage, make_interaction):
    """An interaction of ada, an hour old, between two others."""
    now = datetime.now(UTC).replace(microsecond=0)
    interactions = [
        make_interaction(
            interaction_id=name,
            message=f"{name} secret-question **loud**",
            response=f"{name} secret-answer" if name != "open" else "",
            created_at=now - timedelta(hours=hours),
        )
        for name, hours in (("before", 2), ("one", 1), ("open", 0))
    ]
    storage.create_interactions_sync(
        [*interactions, make_interaction(user_id="bob", interaction_id="bobs")]
    )
    return interactions[1]


# Who sees the texts.


@pytest.mark.every_backend
def test_viewers_see_everything_but_the_texts(viewer, one):
    for view in ("text", "raw", "json"):
        page = content(viewer.get(url(view=view)))
        assert "secret" not in page
        assert f"{len(one.message)} characters, hidden" in page
        assert "may not read them" in page
        assert "Reveal" not in page
        assert all(fact in page for fact in ("ada", "model-1", "before", "open"))


def test_viewers_cannot_reveal_or_download(viewer, one):
    assert reveal(viewer).status_code == 403
    assert viewer.get(url(view="download")).status_code == 403
    assert "secret" not in content(viewer.get(url()))
    assert audited(action="revealed") == audited(action="exported") == []


@pytest.mark.parametrize("is_superuser", [False, True])
def test_a_reason_reveals_the_texts_of_this_user_alone(one, is_superuser):
    staff = logged_in("read_texts", is_superuser=is_superuser)
    for path in (url(), url(view="raw"), url(view="json"), url("before")):
        assert "secret" not in content(staff.get(path))
    assert staff.get(url(view="download")).status_code == 302
    response = reveal(staff)
    assert (response.status_code, response["Location"]) == (302, url())
    for path in (url(), url(view="raw"), url(view="json"), url("before")):
        page = content(staff.get(path))
        assert "secret-question" in page
        assert "secret" not in page[: page.index("</head>")]
    assert "characters, hidden" in content(staff.get(url("bobs")))
    assert "secret" not in json.dumps(dict(staff.session))
    assert '"ada"' not in json.dumps(dict(staff.session))  # a digest may have these letters


def test_what_is_revealed_is_hidden_again_after_a_while(reader, one, monkeypatch):
    reveal(reader)
    now = revealed._now()
    monkeypatch.setattr(revealed, "_now", lambda: now + revealed.REVEALED_SECONDS - 5)
    assert "secret" in content(reader.get(url()))
    monkeypatch.setattr(revealed, "_now", lambda: now + revealed.REVEALED_SECONDS + 5)
    assert "secret" not in content(reader.get(url()))


def test_who_loses_the_permission_sees_nothing_more(reader, one):
    reveal(reader)
    User.objects.get(username="staff-0").user_permissions.remove(
        Permission.objects.get(codename="read_texts")
    )
    assert "secret" not in content(reader.get(url()))


@pytest.mark.on_sqlite("the same on both")
def test_without_a_good_reason_nothing_is_revealed(reader, one):
    for reason in ("", "too short", " " * 30, "x" * 501, "nul\0 in a long reason"):
        response = reveal(reader, reason=reason)
        assert response.status_code == 400, reason
        assert 'role="alert"' in content(response)
        assert "secret" not in content(response)
    assert "secret" not in content(reader.get(url()))
    assert audited(action="revealed") == []


@pytest.mark.on_sqlite("the same on both")
def test_a_form_of_another_site_reveals_nothing(one):
    logged_in("read_texts")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get())
    assert reveal(strict).status_code == 403
    assert audited(action="revealed") == []


# The audit log.


def test_every_reading_is_in_the_audit_log_without_text(reader, one):
    reader.get(url())
    reveal(reader)
    reader.get(url(view="raw"))
    reader.get(url(view="download"))
    entries = audited()
    assert [(entry.action, entry.reason) for entry in entries] == [
        ("read", ""),
        ("revealed", REASON),
        ("read", ""),
        ("exported", ""),
    ]
    assert [entry.details.get("texts") for entry in entries] == [False, None, True, None]
    for entry in entries:
        assert (entry.staff, entry.interaction_id) == ("staff-0", "one")
        assert entry.user_pseudonym == pseudonym("ada")
        assert "secret" not in str(vars(entry))


@pytest.mark.every_backend
def test_nothing_is_shown_that_is_not_in_the_audit_log(reader, one, monkeypatch):
    reveal(reader)
    record = audit_log.record

    def fail(*args, **kwargs):
        raise StorageFull("The disk is full.")

    monkeypatch.setattr(audit_log, "record", fail)
    for path in (url(), url(view="raw"), url(view="json"), url(view="download")):
        response = reader.get(path)
        assert response.status_code == 503
        assert "secret" not in content(response)
    assert reveal(reader, "bobs").status_code == 503
    monkeypatch.setattr(audit_log, "record", record)
    assert "characters, hidden" in content(reader.get(url("bobs")))


def test_no_text_and_no_user_is_logged(reader, one, caplog):
    with caplog.at_level("DEBUG"):
        reveal(reader)
        reader.get(url())
        reader.get(url(view="download"))
        reader.get(url(part="2"))
    assert "secret" not in caplog.text
    assert "ada" not in caplog.text


# The views.


def test_texts_are_markdown_or_as_they_were_written(reader, one):
    reveal(reader)
    page = content(reader.get(url()))
    assert "<strong>loud</strong>" in page
    raw = content(reader.get(url(view="raw")))
    assert "<strong>loud" not in raw
    assert "**loud**" in raw


@pytest.mark.every_backend
def test_json_is_shown_and_downloaded(reader, storage, make_interaction):
    text = '<script>alert("ü")</script>\n'
    storage.save_interaction_sync(
        make_interaction(interaction_id='a/ü";', message=text, response="")
    )
    reveal(reader, 'a/ü";')
    page = content(reader.get(url('a/ü";', view="json")))
    assert "&lt;script&gt;alert(\\&quot;ü\\&quot;)" in page
    response = reader.get(url('a/ü";', view="download"))
    assert response["Content-Type"] == "application/json"
    assert response["Content-Disposition"].startswith("attachment; filename")
    assert response.json()["message"] == text


HOSTILE = (
    "<script>alert(1)</script> <img src=//evil.example/x onerror=alert(1)> "
    '<div x-data="{}" @click="alert(1)" :class="x" hx-get="/admin/logout/">{{ 7*7 }} {% now %} '
    "[link](javascript:alert(1)) ![picture](https://evil.example/p.png)"
)


@pytest.mark.on_sqlite("the same on both")
def test_what_models_write_does_nothing_in_any_view(reader, storage, make_interaction):
    texts = {"message": HOSTILE, "response": HOSTILE, "model_used": HOSTILE[:90]}
    storage.save_interaction_sync(make_interaction(interaction_id="one", **texts))
    reveal(reader)
    for view in ("text", "raw", "json"):
        page = content(reader.get(url(view=view)))
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "{{ 7*7 }} {% now %}" in page
        article = page[page.index("<article") : page.index("</article>")]
        tags = re.findall(r"<[a-zA-Z][^>]*>", article)
        assert len(tags) > 20
        wrong = r"\s(on|@|:|x-data|hx-|style|src=.*evil)|^<(script|img)|javascript:"
        assert not [tag for tag in tags if re.search(wrong, tag)]


@pytest.mark.on_sqlite("the same on both")
def test_long_texts_come_in_parts(reader, storage, make_interaction):
    message = "\n".join(f"{n:05} <&\"'> **word**" for n in range(7000))
    storage.save_interaction_sync(
        make_interaction(interaction_id="one", message=message, response="short")
    )
    reveal(reader)
    sources, path = [], url()
    while path:
        response = reader.get(path)
        assert len(response.content) < 450_000
        page = content(response)
        source = re.search(r'<pre[^>]*id="source-message"[^>]*>\n(.*?)</pre>', page, re.DOTALL)
        sources.append(source[1])
        found = re.search(r'href="(\?[^"]*)" rel="next"', page)
        path = found and url() + found[1].replace("&amp;", "&")
    assert len(sources) > 3
    assert re.findall(r"\d{5}", "".join(sources)) == [f"{n:05}" for n in range(7000)]
    assert "It has ended in an earlier part." in page
    assert reader.get(url(part=len(sources) + 1)).status_code == 400


@pytest.mark.on_sqlite("the same on both")
def test_wrong_parameters_are_refused(viewer, one):
    parts = ("part=0", "part=x", "part=%C2%B2", "part=99", "part=" + "9" * 5000)
    for query in (*parts, "view=", "view=html", "q=1", "x=%00", "part=1&part=1"):
        response = viewer.get(f"{url()}?{query}")
        assert response.status_code == 400, query
        assert "Show the interaction" in content(response)
    assert audited() == []


def test_other_methods_are_refused(viewer, one):
    assert viewer.put(url()).status_code == viewer.delete(url()).status_code == 405
    assert viewer.head(url()).status_code == 200


def test_a_text_that_turns_the_writing_around_is_told(reader, storage, make_interaction):
    storage.save_interaction_sync(make_interaction(interaction_id="one", message="a\u202eb"))
    reveal(reader)
    assert content(reader.get(url())).count("change its direction") == 1


# What else there is to know.


@pytest.mark.every_backend
def test_turns_before_and_after_are_linked(reader, viewer, one):
    page = content(viewer.get(url()))
    turns = page[page.index('class="turns"') :]
    assert [url("before"), url("open")] == re.findall(r'href="(/admin/[^"]+)"', turns)
    assert turns.count("characters, hidden") == 2
    reveal(reader)
    turns = content(reader.get(url())).partition('class="turns"')[2]
    assert "before secret-question" in turns
    assert "open secret-question" in turns
    assert "Nothing after." in content(viewer.get(url("open")))
    assert "No answer yet." in content(viewer.get(url("open")))


def test_cost_is_that_of_the_price_of_its_day(viewer, one):
    assert "No price for this model" in content(viewer.get(url()))
    ModelPrice.objects.create(
        model_used="model-1",
        valid_from=one.created_at.date(),
        input_price=Decimal("100"),
        output_price=Decimal("1000"),
    )
    assert "0.007500 USD" in content(viewer.get(url()))


def test_what_costs_little_is_not_shown_as_free(viewer, one):
    price = ModelPrice.objects.create(
        model_used="model-1",
        valid_from=one.created_at.date(),
        input_price=Decimal("0.001"),
        output_price=Decimal("0.001"),
    )
    assert "&lt; 0.000001 USD" in content(viewer.get(url()))
    ModelPrice.objects.filter(pk=price.pk).update(input_price=0, output_price=0)
    assert ">0 USD" in content(viewer.get(url()))


@pytest.mark.every_backend
def test_tier_and_retention_are_told(viewer, storage, make_interaction, settings):
    settings.RETENTION_HOT_DAYS, settings.RETENTION_TOTAL_DAYS = 30, 90
    created_at = datetime.now(UTC) - timedelta(days=40)
    storage.create_interactions_sync(
        [
            make_interaction(interaction_id="one", created_at=created_at),
            make_interaction(interaction_id="new"),
        ]
    )
    assert "the next archive run moves it" in content(viewer.get(url()))
    assert "Hot; to be archived from" in content(viewer.get(url("new")))
    call_command("archive_interactions", verbosity=0)
    page = content(viewer.get(url()))
    assert "<dd>Archived</dd>" in page
    until = created_at + timedelta(days=90)
    assert f"{until.day} {until:%B %Y, %H:%M} UTC" in page
    assert url("new") in page


@pytest.mark.parametrize("kind", ["user", "day"])
def test_a_legal_hold_is_told(viewer, one, kind):
    assert "On this" not in content(viewer.get(url()))
    value = "ada" if kind == "user" else one.created_at.date().isoformat()
    holds.put(get_storage().archive, holds.Hold(kind, value, "a reason", datetime.now(UTC)))
    page = content(viewer.get(url()))
    assert f"On this {kind} since" in page
    assert "a reason" not in page


def test_without_its_archive_a_hold_is_not_known(viewer, one, tmp_path, monkeypatch):
    storage = get_storage()
    confirm_archive(storage)
    assert "<dt>Legal hold</dt><dd>None</dd>" in content(viewer.get(url()))
    monkeypatch.setattr(storage, "archive", Archive(ArchiveFolder(tmp_path / "not mounted")))
    assert "<dt>Legal hold</dt><dd>Not known" in content(viewer.get(url()))


def test_page_is_shown_although_the_archive_does_not_answer(viewer, one, monkeypatch):
    def fail(*args):
        raise StorageUnavailable("The archive did not answer.")

    archive = type(get_storage().archive)
    monkeypatch.setattr(archive, "days", fail)
    monkeypatch.setattr(type(get_storage().archive.files), "read_document", fail)
    page = content(viewer.get(url()))
    assert "Not known: the archive did not answer" in page
    assert "did not answer for this user" in page
