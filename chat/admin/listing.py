"""The list of interactions in the admin: a search of the storage, and the way through its pages.

Filters are in the address, so that a list can be kept, shared and gone back to. They can be
personal: user ids, and words that somebody may have said. So pages are never cached (`no-store`),
no other site is told where a link was followed (`Referrer-Policy`), logs have routes instead of
addresses (`config.logs`), and the audit log has neither the words nor what was typed as an id.
"""

from typing import Any

from django.contrib.admin.utils import quote
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from chat.admin import auditing, filters, masking
from chat.admin.filters import FilterForm
from chat.admin.pages import page
from chat.admin.paging import START, Trail, cursor_before
from chat.admin.rows import Row, rows, visible
from chat.maintenance.identity import require_archive
from storage import get_storage
from storage.accounts.audit_log import Action
from storage.exceptions import InvalidCursor, InvalidSearch, SearchTooWide
from storage.records.pages import never
from storage.records.searches import Search, SearchPage

PAGE_SIZE = 50
TEMPLATE = "chatinteraction/change_list.html"

FIELDS = {"text": "q"}
"""Names of fields in the form, where those of a search are other ones."""

OTHER_PAGE = "That page is not of this list any more. Begin with the newest interactions."
TOO_WIDE = (
    "Give a user, or the first and the last of at most {} days, too: there is no index of all "
    "words, or it is still being made. Then this works in a moment."
)
NO_SUCH_ID = "There is no interaction with this id. It was deleted, has expired, or never was."


def show(request: HttpRequest) -> HttpResponse:
    """The list, or the interaction whose id is asked for. Raises StorageError."""
    form = FilterForm(request.GET, request)
    mistakes = _mistakes(request, form)
    trail = _trail(request, mistakes)
    if filters.TEXT_REFUSED in form.errors.get("q", []):
        return _refused(request, form, [filters.TEXT_REFUSED], 403)
    if mistakes or form.errors:
        return _refused(request, form, mistakes, 400)
    if interaction_id := request.GET.get("interaction_id", ""):
        return _by_id(request, form, interaction_id)
    search = form.search(trail.cursor or None, PAGE_SIZE)
    try:
        found = _found(search)
    except InvalidCursor:
        return _refused(request, form, [OTHER_PAGE], 400)
    except SearchTooWide as error:
        form.add_error("q", TOO_WIDE.format(error.days))
        return _refused(request, form, [], 400)
    except InvalidSearch as error:
        for name, told in error.violations.items():
            form.add_error(FIELDS.get(name, name), f"{told[:1].upper()}{told[1:]}")
        return _refused(request, form, [], 400)
    shown = rows(request, found.records)
    _audit(request, form, trail, shown)
    links = _links(form, trail, search, found)
    return _page(request, form, rows=shown, **_hidden(request, shown), **links)


def _found(search: Search) -> SearchPage:
    """A page of the search. Raises ArchiveMismatch on a last page that may lack what is cold."""
    storage = get_storage()
    found = storage.search_interactions_sync(search)
    if found.next_cursor is None and search.tier != "hot":
        require_archive(storage)  # a volume that is not mounted looks like an empty archive
    return found


def _mistakes(request: HttpRequest, form: FilterForm) -> list[str]:
    """What is wrong with the parameters, but for those of the form's fields."""
    known = (*form.fields, "interaction_id", "cursor", "trail")
    mistakes = [
        f"There is no filter “{visible(name)[:80]}”. The filters are: {', '.join(known[:-2])}."
        for name in request.GET
        if name not in known
    ]
    for name, values in request.GET.lists():
        if name in known and len(values) > 1:
            mistakes.append(f"“{name}” is given {len(values)} times. Give it once.")
    alone = {name for name, value in request.GET.items() if value and name in known}
    if "interaction_id" in alone and len(alone) > 1:
        mistakes.append(filters.ID_ALONE)
    return mistakes


def _trail(request: HttpRequest, mistakes: list[str]) -> Trail:
    cursor = request.GET.get("cursor", "")
    try:
        return Trail.parse(cursor, request.GET.get("trail", ""))
    except ValueError:
        mistakes.append(OTHER_PAGE)
        return Trail()


def _by_id(request: HttpRequest, form: FilterForm, interaction_id: str) -> HttpResponse:
    is_found = get_storage().read_record(interaction_id, never) is not None
    # What was typed may be anything, so only an id that is one goes into the log.
    known = interaction_id if is_found else ""
    auditing.record(
        request, Action.SEARCHED, interaction_id=known, details={"by_id": True, "found": is_found}
    )
    if not is_found:
        return _page(request, form, not_found=NO_SUCH_ID)
    url = reverse("admin:storage_chatinteraction_change", args=[quote(interaction_id)])
    return HttpResponseRedirect(url)


def _audit(request: HttpRequest, form: FilterForm, trail: Trail, shown: list[Row]) -> None:
    details: dict[str, Any] = form.for_audit(is_found=bool(shown))
    if trail.cursor:
        details["older"] = True
    if any(row.preview is not None for row in shown):
        details["texts_shown"] = True
    action = Action.SEARCHED if form.given else Action.LISTED
    auditing.record(request, action, user_id=form.given.get("user_id", ""), details=details)


def _hidden(request: HttpRequest, shown: list[Row]) -> dict[str, Any]:
    is_hidden = any(row.preview is None for row in shown)
    return {"texts_hidden": is_hidden, "may_reveal": masking.may_reveal(request)}


def _links(form: FilterForm, trail: Trail, search: Search, found: SearchPage) -> dict[str, Any]:
    """Where to go from this page, and what it says of how much there is."""
    given = {name: value for name, value in form.data.items() if value and name in form.fields}
    interactions = found.interactions
    is_first, following = not trail.cursor, found.next_cursor
    is_full = len(interactions) == PAGE_SIZE
    here = trail.cursor or (cursor_before(interactions[0], search) if interactions else START)
    newer = trail.newer
    return {
        "newest_url": "" if is_first else Trail().url(given),
        "newer_url": newer.url(given) if newer else "",
        "older_url": trail.older(following, here).url(given) if following else "",
        "searched_until": None if is_full else found.searched_until,
        "more_than": PAGE_SIZE if is_first and is_full and following else None,
        "in_all": len(interactions) if is_first and not following else None,
        "is_filtered": bool(form.given),
    }


def _refused(
    request: HttpRequest, form: FilterForm, mistakes: list[str], status: int
) -> HttpResponse:
    return _page(request, form, status=status, mistakes=mistakes)


def _page(
    request: HttpRequest, form: FilterForm, status: int = 200, **context: Any
) -> HttpResponse:
    is_open = form.has_more or "q" in form.errors  # its remedy is there
    return page(
        request,
        TEMPLATE,
        "Interactions",
        status=status,
        form=form,
        is_open=is_open,
        models=filters.models(),
        interaction_id=request.GET.get("interaction_id", ""),
        **context,
    )
