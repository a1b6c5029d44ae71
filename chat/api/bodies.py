"""Request bodies: their types, and error reports that name every mistake at once.

A correct body is decoded in one step. Only if that fails is it checked field by field, so that
all mistakes are reported and not just the first. The limits of values are in `storage.limits`;
the types here add what JSON needs and what the schema shows.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import msgspec
from django.http import HttpRequest
from django.utils import timezone
from msgspec import UNSET, Meta, UnsetType

from chat.api.problems import (
    InvalidRequest,
    LengthRequired,
    TooLarge,
    UnsupportedMediaType,
    field_errors,
)
from storage import limits
from storage.models import ChatInteraction
from storage.models.interaction import new_interaction_id
from storage.records.questions import Question

T = TypeVar("T")
Errors = list[dict[str, Any]]

BODY_LIMIT = 2 * 1024 * 1024
"""Bytes in the body of a call for one interaction."""

BATCH_BODY_LIMIT = 16 * 1024 * 1024
"""Bytes in the body of a batch."""

BATCH_LIMIT = 1000
"""Interactions in one batch."""

MAX_AGE_MAX = 10 * 366 * 24 * 60 * 60
"""Seconds. No interaction is kept for so long."""


def _documented(description: str, **schema: Any) -> Meta:
    """What the schema shows. It enforces nothing: `storage.limits` does."""
    return Meta(description=description, extra_json_schema=schema)


_IDENTIFIER = {"minLength": 1, "maxLength": limits.IDENTIFIER_MAX_LENGTH}
InteractionId = Annotated[
    str,
    _documented(
        "The id, unique in the store. The server makes one if it is left out.", **_IDENTIFIER
    ),
]
UserId = Annotated[str, _documented("The user whose interaction this is.", **_IDENTIFIER)]
Message = Annotated[
    str,
    _documented(
        "What the user asked. Message and response together hold at most "
        f"{limits.TEXT_MAX_BYTES} bytes of UTF-8."
    ),
]
Response = Annotated[
    str, _documented("What the model answered. Empty until a streamed answer is complete.")
]
_MODEL = {"minLength": 1, "maxLength": limits.MODEL_MAX_LENGTH}
ModelUsed = Annotated[str, _documented("The model that answered.", **_MODEL)]
MaxAge = Annotated[
    int,
    _documented(
        "Only answers of interactions created at most this many seconds ago.",
        minimum=1,
        maximum=MAX_AGE_MAX,
    ),
]
Tokens = Annotated[
    int, _documented("Tokens, as the model counts them.", minimum=0, maximum=limits.TOKENS_MAX)
]


class Unprinted(msgspec.Struct):
    """Has a `repr` without values, so that no logs or error reports contain what users said."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class NewInteraction(Unprinted, forbid_unknown_fields=True, kw_only=True):
    """An interaction to save. The server sets its times."""

    interaction_id: InteractionId | UnsetType = UNSET
    user_id: UserId
    message: Message
    response: Response = ""
    model_used: ModelUsed
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0


class NewInteractions(Unprinted, forbid_unknown_fields=True):
    """Interactions of any users, to save in one step."""

    interactions: Annotated[
        list[NewInteraction], Meta(extra_json_schema={"minItems": 1, "maxItems": BATCH_LIMIT})
    ]


class Completion(Unprinted, forbid_unknown_fields=True):
    """The fields that complete an interaction whose answer arrived later. At least one."""

    response: Response | UnsetType = UNSET
    model_used: ModelUsed | UnsetType = UNSET
    input_tokens: Tokens | UnsetType = UNSET
    output_tokens: Tokens | UnsetType = UNSET


class Lookup(Unprinted, forbid_unknown_fields=True):
    """The answer to look for."""

    user_id: Annotated[str, _documented("Who asked.", **_IDENTIFIER)]
    message: Annotated[str, _documented("The message, exactly as it was asked.")]
    model_used: Annotated[str, _documented("Only answers of this model.", **_MODEL)] | UnsetType = (
        UNSET
    )
    max_age: MaxAge | UnsetType = UNSET


_NEW_INTERACTION = msgspec.json.Decoder(NewInteraction)
_NEW_INTERACTIONS = msgspec.json.Decoder(NewInteractions)
_LOOKUP = msgspec.json.Decoder(Lookup)
_COMPLETION = msgspec.json.Decoder(Completion)


def read_body(request: HttpRequest, limit: int) -> bytes:
    """The body, which is read only if its declared length is at most `limit` bytes."""
    media_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("Send JSON, with the header 'Content-Type: application/json'.")
    if request.META.get("HTTP_TRANSFER_ENCODING"):
        raise LengthRequired("Send the body in one piece, with the header 'Content-Length'.")
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
        raise TooLarge(f"The body must be at most {limit} bytes.")
    return request.body


def new_interaction(body: bytes) -> ChatInteraction:
    """The interaction in the body of a POST. Its limits are checked when it is saved."""
    return _interaction(_decoded(_NEW_INTERACTION, body))


