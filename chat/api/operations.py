"""How the OpenAPI schema describes each call: a decorator for the method that serves it."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from chat.api import bodies, parameters
from chat.api.schema import (
    API_KEY_ONLY,
    BODY,
    READING,
    WRITING,
    BatchResults,
    ErasureState,
    Interaction,
    InteractionPage,
    SearchPage,
    StoreStatus,
    UsageReport,
    body,
    responses,
)
from storage import limits
from storage.limits import TOKENS_MAX
from storage.records import searches

EXPORT_TYPE = "application/x-ndjson"

_ID = OpenApiParameter("interaction_id", str, "path", description="The id of the interaction.")
_USER = OpenApiParameter("user_id", str, "path", description="The user.")
_ERASED_USER = OpenApiParameter(
    "user_id", {"type": "string", **bodies.NEW_ID}, "path", description="The user."
)
_PAGE = [
    OpenApiParameter(
        "limit",
        {
            "type": "integer",
            "minimum": 1,
            "maximum": parameters.LIMIT_MAX,
            "default": parameters.LIMIT_DEFAULT,
        },
        description="Interactions on a page. One of long texts ends sooner, and `next` goes on.",
    ),
    OpenApiParameter(
        "cursor",
        {"type": "string", "minLength": 1},
        description="Where the page starts: the cursor in `next` of the page before.",
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
        description="`archive` lists archived interactions, within a period of at most "
        f"{parameters.ARCHIVE_RANGE.days} days; it needs created_after and created_before.",
    ),
]

_TOKENS = {"type": "integer", "minimum": 0, "maximum": TOKENS_MAX}
_SEARCH = [
    OpenApiParameter(
        "q",
        {"type": "string", "minLength": 1, "maxLength": searches.TEXT_MAX},
        description="Words. Each must begin a word of the message or the response; case and "
        "accents do not count. Where no index has the words, it needs `user_id`, or a period of at "
        f"most {searches.TEXT_RANGE.days} days.",
    ),
    OpenApiParameter("user_id", {"type": "string", "minLength": 1}, description="Of this user."),
    OpenApiParameter(
        "model_used", {"type": "string", "minLength": 1}, description="Of this model."
    ),
    *(parameter for parameter in _PAGE if parameter.name != "tier"),
    OpenApiParameter(
        "tier",
        {"type": "string", "enum": list(searches.TIERS), "default": "all"},
        description="`hot` or `archive` leaves the others out.",
    ),
    OpenApiParameter(
        "answered", {"type": "boolean"}, description="`true`: with a response. `false`: without."
    ),
    OpenApiParameter(
        "tokens_min", _TOKENS, description="Input and output tokens together, at least."
    ),
    OpenApiParameter(
        "tokens_max", _TOKENS, description="Input and output tokens together, at most."
    ),
]

list_interactions = extend_schema(
    operation_id="list_interactions",
    tags=["interactions"],
    summary="The interactions of all users, newest first",
    description="For service-wide API keys and staff.",
    parameters=_PAGE,
    responses=responses(READING, {200: (InteractionPage, "One page.")}),
)
create_interaction = extend_schema(
    operation_id="create_interaction",
    tags=["interactions"],
    auth=API_KEY_ONLY,
    summary="Save an interaction",
    description="Repeating a request is safe with an `interaction_id` or an `Idempotency-Key`.",
    parameters=[
        OpenApiParameter(
            "Idempotency-Key",
            {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x20-\x7e]*$"},
            "header",
            description="Any text in ASCII. A repeat with the same key within 24 hours changes "
            "nothing and returns the interaction that the first request made.",
        )
    ],
    request=body(bodies.NewInteraction),
    responses=responses(
        (*WRITING, *BODY, 409, 410, 422),
        {
            201: (Interaction, "Saved, by this request or an earlier one with the same key."),
            200: (Interaction, "Without a key: it existed already, with the same content."),
        },
    ),
)
create_interactions = extend_schema(
    operation_id="create_interactions",
    tags=["interactions"],
    auth=API_KEY_ONLY,
    summary="Save 1 to 1,000 interactions in one step",
    description="All are checked first: if one is invalid, nothing is written. What exists already "
    "is never changed. Repeating a batch is safe if its items have ids; it takes no "
    "`Idempotency-Key`.",
    request=body(bodies.NewInteractions),
    responses=responses(
        (*WRITING, *BODY), {200: (BatchResults, "The outcome for each interaction.")}
    ),
)
look_up_answer = extend_schema(
    operation_id="look_up_answer",
    tags=["interactions"],
    auth=API_KEY_ONLY,
    summary="The newest answer that a user got to a message",
    description="For a service that looks for an answer before it pays a model: the user's newest "
    "interaction with exactly this message and with a response, or 404. If the service runs with "
    "`ANSWER_LOOKUP=false`, it is always 404, with the type `urn:problem-type:answer-lookup-off`.",
    request=body(bodies.Lookup),
    responses=responses((*READING, *BODY, 404), {200: (Interaction, "The interaction.")}),
)
search_interactions = extend_schema(
    operation_id="search_interactions",
    tags=["interactions"],
    summary="Search interactions, hot and archived, newest first",
    description="All that is given must hold. With an API key that is bound to a user, that "
    "user's only. A page does a bounded amount of work, so it may have fewer results than `limit`, "
    "or none, although there are more: then `searched_until` says how far it has come, and `next` "
    "goes on.",
    parameters=_SEARCH,
    responses=responses(READING, {200: (SearchPage, "One page.")}),
)
get_interaction = extend_schema(
    operation_id="get_interaction",
    tags=["interactions"],
    summary="One interaction",
    parameters=[_ID],
    responses=responses((*READING, 404), {200: (Interaction, "The interaction.")}),
)
complete_interaction = extend_schema(
    operation_id="complete_interaction",
    tags=["interactions"],
    auth=API_KEY_ONLY,
    summary="Complete an interaction",
    description="For an answer that arrives after the question was saved.",
    parameters=[_ID],
    request=body(bodies.Completion),
    responses=responses(
        (*WRITING, *BODY, 404, 409), {200: (Interaction, "The changed interaction.")}
    ),
)
delete_interaction = extend_schema(
    operation_id="delete_interaction",
    tags=["interactions"],
    auth=API_KEY_ONLY,
    summary="Delete an interaction",
    description="No later read returns it.",
    parameters=[_ID],
    responses={204: OpenApiResponse(description="Deleted."), **responses((*WRITING, 404))},
)
list_user_interactions = extend_schema(
    operation_id="list_user_interactions",
    tags=["interactions"],
    summary="A user's interactions, newest first",
    parameters=[_USER, *_PAGE],
    responses=responses((*READING, 404), {200: (InteractionPage, "One page.")}),
)
export_user = extend_schema(
    operation_id="export_user",
    tags=["users"],
    auth=API_KEY_ONLY,
    summary="Everything that is stored about a user",
    description="For service-wide API keys that may erase and export users. One interaction a "
    "line, newest first, including archived ones; those that are archived, restored or saved "
    "meanwhile may come last. None for a user about whom nothing is stored. "
    'The last line is `{"complete": true, "count": ..., "sha256": "..."}`: the number of lines '
    "before it, and the SHA-256 of their bytes, line ends included. **A response without this line "
    "is incomplete:** repeat the request.",
    parameters=[_USER],
    responses={
        (200, EXPORT_TYPE): OpenApiResponse({"type": "string"}, "Lines of JSON."),
        **responses((*READING, 404)),
    },
)
erase_user = extend_schema(
    operation_id="erase_user",
    tags=["users"],
    auth=API_KEY_ONLY,
    summary="Erase a user",
    description="For service-wide API keys that may erase and export users. 200 if all layers have "
    "confirmed that nothing is left; 202 if the erasure goes on, with its address in `Location`: "
    "`status` says whether there may be something to read still (`pending`) or not (`removed`). "
    "Repeating the request while an erasure is pending returns the same erasure. 409 if the user "
    "is under a legal hold. A user id that ends in `/interactions` or `/export`, or in which `.` "
    "or `..` stands alone or between slashes, can only be erased with `manage.py erase_user`.",
    parameters=[_ERASED_USER],
    responses=responses(
        (*WRITING, 404, 409),
        {
            200: (ErasureState, "Nothing of the user is left."),
            202: (ErasureState, "The erasure goes on."),
        },
    ),
)
get_erasure = extend_schema(
    operation_id="get_erasure",
    tags=["users"],
    auth=API_KEY_ONLY,
    summary="The progress of an erasure",
    parameters=[OpenApiParameter("erasure_id", str, "path", description="The id of the erasure.")],
    responses=responses((*READING, 404), {200: (ErasureState, "Its state, and its receipt.")}),
)
get_usage = extend_schema(
    operation_id="get_usage",
    tags=["usage"],
    summary="Interactions, tokens and costs, by day, model and user",
    description="Days are those of `created_at`, in UTC. A day costs what the price list says of "
    "it now. An API key that is bound to a user gets the usage of this user. What is said of users "
    "ends with their data: after an erasure, or when the retention is over. What is said of all "
    "users together stays.",
    parameters=[
        OpenApiParameter(
            "start_date", OpenApiTypes.DATE, description="The first day. Default: 30 days in all."
        ),
        OpenApiParameter(
            "end_date",
            OpenApiTypes.DATE,
            description="The last day, at most 365 days later. Default: today.",
        ),
        OpenApiParameter(
            "group_by",
            {"type": "string", "default": "day,model", "pattern": "^(day|model|user)(,|$)"},
            description="One or more of `day`, `model` and `user`, with commas between them.",
        ),
        OpenApiParameter(
            "model_used",
            {"type": "string", "minLength": 1, "maxLength": limits.MODEL_MAX_LENGTH},
            description="Only this model.",
        ),
        OpenApiParameter(
            "user_id",
            {"type": "string", "minLength": 1, "maxLength": limits.IDENTIFIER_MAX_LENGTH},
            description="Only this user.",
        ),
        OpenApiParameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            description="Users on a page, where they are grouped by users. Those without usage of "
            "`model_used` count too, so a page may have fewer, or none, and `next` goes on.",
        ),
        OpenApiParameter(
            "cursor",
            {"type": "string", "minLength": 1},
            description="Where the page starts: the cursor in `next` of the page before.",
        ),
    ],
    responses=responses(READING, {200: (UsageReport, "The usage.")}),
)
get_status = extend_schema(
    operation_id="get_status",
    tags=["status"],
    summary="What runs here, and how it is",
    description="For operators: staff who may view interactions, and service-wide API keys. "
    "Whether a load balancer should send requests here is what `/readyz` says.",
    responses=responses(READING, {200: (StoreStatus, "The status.")}),
)
