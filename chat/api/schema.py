"""The parts of the OpenAPI schema that calls share: components, security, error responses.

`chat.api.operations` describes each call with them. Request bodies are described by the types that
decode them (`chat.api.bodies`).
"""

from typing import Annotated, Any, Literal

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiResponse
from msgspec import Meta

from chat.api import bodies
from chat.api.mistakes import ERRORS_MAX
from chat.api.problems import CONTENT_TYPE

Time = Annotated[str, Meta(description="RFC 3339, UTC.", extra_json_schema={"format": "date-time"})]


class Interaction(msgspec.Struct):
    """An interaction, as stored."""

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
    """One page, newest first. `next` is null on the last page only, which may be empty.

    `archived_until` is only in lists of the hot tier. Interactions created before it are archived;
    `tier=archive` lists them.
    """

    results: list[Interaction]
    next: str | None
    archived_until: Time | msgspec.UnsetType = msgspec.UNSET


class SearchPage(msgspec.Struct):
    """One page of a search, newest first. `next` is null when everything was searched.

    `searched_until`: everything that was created later than this was searched, on this page and
    those before it. Null on the last page.
    """

    results: list[Interaction]
    next: str | None
    searched_until: Time | None


class BatchResult(msgspec.Struct):
    """The outcome for one interaction of a batch."""

    interaction_id: str
    status: Literal["created", "unchanged", "conflict"]


class BatchResults(msgspec.Struct):
    """One result for each interaction, in the order sent."""

    results: list[BatchResult]


Day = Annotated[str, Meta(description="A day, UTC.", extra_json_schema={"format": "date"})]
Count = Annotated[int, Meta(ge=0)]


class Usage(msgspec.Struct):
    """The usage of one group. `day`, `model_used` and `user_id` are there if it is grouped by them.

    `unanswered` are those of the interactions that have no response. `cost` is a decimal number, or
    null if nothing of it has a price; `unpriced_interactions` are in no cost.
    """

    interactions: Count
    unanswered: Count
    input_tokens: Count
    output_tokens: Count
    cost: Annotated[str, Meta(pattern=r"^\d+(\.\d+)?$")] | None
    unpriced_interactions: Count
    day: Day | msgspec.UnsetType = msgspec.UNSET
    model_used: bodies.ModelUsed | msgspec.UnsetType = msgspec.UNSET
    user_id: bodies.UserId | msgspec.UnsetType = msgspec.UNSET


class UsageReport(msgspec.Struct):
    """What was used from `start_date` to `end_date`, both inclusive, by user, day and model.

    `next` is null, unless it is grouped by users and more users follow. `complete_until` says up to
    when interactions are counted; null if some are missing, which only an operator can have
    counted (`manage.py rebuild_usage`).
    """

    results: list[Usage]
    next: str | None
    start_date: Day
    end_date: Day
    currency: Annotated[str, Meta(description="ISO 4217.", pattern="^[A-Z]{3}$")]
    unpriced_models: Annotated[
        list[str], Meta(description="Models of which some usage has no price.")
    ]
    complete_until: Time | None


class Receipt(msgspec.Struct):
    """What was erased, by layer, and which copies remain until when.

    Since `removed_at` nobody can read anything of the user. Since `scrubbed_at` no byte of it is
    left in the files of the database; null if that is still to come, or of an erasure by version
    0.2 or earlier. What PostgreSQL keeps of deleted rows is among the copies. One without
    `expires_at` is there for as long as its operator keeps it, and `copies_gone_by` is null then.
    """

    erased: dict[str, int]
    attempts: int
    looks: int
    removed_at: Time
    scrubbed_at: Time | None
    copies: list[dict[str, str]]
    copies_gone_by: Time | None


class ErasureState(msgspec.Struct):
    """The progress of an erasure. `problem` says why it is pending still.

    `removed`: nobody can read anything of the user, and the receipt says what was erased. `done`:
    no byte is left in the files of the database either.
    """

    erasure_id: str
    status: Literal["pending", "removed", "done"]
    requested_at: Time
    requested_by: str | None
    problem: str | None
    receipt: Receipt | None


class RunEnd(msgspec.Struct):
    """How a command last ended."""

    command: str
    status: str
    ended_at: Time


class NewestBackup(msgspec.Struct):
    """The newest backup of the SQL database that this machine sees. Late: older than two days."""

    made_at: Time | None
    is_late: bool


