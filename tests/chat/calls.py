"""Addresses, bodies and answers of the API, as its tests write them."""

from typing import Any
from urllib.parse import quote

from django.http import HttpRequest

from chat import revealed

INTERACTIONS = "/api/v1/interactions/"
BATCH = "/api/v1/interactions/batch/"
LOOKUP = "/api/v1/interactions/lookup/"
SEARCH = "/api/v1/interactions/search/"
PROBLEM = "application/problem+json"

FIELDS = [
    "interaction_id",
    "user_id",
    "message",
    "response",
    "model_used",
    "input_tokens",
    "output_tokens",
    "created_at",
    "updated_at",
]


def new(**fields: Any) -> Any:
    """A sound body for POST; every field can be given."""
    return {"user_id": "ada", "message": "What is a B-tree?", "model_used": "model-1"} | fields


def one(interaction_id: str) -> str:
    """The address of an interaction."""
    return f"{INTERACTIONS}{quote(interaction_id, safe='')}/"


def of_user(user_id: str | None) -> str:
    """The address of a user's interactions."""
    return f"/api/v1/users/{quote(user_id, safe='')}/interactions/"


def post(client: Any, body: Any, path: str = INTERACTIONS, **options: Any) -> Any:
    """POST a value as JSON, or bytes as they are."""
    # As `CONTENT_TYPE` too, because Django's client leaves it out when the body is empty.
    options = {"CONTENT_TYPE": "application/json"} | options
    return client.post(path, body, content_type="application/json", **options)


def patch(client: Any, interaction_id: str, body: Any) -> Any:
    """PATCH an interaction with a value as JSON, or with bytes as they are."""
    return client.patch(
        one(interaction_id), body, content_type="application/json", CONTENT_TYPE="application/json"
    )


def saved(client: Any, **fields: Any) -> Any:
    """Save an interaction; gives the stored record."""
    response = post(client, new(**fields))
    assert response.status_code == 201, response.content
    return response.json()


def is_empty_page(response: Any) -> bool:
    page = response.json()
    return page["results"] == [] and page["next"] is None


def mistakes(response: Any) -> dict[str, Any]:
    """The `errors` of a problem: where each mistake is, and what is said about it."""
    assert response["Content-Type"] == PROBLEM
    return {
        error["pointer"] if "pointer" in error else error["parameter"]: error["detail"]
        for error in response.json().get("errors", [])
    }


def ids(response: Any) -> list[str]:
    """The ids on a page, in its order."""
    return [interaction["interaction_id"] for interaction in response.json()["results"]]


def seen(response: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body: all that a client can see of an answer."""
    return response.status_code, dict(response.headers), response.content


def reveal(client: Any, *user_ids: str) -> None:
    """Reveal the texts of users in the session of a client."""
    request = HttpRequest()
    request.session = client.session
    for user_id in user_ids:
        revealed.remember(request, user_id)
    request.session.save()
