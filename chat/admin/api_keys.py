"""The admin of API keys.

Whoever makes a key sees it, and can read with it. So making one takes the permissions to view
interactions and to read their texts besides the one to add keys, and what a key may do beyond one
user's interactions is given away only by those who have a permission for that. Rotating a key
(`chat.admin.key_rotation`) is making another one.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from rest_framework_api_key.admin import APIKeyModelAdmin
from rest_framework_api_key.models import APIKey

from chat.admin import key_rotation
from chat.admin.auditing import Audited
from chat.admin.key_rotation import audit_of, made
from chat.admin.opened_before import KeepsOthersChanges
from chat.admin.theme import ThemedModelAdmin, ThemedSwitch
from chat.admin.user_forms import AsWrittenField
from storage.accounts import key_use
from storage.accounts.audit_log import Action
from storage.exceptions import StorageError
from storage.expiry import MICROSECOND
from storage.models import ApiKey

if TYPE_CHECKING:
    BaseAdmin = object
    BaseForm = forms.ModelForm[ApiKey]
else:
    BaseAdmin = ThemedModelAdmin
    BaseForm = forms.ModelForm

READING = ("storage.view_chatinteraction", "storage.read_texts")
GRANT_SERVICE_WIDE = "storage.grant_service_wide"
GRANT_ERASURE = "storage.grant_erasure"

SHOWN_DAYS = 30

EPOCH = datetime.fromtimestamp(0, UTC)
LATEST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND

REPEATED = (
    "A key like this one was made since this page was opened. If you have sent the page twice, "
    "that is the new key. It was shown once: if nobody has it, revoke it. Send this page again to "
    "make another one."
)

# The library's own key cannot be bound to a user; `ApiKey` replaces it.
admin.site.unregister(APIKey)


def newest_key() -> int:
    """When the newest key was made, in microseconds since 1970; 0 if there is none."""
    created = ApiKey.objects.order_by("-created").values_list("created", flat=True).first()
    return (created - EPOCH) // MICROSECOND if created else 0


class ApiKeyForm(BaseForm):
    """A key is for every user only if that is said: an empty user id does not mean it."""

    service_wide = forms.BooleanField(
        label="Service-wide",
        required=False,
        widget=ThemedSwitch,
        help_text="The key may read and write the interactions of every user.",
    )
    newest = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=LATEST,
        initial=newest_key,
        widget=forms.HiddenInput,
    )
    """The newest key when the page was opened. Sent twice, it makes one key."""

    class Meta:
        field_classes = {"user_id": AsWrittenField}
        help_texts = {
            "user_id": "The only user this key may read and write. Spaces count, also around it."
        }

    def clean(self) -> dict[str, Any]:
        """Refuse a new key that is for nobody, or both for one user and for every user."""
        values = super().clean() or {}
        if "user_id" not in self.fields or "user_id" in self.errors:
            return values  # a key that is there, or already refused
        if bool(values["user_id"]) == bool(values.get("service_wide")):
            or_all = ", or choose service-wide, not both" if "service_wide" in self.fields else ""
            raise ValidationError({"user_id": f"Enter the one user that this key is for{or_all}."})
        if self._is_repeated(values):
            again: Any = self.data
            self.data = again = again.copy()
            again["newest"] = str(newest_key())
            raise ValidationError(REPEATED)
        return values

    def _is_repeated(self, values: dict[str, Any]) -> bool:
        """Whether a key with the same name and rights was made since the page was opened."""
        newest = values.get("newest")
        if newest is None:
            return False
        alike = {"name": values.get("name"), "user_id": values["user_id"]}
        alike["may_erase"] = values.get("may_erase", False)
        opened = EPOCH + newest * MICROSECOND
        return ApiKey.objects.filter(**alike, created__gt=opened).exists()


@admin.register(ApiKey)
class ApiKeyAdmin(KeepsOthersChanges, Audited, APIKeyModelAdmin, BaseAdmin):
    """Creates, rotates and revokes keys. A key is shown only once, when it is created."""

    class Media:
        css = {"all": ["chat/audit.css"]}

    audited_as = Action.KEY_CHANGED
    form = ApiKeyForm
    list_display: tuple[str, ...] = (  # type: ignore[assignment]  # there are more
        "prefix",
        "name",
        "whose",
        "erases",
        "created",
        "expiry_date",
        "last_used_at",
        "is_revoked",
    )
    list_filter = ("revoked",)
    search_fields = ("name", "user_id")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only the filters of the list: others would tell the hash of a key, bit by bit."""
        return lookup.partition("__")[0] in self.list_filter

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ApiKey], search_term: str
    ) -> tuple[QuerySet[ApiKey], bool]:
        """Keys with the term as it was written; Django would take it apart at spaces."""
        found = Q()
        for field in self.search_fields:
            found |= Q(**{f"{field}__icontains": search_term})
        return queryset.filter(found), False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Only what whoever asks may give away, and of a key that is there all."""
        if obj is not None:
            fields = ["prefix", "name", "user_id", "may_erase", "revoked", "expiry_date"]
            return [*fields, "last_used", "use", "rotation"]
        fields = ["name", "user_id"]
        if request.user.has_perm(GRANT_SERVICE_WIDE):
            fields.append("service_wide")
        if _may_grant_erasure(request):
            fields.append("may_erase")
        return [*fields, "expiry_date", "newest"]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form with those fields; those that the model lacks would stay, unseen."""
        form: Any = super().get_form(request, obj, change, **kwargs)
        for name in {"service_wide", "newest"} - {*self.get_fields(request, obj)}:
            form.base_fields.pop(name, None)
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Nothing: a link could fill in a key for everyone, and Django fails at some dates."""
        return {}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The user of a key cannot be changed, nor what it may do by who may not give that."""
        fields = (*super().get_readonly_fields(request, obj),)
        if obj is None:
            return fields
        obj.can_be_rotated = self.may_rotate(request, obj)
        fields = (*fields, "user_id", "last_used", "use", "rotation")
        if not _may_grant_erasure(request):
            fields = (*fields, "may_erase")
        if not self._may_grant(request, obj):
            fields = (*fields, "expiry_date")  # a later one would give it again
        return fields

    @admin.display(description="user id", ordering="user_id")
    def whose(self, api_key: ApiKey) -> str:
        """The one user of the key, or that it has none."""
        return api_key.user_id or "(every user)"

    @admin.display(description="may erase and export users", ordering="may_erase")
    def erases(self, api_key: ApiKey) -> str:
        """In words: the theme's red cross would look like something wrong."""
        return "Yes" if api_key.may_erase else "No"

    @admin.display(description="revoked", ordering="revoked")
    def is_revoked(self, api_key: ApiKey) -> str:
        """As `erases`."""
        return "Yes" if api_key.revoked else "No"

    @admin.display(description="last used")
    def last_used(self, api_key: ApiKey) -> str:
        """To the minute, since it is written about once a minute."""
        at = api_key.last_used_at
        return f"{at:%Y-%m-%d %H:%M} UTC, about" if at else "Never"

    @admin.display(description="calls a day")
    def use(self, api_key: ApiKey) -> str:
        """The days on which calls came with the key, as a table."""
        today = timezone.now().date()
        try:
            days = key_use.of_key(api_key.prefix, today - timedelta(days=SHOWN_DAYS - 1), today)
        except StorageError as error:
            return str(error)
        context = {"days": days, "shown_days": SHOWN_DAYS}
        return render_to_string("admin/storage/apikey/use.html", context)

    @admin.display(description="rotation")
    def rotation(self, api_key: ApiKey) -> str:
        """The way to a new key in place of this one."""
        if not getattr(api_key, "can_be_rotated", False):
            return "Not possible: the key is revoked or expired, or you may not make such a key."
        url = reverse("admin:storage_apikey_rotate", args=[quote(api_key.pk)])
        return format_html('<a class="rotate" href="{}">Rotate this key…</a>', url)

    def get_urls(self) -> list[URLPattern]:
        """The page on which a key is rotated, besides Django's."""
        view = self.admin_site.admin_view(self.rotate_view)
        path_of_page = path("<path:object_id>/rotate/", view, name="storage_apikey_rotate")
        return [path_of_page, *super().get_urls()]

    def rotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Make a key with the same rights; both work until the old one expires."""
        rotate, key_id = key_rotation.rotate, unquote(object_id)
        found: HttpResponse = self._or_unavailable(rotate, request, key_id, self.may_rotate)
        return found

    def may_rotate(self, request: HttpRequest, api_key: ApiKey) -> bool:
        """Whether whoever asks may replace this key, and it can be."""
        is_usable = not (api_key.revoked or api_key.has_expired)
        may_change = self.has_change_permission(request, api_key)
        return is_usable and may_change and self._may_grant(request, api_key)

    def about(self, changed: ApiKey) -> dict[str, Any]:
        """The key and what it may do. Not its name, which people write users' names into."""
        return audit_of(changed)

    def _action(self, how: str, details: dict[str, Any]) -> Action:
        if how == "changed":
            fields = [name.lower() for name in details["fields"]]  # they are labels
            return Action.KEY_REVOKED if "revoked" in fields else Action.KEY_CHANGED
        return Action.KEY_MADE if how == "added" else Action.KEY_DELETED

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and request.user.has_perms(READING)

    def _may_grant(self, request: HttpRequest, api_key: ApiKey) -> bool:
        """Whether whoever asks could have made this key."""
        return (
            self.has_add_permission(request)
            and bool(api_key.user_id or request.user.has_perm(GRANT_SERVICE_WIDE))
            and (not api_key.may_erase or _may_grant_erasure(request))
        )

    def save_model(self, request: HttpRequest, obj: Any, form: Any = None, change: Any = 0) -> None:
        """Save a key. A new one is made here, and shown by `response_add`."""
        if change:
            obj.save()
            return
        request.new_api_key = ApiKey.objects.assign_key(obj)  # type: ignore[attr-defined]
        obj.save()

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The page with the new key. A message would be kept in a cookie or a session."""
        return made(request, obj, request.new_api_key)  # type: ignore[attr-defined]


def may_make_keys(request: HttpRequest) -> bool:
    """Whether whoever asks may open the form of a new key."""
    return request.user.has_perms(["storage.add_apikey", *READING])


def _may_grant_erasure(request: HttpRequest) -> bool:
    """Only a service-wide key may erase."""
    return request.user.has_perms([GRANT_SERVICE_WIDE, GRANT_ERASURE])