def new_interactions(body: bytes) -> list[ChatInteraction]:
    """The interactions in the body of a batch. Their limits are checked when they are saved."""
    decoded = _decoded(_NEW_INTERACTIONS, body, _batch_errors).interactions
    if not 1 <= len(decoded) <= BATCH_LIMIT:
        raise _invalid([_batch_size_error(len(decoded))])
    return [_interaction(item) for item in decoded]


def completion(body: bytes) -> dict[str, Any]:
    """The changes in the body of a PATCH. Their limits are checked when they are saved."""
    changes = msgspec.structs.asdict(_decoded(_COMPLETION, body))
    given = {name: value for name, value in changes.items() if value is not UNSET}
    if not given:
        names = ", ".join(changes)
        raise _invalid([{"pointer": "#", "detail": f"Give at least one of: {names}."}])
    return given


def question(body: bytes) -> Question:
    """The question in the body of a lookup."""
    lookup = _decoded(_LOOKUP, body)
    if problems := _lookup_problems(lookup):
        raise _invalid(field_errors(problems, "#"))
    return Question(
        lookup.user_id,
        lookup.message,
        None if lookup.model_used is UNSET else lookup.model_used,
        None if lookup.max_age is UNSET else timedelta(seconds=lookup.max_age),
    )


def _decoded(
    decoder: msgspec.json.Decoder[T], body: bytes, errors_in: Callable[[Any], Errors] | None = None
) -> T:
    """The decoded body. Raises InvalidRequest naming all that is wrong, found by `errors_in`."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        value = _json(body)
        errors = errors_in(value) if errors_in else _struct_errors(decoder.type, value, "#")
        # If a field occurs twice, only its last value is checked now, and that may be right.
        raise _invalid(errors or [{"pointer": "#", "detail": f"{error}."}]) from None
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None


def _lookup_problems(lookup: Lookup) -> dict[str, str]:
    found = {
        "user_id": limits.identifier_violation(lookup.user_id),
        "message": limits.text_violation(lookup.message),
    }
    if lookup.model_used is not UNSET:
        found["model_used"] = limits.model_violation(lookup.model_used)
    if lookup.max_age is not UNSET and not 1 <= lookup.max_age <= MAX_AGE_MAX:
        found["max_age"] = f"must be from 1 to {MAX_AGE_MAX} seconds."
    return {name: text for name, text in found.items() if text is not None}


def _interaction(new: NewInteraction) -> ChatInteraction:
    values = msgspec.structs.asdict(new)
    if new.interaction_id is UNSET:
        values["interaction_id"] = new_interaction_id()
    values["created_at"] = values["updated_at"] = timezone.now()
    return ChatInteraction.from_values(values)


def _struct_errors(struct: Any, value: Any, pointer: str) -> Errors:
    """Every field of `value` that is unknown, missing or of the wrong type."""
    if not isinstance(value, dict):
        return [{"pointer": pointer, "detail": "must be a JSON object."}]
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    errors = [
        {
            "pointer": f"{pointer}/{_escaped(name)}",
            "detail": f"unknown field; the fields are: {', '.join(fields)}.",
        }
        for name in value
        if name not in fields
    ]
    for name, field in fields.items():
        if name not in value:
            if field.required:
                errors.append({"pointer": f"{pointer}/{name}", "detail": f"{name} is required."})
            continue
        try:
            msgspec.convert(value[name], field.type)
        except msgspec.ValidationError as error:
            errors.append({"pointer": f"{pointer}/{name}", "detail": f"{name}: {error}."})
    return errors


def _batch_errors(value: Any) -> Errors:
    items = value.get("interactions") if isinstance(value, dict) else None
    if not isinstance(items, list):
        return [{"pointer": "#", "detail": 'must be {"interactions": [...]}.'}]
    errors = [
        {"pointer": f"#/{_escaped(name)}", "detail": "unknown field."}
        for name in value
        if name != "interactions"
    ]
    if not 1 <= len(items) <= BATCH_LIMIT:
        return [*errors, _batch_size_error(len(items))]
    for index, item in enumerate(items):
        pointer = f"#/interactions/{index}"
        found = _struct_errors(NewInteraction, item, pointer)
        if not found:
            sound = _interaction(msgspec.convert(item, NewInteraction))
            found = field_errors(sound.violations(), pointer)
        errors.extend(found)
    return errors


def _batch_size_error(count: int) -> dict[str, Any]:
    detail = f"interactions must have 1 to {BATCH_LIMIT} items; it has {count}."
    return {"pointer": "#/interactions", "detail": detail}


def _escaped(name: str) -> str:
    """The name as part of a JSON Pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def _invalid(errors: Errors) -> InvalidRequest:
    return InvalidRequest("The body breaks a rule; see errors.", errors)


def _malformed(error: Exception) -> InvalidRequest:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, UnicodeError):
        reason = "not UTF-8"
    return InvalidRequest(f"The body is not JSON that can be read: {reason}.")
