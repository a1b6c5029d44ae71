"""What the OpenAPI schema says of each call: bodies, parameters, and every answer it can give.

The schemas of bodies come from the types that decode them (`chat.api.bodies`).
"""

from typing import Annotated, Any, Literal

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from msgspec import Meta

from chat.api import bodies, parameters
from chat.api.problems import CONTENT_TYPE

Time = Annotated[str, Meta(description="RFC 3339, UTC.", extra_json_schema={"format": "date-time"})]


class Interaction(msgspec.Struct):
    """An interaction as it is stored."""

    interaction_id: bodies.InteractionId
    user_id: bodies.UserId
    message: bodies.Message
    response: bodies.Response
    model_used: bodies.ModelUsed
    input_tokens: bodies.Tokens
    output_tokens: bodies.Tokens
    created_at: Time
    updated_at: Time
    tier: Literal["archive"] | msgspec.UnsetType = msgspec.UNSET


class InteractionPage(msgspec.Struct):
    """One page, newest first. `next` is null on the last page, and only there.

    `archived_until` is in hot lists: what was created until then is in the archive, to be listed
    with `tier=archive`.
    """

    results: list[Interaction]
    next: str | None
    archived_until: Time | msgspec.UnsetType = msgspec.UNSET


class BatchResult(msgspec.Struct):
    """What became of one interaction of a batch."""

    interaction_id: str
    status: Literal["created", "unchanged", "conflict"]


class BatchResults(msgspec.Struct):
    """One result for each interaction, in the order sent."""

    results: list[BatchResult]


class Receipt(msgspec.Struct):
    """What was erased, by layer, and which copies there are still, until when."""

    erased: dict[str, int]
    attempts: int
    looks: int
    finished_at: Time
    copies: list[dict[str, str]]
    copies_gone_by: Time | None


class ErasureState(msgspec.Struct):
    """How far an erasure is. `problem` says why it has not ended yet."""

    erasure_id: str
    status: Literal["pending", "done"]
    requested_at: Time
    problem: str | None
    receipt: Receipt | None


class ProblemError(msgspec.Struct, omit_defaults=True):
    """One mistake: `pointer` is a JSON Pointer into the body, `parameter` a query parameter."""

    detail: str
    pointer: str | msgspec.UnsetType = msgspec.UNSET
    parameter: str | msgspec.UnsetType = msgspec.UNSET


class Problem(msgspec.Struct, omit_defaults=True):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemError] | msgspec.UnsetType = msgspec.UNSET


_COMPONENTS = [
    bodies.NewInteraction,
    bodies.NewInteractions,
    bodies.Completion,
    bodies.Lookup,
    Interaction,
    InteractionPage,
    BatchResults,
    ErasureState,
    Problem,
]

_PROBLEMS = {
    400: "The request breaks a rule; `errors` points at each mistake.",
    401: "The API key is missing, unknown, revoked or expired.",
    403: "The caller may not do this.",
    404: "Unknown, or another user's.",
    409: "An interaction with this id and other content exists, or it is archived; or the user is "
    "under a legal hold.",
    410: "What the first request with this idempotency key made was deleted.",
    411: "The body has no declared length.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The idempotency key came with another request before.",
    503: "The store did not answer in time; try again after `Retry-After` seconds.",
    507: "The store has no space left.",
}
_READING = (400, 401, 403, 503)
_WRITING = (*_READING, 507)
_BODY = (411, 413, 415)


def hide_interactions_called_as_calls(endpoints: list[Any], **kwargs: Any) -> list[Any]:
    """drf-spectacular's hook: `batch/` and `lookup/` are shown as calls, not also as ids."""
    return [
        (path, regex, method, view)
        for path, regex, method, view in endpoints
        if method == "POST" or not path.endswith(("/batch/", "/lookup/"))
    ]


