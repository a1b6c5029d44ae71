"""Request bodies: what a client may send, and every mistake in it at once.

A sound body is decoded in one step. Only when that fails is it taken apart field by field,
to report all that is wrong with it and not just the first thing. The limits of values are
those of `storage.limits`; the types here add what JSON needs and what the schema shows.
"""

from datetime import timedelta
from typing import Annotated, Any

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

BODY_LIMIT = 2 * 1024 * 1024
"""Bytes in the body of a call for one interaction."""

BATCH_BODY_LIMIT = 16 * 1024 * 1024
"""Bytes in the body of a batch."""

BATCH_LIMIT = 1000
"""Interactions in one batch."""

MAX_AGE_MAX = 10 * 366 * 24 * 60 * 60
"""Seconds; no interaction is kept for so long."""


def _documented(description: str, **schema: Any) -> Meta:
    """What the schema shows. The limits are not enforced by it but by `storage.limits`."""
    return Meta(description=description, extra_json_schema=schema)


_IDENTIFIER = {"minLength": 1, "maxLength": limits.IDENTIFIER_MAX_LENGTH}
InteractionId = Annotated[
    str, _documented("The id; unique in the store. Made by the server if left out.", **_IDENTIFIER)
]
UserId = Annotated[str, _documented("Whose interaction this is.", **_IDENTIFIER)]
Message = Annotated[
    str,
    _documented(
        "What the user asked. Message and response together hold at most "
        f"{limits.TEXT_MAX_BYTES} bytes of UTF-8."
    ),
]
Response = Annotated[
    str, _documented("What the model answered. Empty until a streamed answer has arrived.")
]
ModelUsed = Annotated[
    str,
    _documented("The model that answered.", minLength=1, maxLength=limits.MODEL_MAX_LENGTH),
]
Tokens = Annotated[
    int, _documented("Tokens, as the model counts them.", minimum=0, maximum=limits.TOKENS_MAX)
]


class Unprinted(msgspec.Struct):
    """Keeps what users said out of `repr`, and so out of logs and error reports."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class NewInteraction(Unprinted, forbid_unknown_fields=True, kw_only=True):
    """An interaction to save. The times are the server's."""

    interaction_id: InteractionId | UnsetType = UNSET
    user_id: UserId
    message: Message
    response: Response = ""
    model_used: ModelUsed
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0


class NewInteractions(Unprinted, forbid_unknown_fields=True):
    """Interactions to save in one step, of any users."""

    interactions: Annotated[
        list[NewInteraction], Meta(extra_json_schema={"minItems": 1, "maxItems": BATCH_LIMIT})
    ]


class Completion(Unprinted, forbid_unknown_fields=True):
    """What completes an interaction whose answer arrived later. At least one field."""

    response: Response | UnsetType = UNSET
    model_used: ModelUsed | UnsetType = UNSET
    input_tokens: Tokens | UnsetType = UNSET
    output_tokens: Tokens | UnsetType = UNSET


class Lookup(Unprinted, forbid_unknown_fields=True):
    """Which answer to look for."""

    user_id: Annotated[str, _documented("Who asked.", **_IDENTIFIER)]
    message: Annotated[str, _documented("What was asked, to the letter.")]
    model_used: (
        Annotated[
            str,
            _documented(
                "Only answers of this model.", minLength=1, maxLength=limits.MODEL_MAX_LENGTH
            ),
        ]
        | UnsetType
    ) = UNSET
    max_age: (
        Annotated[
            int,
            _documented(
                "Only answers whose interaction was created at most so many seconds ago.",
                minimum=1,
                maximum=MAX_AGE_MAX,
            ),
        ]
        | UnsetType
    ) = UNSET


_NEW_INTERACTION = msgspec.json.Decoder(NewInteraction)
_NEW_INTERACTIONS = msgspec.json.Decoder(NewInteractions)
_LOOKUP = msgspec.json.Decoder(Lookup)
_COMPLETION = msgspec.json.Decoder(Completion)


def read_body(request: HttpRequest, limit: int) -> bytes:
    """The body, once its declared length is known to be within `limit` bytes."""
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
    try:
        return _interaction(_NEW_INTERACTION.decode(body))
    except msgspec.ValidationError as error:
        raise _invalid(_struct_errors(NewInteraction, _json(body), "#"), error) from None
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None


def new_interactions(body: bytes) -> list[ChatInteraction]:
    """The interactions in the body of a batch. Their limits are checked when they are saved."""
    try:
        decoded = _NEW_INTERACTIONS.decode(body).interactions
    except msgspec.ValidationError as error:
        raise _invalid(_batch_errors(_json(body)), error) from None
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None
    if not 1 <= len(decoded) <= BATCH_LIMIT:
        raise _invalid([_batch_size_error(len(decoded))])
    return [_interaction(item) for item in decoded]


def completion(body: bytes) -> dict[str, Any]:
    """The changes in the body of a PATCH. Their limits are checked when they are saved."""
    try:
        changes = msgspec.structs.asdict(_COMPLETION.decode(body))
    except msgspec.ValidationError as error:
        raise _invalid(_struct_errors(Completion, _json(body), "#"), error) from None
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None
    given = {name: value for name, value in changes.items() if value is not UNSET}
    if not given:
        names = ", ".join(changes)
        raise _invalid([{"pointer": "#", "detail": f"Give at least one of: {names}."}])
    return given


def question(body: bytes) -> Question:
    """What the body of a lookup asks for."""
    try:
        lookup = _LOOKUP.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(_struct_errors(Lookup, _json(body), "#"), error) from None
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None
    if problems := _lookup_problems(lookup):
        raise _invalid(field_errors(problems, "#"))
    return Question(
        lookup.user_id,
        lookup.message,
        None if lookup.model_used is UNSET else lookup.model_used,
        None if lookup.max_age is UNSET else timedelta(seconds=lookup.max_age),
    )


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
    now = timezone.now()
    interaction_id = new.interaction_id
    if interaction_id is UNSET:
        interaction_id = new_interaction_id()
    return ChatInteraction.from_values(
        {
            "interaction_id": interaction_id,
            "user_id": new.user_id,
            "message": new.message,
            "response": new.response,
            "model_used": new.model_used,
            "input_tokens": new.input_tokens,
            "output_tokens": new.output_tokens,
            "created_at": now,
            "updated_at": now,
        }
    )


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from None


def _struct_errors(struct: type[msgspec.Struct], value: Any, pointer: str) -> list[dict[str, Any]]:
    """Every way in which `value` is not a `struct`; with its types right, the limits it breaks."""
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


def _batch_errors(value: Any) -> list[dict[str, Any]]:
    errors = []
    items = value.get("interactions") if isinstance(value, dict) else None
    if not isinstance(items, list):
        detail = 'must be {"interactions": [...]}.'
        return [{"pointer": "#", "detail": detail}]
    for name in value:
        if name != "interactions":
            errors.append({"pointer": f"#/{_escaped(name)}", "detail": "unknown field."})
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
    """A name within a JSON Pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def _invalid(errors: list[dict[str, Any]], found: Exception | None = None) -> InvalidRequest:
    # A field given twice, wrong and then right: `found` saw the first, `errors` the last.
    errors = errors or [{"pointer": "#", "detail": f"{found}."}]
    return InvalidRequest("The body breaks a rule; see errors.", errors)


def _malformed(error: Exception) -> InvalidRequest:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, UnicodeError):
        reason = "not UTF-8"
    return InvalidRequest(f"The body is not JSON that can be read: {reason}.")
