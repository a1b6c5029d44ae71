"""A member of staff who opens pages with Django's test client."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

LIST = "/admin/storage/chatinteraction/"
REASON = "Measuring what the page costs."


def client_of_staff() -> Any:
    """A client with a session of a superuser."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    settings.ALLOWED_HOSTS = ["*"]
    user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    return client


class Pages:
    """What a client asks for."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, address: str) -> bytes:
        """A page, which must be there."""
        response = self._client.get(address)
        assert response.status_code == 200, (response.status_code, response.content[:2_000])
        content: bytes = response.content
        return content

    def reveal(self, address: str) -> None:
        """See to it that the texts of a list of ours, or of a conversation, are shown."""
        parts = urlsplit(address)
        if parts.path.endswith("/change/"):
            self._reveal(parts.path)
        elif parts.path == LIST:
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            seen: dict[str, str] = {}
            for interaction in _rows(asked):
                seen.setdefault(interaction.user_id, interaction.interaction_id)
            for identifier in seen.values():
                self._reveal(f"{LIST}{identifier}/change/")

    def _reveal(self, address: str) -> None:
        response = self._client.post(address, {"reason": REASON})
        assert response.status_code == 302, response.content[:2_000]

    @staticmethod
    def newest_identifier() -> str:
        """The id of the newest interaction."""
        return str(_rows({})[0].interaction_id)


def _rows(asked: dict[str, str]) -> list[Any]:
    """The interactions of a list of ours."""
    from django.http import QueryDict
    from django.test import RequestFactory

    from chat.admin.filters import FilterForm
    from storage import get_storage

    request = RequestFactory().get(LIST)
    request.user = _Everything()  # type: ignore[assignment]
    query = QueryDict(mutable=True)
    query.update(asked)
    form = FilterForm(query, request)
    assert form.is_valid(), form.errors
    return list(get_storage().search_interactions_sync(form.search(None, 50)).interactions)


class _Everything:
    """A user who may do all."""

    def has_perm(self, permission: str) -> bool:
        return True