def add_components(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """drf-spectacular's hook: the schemas that the calls refer to."""
    _, components = msgspec.json.schema_components(
        _COMPONENTS, ref_template="#/components/schemas/{name}"
    )
    components["Completion"]["minProperties"] = 1
    result["components"].setdefault("schemas", {}).update(components)
    return result


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Shows how an API key is sent."""

    target_class = "chat.api.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """The key goes into the Authorization header, after the word `Api-Key`."""
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Api-Key` and a space, then the key.",
        }


class StaffSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Shows that staff who are logged in to the admin may read."""

    target_class = "chat.api.authentication.StaffSessionAuthentication"
    name = "StaffSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Django's session cookie."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


_API_KEY_ONLY: Any = [{"ApiKey": []}]


def _ref(component: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{component.__name__}"}


def _body(component: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": _ref(component)}


def _answers(problems: tuple[int, ...], **answers: tuple[type[msgspec.Struct], str]) -> Any:
    responses: dict[Any, Any] = {
        (int(status.removeprefix("_")), "application/json"): OpenApiResponse(
            _ref(component), description
        )
        for status, (component, description) in answers.items()
    }
    for status in problems:
        responses[status, CONTENT_TYPE] = OpenApiResponse(_ref(Problem), _PROBLEMS[status])
    return responses


_ID = OpenApiParameter("interaction_id", str, "path", description="The id of the interaction.")
_PAGE = [
    OpenApiParameter(
        "limit",
        {
            "type": "integer",
            "minimum": 1,
            "maximum": parameters.LIMIT_MAX,
            "default": parameters.LIMIT_DEFAULT,
        },
        description="Interactions on a page.",
    ),
    OpenApiParameter(
        "cursor",
        {"type": "string", "minLength": 1},
        description="Where to go on: taken from `next` of the page before.",
    ),
    OpenApiParameter(
        "created_after", OpenApiTypes.DATETIME, description="Created at this time or later."
    ),
    OpenApiParameter(
        "created_before", OpenApiTypes.DATETIME, description="Created before this time."
    ),
    OpenApiParameter(
        "tier",
        {"type": "string", "enum": ["hot", "archive"], "default": "hot"},
        description="`archive` lists what is in cold storage, in a period of at most "
        f"{parameters.ARCHIVE_RANGE.days} days; created_after and created_before are needed then.",
    ),
]

list_interactions = extend_schema(
    operation_id="list_interactions",
    tags=["interactions"],
    summary="Everyone's interactions, newest first",
    description="For service-wide API keys and staff.",
    parameters=_PAGE,
    responses=_answers(_READING, _200=(InteractionPage, "One page.")),
)
create_interaction = extend_schema(
    operation_id="create_interaction",
    tags=["interactions"],
    auth=_API_KEY_ONLY,
    summary="Save an interaction",
    description="Repeating a request is safe with an `interaction_id` or an `Idempotency-Key`.",
    parameters=[
        OpenApiParameter(
            "Idempotency-Key",
            {"type": "string", "minLength": 1, "maxLength": 255},
            "header",
            description="Any text; a repeat with the same key within 24 hours takes no effect "
            "and gets the interaction that the first request made.",
        )
    ],
    request=_body(bodies.NewInteraction),
    responses=_answers(
        (*_WRITING, *_BODY, 409, 410, 422),
        _201=(Interaction, "Saved, now or by an earlier request with the same key."),
        _200=(Interaction, "Without a key: it was there already, with the same content."),
    ),
)
create_interactions = extend_schema(
    operation_id="create_interactions",
    tags=["interactions"],
    auth=_API_KEY_ONLY,
    summary="Save 1 to 1,000 interactions in one step",
    description="Checked as a whole first: if one is invalid, nothing is written. What exists "
    "already is never changed; repeating a batch is safe if its items have ids.",
    request=_body(bodies.NewInteractions),
    responses=_answers(
        (*_WRITING, *_BODY), _200=(BatchResults, "What became of each interaction.")
    ),
)
look_up_answer = extend_schema(
    operation_id="look_up_answer",
    tags=["interactions"],
    auth=_API_KEY_ONLY,
    summary="The newest answer that a user got to a message",
    description="For a service that asks before it pays a model: the newest interaction of this "
    "user with exactly this message and a response, or 404.",
    request=_body(bodies.Lookup),
    responses=_answers((*_READING, *_BODY, 404), _200=(Interaction, "The interaction.")),
)
get_interaction = extend_schema(
    operation_id="get_interaction",
    tags=["interactions"],
    summary="One interaction",
    parameters=[_ID],
    responses=_answers((*_READING, 404), _200=(Interaction, "The interaction.")),
)
complete_interaction = extend_schema(
    operation_id="complete_interaction",
    tags=["interactions"],
    auth=_API_KEY_ONLY,
    summary="Complete an interaction",
    description="For an answer that arrives after the question was saved.",
    parameters=[_ID],
    request=_body(bodies.Completion),
    responses=_answers((*_WRITING, *_BODY, 404, 409), _200=(Interaction, "The interaction now.")),
)
delete_interaction = extend_schema(
    operation_id="delete_interaction",
    tags=["interactions"],
    auth=_API_KEY_ONLY,
    summary="Delete an interaction",
    description="It is gone from every read at once.",
    parameters=[_ID],
    responses={204: OpenApiResponse(description="Deleted."), **_answers((*_WRITING, 404))},
)
list_user_interactions = extend_schema(
    operation_id="list_user_interactions",
    tags=["interactions"],
    summary="A user's interactions, newest first",
    parameters=[OpenApiParameter("user_id", str, "path", description="The user."), *_PAGE],
    responses=_answers((*_READING, 404), _200=(InteractionPage, "One page.")),
)
