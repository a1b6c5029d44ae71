"""The admin of API keys.

Whoever makes a key sees it, and can read with it. So making one takes the permission to view
interactions besides the one to add keys, and what a key may do beyond one user's interactions is
given away only by those who have a permission for that.
"""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from rest_framework_api_key.admin import APIKeyModelAdmin
from rest_framework_api_key.models import APIKey

from chat.admin.theme import ThemedModelAdmin
from storage.models import ApiKey

if TYPE_CHECKING:
    BaseAdmin = object
    BaseForm = forms.ModelForm[ApiKey]
else:
    BaseAdmin = ThemedModelAdmin
    BaseForm = forms.ModelForm

VIEW = "storage.view_chatinteraction"
GRANT_SERVICE_WIDE = "storage.grant_service_wide"
GRANT_ERASURE = "storage.grant_erasure"

# The library's own key cannot be bound to a user; `ApiKey` replaces it.
admin.site.unregister(APIKey)


class UserIdField(forms.CharField):
    """A user id, taken as it was written: with spaces around it, it is another user's."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "strip": False})


class ApiKeyForm(BaseForm):
    """A key is for every user only if that is said: an empty user id does not mean it."""

    service_wide = forms.BooleanField(
        required=False,
        help_text="The key may read and write the interactions of every user.",
    )

    class Meta:
        field_classes = {"user_id": UserIdField}
        help_texts = {
            "user_id": "The only user this key may read and write. Spaces count, also around it."
        }

    def clean(self) -> dict[str, Any]:
        """Refuse a new key that is for nobody, or both for one user and for every user."""
        values = super().clean() or {}
        if "user_id" not in self.fields or "user_id" in self.errors:
            return values  # a key that is there, or already refused
        if bool(values["user_id"]) == bool(values.get("service_wide")):
            or_all = ", or choose service wide, not both" if "service_wide" in self.fields else ""
            raise ValidationError({"user_id": f"Enter the one user that this key is for{or_all}."})
        return values


@admin.register(ApiKey)
class ApiKeyAdmin(APIKeyModelAdmin, BaseAdmin):
    """Creates and revokes keys. A key is shown only once, when it is created."""

    form = ApiKeyForm
    list_display: tuple[str, ...] = (  # type: ignore[assignment]  # there are more
        "prefix",
        "name",
        "user_id",
        "may_erase",
        "created",
        "expiry_date",
        "revoked",
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
        fields = ["prefix", "name", "user_id", "service_wide", "may_erase"]
        if obj is not None:
            fields.remove("service_wide")
        else:
            if not request.user.has_perm(GRANT_SERVICE_WIDE):
                fields.remove("service_wide")
            if not _may_grant_erasure(request):
                fields.remove("may_erase")
        return [*fields, "revoked", "expiry_date"]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """The form with those fields; one that the model lacks would stay, unseen."""
        form: Any = super().get_form(request, obj, change, **kwargs)
        if "service_wide" not in self.get_fields(request, obj):
            form.base_fields.pop("service_wide", None)
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The user of a key cannot be changed, nor what it may do by who may not give that."""
        fields = (*super().get_readonly_fields(request, obj),)
        if obj is None:
            return fields
        fields = (*fields, "user_id")
        if not _may_grant_erasure(request):
            fields = (*fields, "may_erase")
        if not self._may_grant(request, obj):
            fields = (*fields, "expiry_date")  # a later one would give it again
        return fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and request.user.has_perm(VIEW)

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
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "The new API key",
            "api_key": obj,
            "key": request.new_api_key,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/storage/apikey/made.html", context)


def _may_grant_erasure(request: HttpRequest) -> bool:
    """Only a service-wide key may erase."""
    return request.user.has_perms([GRANT_SERVICE_WIDE, GRANT_ERASURE])