class StoreStatus(msgspec.Struct):
    """What runs here, and how it is. A part that cannot be told is null, and `errors` says why.

    `failed` is what `/readyz` fails for: `database`, `migrations`, `indexes` or `triggers`. `cache`
    is `memory`, `redis`, `away` (Redis does not answer) or `none`. `interactions` has the counts
    `hot`, `cold` (archived), `due` and `overdue` (due for more than two days).
    """

    backend: Literal["sqlite", "dynamodb"]
    failed: str | None
    cache: Literal["memory", "redis", "away", "none"]
    database: dict[str, str | int] | None
    archive: str
    interactions: dict[str, int] | None
    runs: list[RunEnd] | None
    backup: NewestBackup | None
    versions: dict[str, str]
    errors: dict[str, str]


class ProblemError(msgspec.Struct, omit_defaults=True):
    """One mistake, located by a JSON Pointer into the body or by the name of a query parameter."""

    detail: str
    pointer: str | msgspec.UnsetType = msgspec.UNSET
    parameter: str | msgspec.UnsetType = msgspec.UNSET


class Problem(msgspec.Struct, omit_defaults=True):
    """Problem details (RFC 9457).

    `request_id` is in the header X-Request-ID, too, and in each line of the server's log about the
    request. `errors` has the first 100 mistakes, and `error_count` says how many there are. Long
    names and details end in `…`.
    """

    type: str
    title: str
    status: int
    detail: str
    request_id: str | msgspec.UnsetType = msgspec.UNSET
    errors: (
        Annotated[list[ProblemError], Meta(extra_json_schema={"maxItems": ERRORS_MAX})]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    error_count: Annotated[int, Meta(extra_json_schema={"minimum": 1})] | msgspec.UnsetType = (
        msgspec.UNSET
    )


_COMPONENTS = [
    bodies.NewInteraction,
    bodies.NewInteractions,
    bodies.Completion,
    bodies.Lookup,
    Interaction,
    InteractionPage,
    SearchPage,
    BatchResults,
    ErasureState,
    UsageReport,
    StoreStatus,
    Problem,
]

_PROBLEMS = {
    400: "The request breaks a rule; `errors` locates the mistakes.",
    401: "The API key is missing, unknown, revoked or expired.",
    403: "The caller may not do this.",
    404: "Unknown, or another user's.",
    409: "An interaction with this id and other content exists, or it is archived; or the user is "
    "under a legal hold.",
    410: "The interaction made by the first request with this idempotency key was deleted.",
    411: "The body has no declared length.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The idempotency key was used before, with another request.",
    429: "More calls than the API key may make, or than its address may make with wrong keys; try "
    "again after `Retry-After` seconds. `RateLimit-Policy` and `RateLimit` tell the quota.",
    503: "The store did not answer in time; try again after `Retry-After` seconds.",
    507: "The store has no space left.",
}
READING = (400, 401, 403, 429, 503)
"""The statuses of errors that every call can return."""

WRITING = (*READING, 507)
"""The statuses of errors of a call that writes."""

BODY = (411, 413, 415)
"""The further statuses of errors of a call with a body."""


def hide_interactions_called_as_calls(endpoints: list[Any], **kwargs: Any) -> list[Any]:
    """Preprocessing hook: show `batch/`, `lookup/` and `search/` as calls only, not as ids too."""
    calls = {"batch": "POST", "lookup": "POST", "search": "GET"}
    return [
        (path, regex, method, view)
        for path, regex, method, view in endpoints
        if calls.get(path.split("/")[-2], method) == method
    ]


def add_components(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Postprocessing hook: add the components that the calls refer to."""
    _, components = msgspec.json.schema_components(
        _COMPONENTS, ref_template="#/components/schemas/{name}"
    )
    components["Completion"]["minProperties"] = 1
    result["components"].setdefault("schemas", {}).update(components)
    return result


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Documents how an API key is sent."""

    target_class = "chat.api.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """The Authorization header, with the key after the word `Api-Key`."""
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Api-Key` and a space, then the key.",
        }


class StaffSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Documents that staff who are logged in to the admin may read."""

    target_class = "chat.api.authentication.StaffSessionAuthentication"
    name = "StaffSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Django's session cookie."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


API_KEY_ONLY: Any = [{"ApiKey": []}]
"""The security of a call that staff sessions cannot make."""


def _ref(component: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{component.__name__}"}


def body(component: type[msgspec.Struct]) -> dict[str, Any]:
    """The request body of a call, which is a `component`."""
    return {"application/json": _ref(component)}


def responses(
    problems: tuple[int, ...], successes: dict[int, tuple[type[msgspec.Struct], str]] | None = None
) -> Any:
    """The responses of a call: its successes by status, and the statuses of its errors."""
    found: dict[Any, Any] = {
        (status, "application/json"): OpenApiResponse(_ref(component), description)
        for status, (component, description) in (successes or {}).items()
    }
    for status in problems:
        found[status, CONTENT_TYPE] = OpenApiResponse(_ref(Problem), _PROBLEMS[status])
    return found
