"""Request bodies: their types, and error reports that name every mistake at once.

A correct body is decoded in one step. Only if that fails is it checked field by field, so that
all mistakes are reported and not just the first. The limits of values are in `storage.limits`;
the types here add what JSON needs and what the schema shows.

A body of 16 MB once became 600 MB of objects. So only what has a place in a request is built:
items up to the limit of a batch, and the names of fields in an object of up to NAMED_LIMIT.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
from django.http import UnreadablePostError
from django.utils import timezone
from msgspec import UNSET, Meta, Raw, UnsetType

from chat.api.mistakes import Mistakes
from chat.api.problems import InvalidRequest, LengthRequired, TooLarge, UnsupportedMediaType
from storage import limits
from storage.models import ChatInteraction
from storage.models.interaction import CHECKS, Checks, new_interaction_id, violations_in
from storage.records.questions import Question

T = TypeVar("T")

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes in the body of a call for one interaction: its texts, some of their characters escaped."""

BATCH_BODY_LIMIT = 16 * 1024 * 1024
"""Bytes in the body of a batch. In memory a text with emoji takes four bytes a character."""

NAMED_LIMIT = 2 * 1024 * 1024
"""Bytes in an object of which every mistake is reported. Of a larger one only the first is."""

BATCH_LIMIT = 1000
"""Interactions in one batch."""

MAX_AGE_MAX = 10 * 366 * 24 * 60 * 60
"""Seconds. No interaction is kept for so long."""


def _documented(description: str, **schema: Any) -> Meta:
    """What the schema shows. It enforces nothing: `storage.limits` does."""
    return Meta(description=description, extra_json_schema=schema)


_KNOWN_ID = {
    "minLength": 1,
    "maxLength": limits.IDENTIFIER_MAX_LENGTH,
    "pattern": limits.IDENTIFIER_PATTERN,
}
"""Of what is stored. It may be older than the rule about dot segments."""

NEW_ID = _KNOWN_ID | {"not": {"pattern": limits.DOT_SEGMENT_PATTERN}}
_TEXT = {"pattern": limits.TEXT_PATTERN}
_MODEL = _TEXT | {"minLength": 1, "maxLength": limits.MODEL_MAX_LENGTH}
_ID_TEXT = "The id, unique in the store."
_USER_TEXT = "The user whose interaction this is."
_NO_DOTS = "`.` and `..` do not stand alone or between slashes."
InteractionId = Annotated[str, _documented(_ID_TEXT, **_KNOWN_ID)]
UserId = Annotated[str, _documented(_USER_TEXT, **_KNOWN_ID)]
NewInteractionId = Annotated[
    str,
    _documented(f"{_ID_TEXT} The server makes one if it is left out. {_NO_DOTS}", **NEW_ID),
]
NewUserId = Annotated[str, _documented(f"{_USER_TEXT} {_NO_DOTS}", **NEW_ID)]
Message = Annotated[
    str,
    _documented(
        "What the user asked. Message and response together hold at most "
        f"{limits.TEXT_MAX_BYTES} bytes of UTF-8.",
        **_TEXT,
    ),
]
Response = Annotated[
    str,
    _documented("What the model answered. Empty until a streamed answer is complete.", **_TEXT),
]
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

    interaction_id: NewInteractionId | UnsetType = UNSET
    user_id: NewUserId
    message: Message
    response: Response = ""
    model_used: ModelUsed
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0


class NewInteractions(Unprinted, forbid_unknown_fields=True):
    """Interactions of any users, to save in one step. For the schema; see `_Items`."""

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

    user_id: Annotated[str, _documented("Who asked.", **_KNOWN_ID)]
    message: Annotated[str, _documented("The message, exactly as it was asked.", **_TEXT)]
    model_used: Annotated[str, _documented("Only answers of this model.", **_MODEL)] | UnsetType = (
        UNSET
    )
    max_age: MaxAge | UnsetType = UNSET


_Items = msgspec.defstruct(
    "_Items",
    [(f"item_{index}", Raw | UnsetType, UNSET) for index in range(BATCH_LIMIT + 1)],
    array_like=True,
    bases=(Unprinted,),
)
"""The items of a batch as they are sent, and one more if there are too many. The decoder passes
over all others without building anything: a body can have millions."""


class _Batch(Unprinted):
    """A batch whose items are not decoded yet. Unknown fields are passed over."""

    interactions: _Items  # type: ignore[valid-type]


class _StrictBatch(_Batch, forbid_unknown_fields=True):
    """The same without unknown fields."""


_NEW_INTERACTION = msgspec.json.Decoder(NewInteraction)
_LOOKUP = msgspec.json.Decoder(Lookup)
_COMPLETION = msgspec.json.Decoder(Completion)
_STRICT_BATCH = msgspec.json.Decoder(_StrictBatch)
_BATCH = msgspec.json.Decoder(_Batch)
_OBJECT = msgspec.json.Decoder(dict[str, Raw])


def read_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """The body, which is read only if its declared length is at most `limit` bytes.

    Raises UnreadablePostError if the connection breaks meanwhile.
    """
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("Send JSON, with the header 'Content-Type: application/json'.")
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise LengthRequired("Send the body in one piece, with the header 'Content-Length'.")
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > limit:
        raise TooLarge(f"The body must be at most {limit} bytes.")
    if length <= 0:
        return b""
    try:
        body: bytes = environ["wsgi.input"].read(length)
    except OSError as error:
        raise UnreadablePostError(*error.args) from error
    return body


def new_interaction(body: bytes) -> ChatInteraction:
    """The interaction in the body of a POST. Its limits are checked when it is saved."""
    return _interaction(_decoded(_NEW_INTERACTION, body, CHECKS))


def new_interactions(body: bytes) -> list[ChatInteraction]:
    """The interactions in the body of a batch. Their limits are checked when they are saved."""
    with _readable():
        items, mistakes = _items(body)
        return [_interaction(new) for new in _new_interactions(items, mistakes)]


def completion(body: bytes) -> dict[str, Any]:
    """The changes in the body of a PATCH. Their limits are checked when they are saved."""
    changes = msgspec.structs.asdict(_decoded(_COMPLETION, body, CHECKS))
    given = {name: value for name, value in changes.items() if value is not UNSET}
    if not given:
        mistakes = Mistakes()
        mistakes.add(f"Give at least one of: {', '.join(changes)}.")
        _refuse(mistakes)
    return given


def question(body: bytes) -> Question:
    """The question in the body of a lookup."""
    lookup = _decoded(_LOOKUP, body, _LOOKUP_CHECKS)
    given = msgspec.structs.asdict(lookup)
    mistakes = Mistakes()
    mistakes.add_fields(
        violations_in({name: v for name, v in given.items() if v is not UNSET}, _LOOKUP_CHECKS)
    )
    _refuse(mistakes)
    return Question(
        lookup.user_id,
        lookup.message,
        None if lookup.model_used is UNSET else lookup.model_used,
        None if lookup.max_age is UNSET else timedelta(seconds=lookup.max_age),
    )


def _max_age_violation(value: Any) -> str | None:
    return None if 1 <= value <= MAX_AGE_MAX else f"must be from 1 to {MAX_AGE_MAX} seconds."


_LOOKUP_CHECKS = {
    "user_id": limits.identifier_violation,
    "message": limits.text_violation,
    "model_used": limits.model_violation,
    "max_age": _max_age_violation,
}


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes, checks: Checks) -> T:
    """The decoded body. Raises InvalidRequest naming what is wrong, broken `checks` included."""
    with _readable():
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            mistakes = Mistakes()
            found: T = _by_field(decoder.type, body, checks, error, mistakes)
        _refuse(mistakes)
        return found


def _items(body: bytes) -> tuple[list[Raw], Mistakes]:
    """The items of a batch, not decoded yet, and what is wrong beside them."""
    mistakes = Mistakes()
    try:
        batch: _Batch = _STRICT_BATCH.decode(body)
    except msgspec.ValidationError as error:
        batch = _loose_batch(body, mistakes)
        if len(body) > NAMED_LIMIT:
            mistakes.add(f"{error}.")
        else:
            _add_unknown(_OBJECT.decode(body), ("interactions",), "unknown field.", mistakes)
    items = [item for item in msgspec.structs.astuple(batch.interactions) if item is not UNSET]
    if not 1 <= len(items) <= BATCH_LIMIT:
        count = len(items) if len(items) <= BATCH_LIMIT else "more"
        detail = f"interactions must have 1 to {BATCH_LIMIT} items; it has {count}."
        mistakes.add(detail, "interactions")
        _refuse(mistakes)
    return items, mistakes


def _loose_batch(body: bytes, mistakes: Mistakes) -> _Batch:
    try:
        return _BATCH.decode(body)
    except msgspec.ValidationError:
        mistakes.add('must be {"interactions": [...]}.')
        raise _invalid(mistakes) from None


def _new_interactions(items: list[Raw], mistakes: Mistakes) -> list[NewInteraction]:
    if not mistakes.count:
        with suppress(msgspec.ValidationError):
            return [_NEW_INTERACTION.decode(item) for item in items]
    found = [_new_or_mistakes(item, index, mistakes) for index, item in enumerate(items)]
    _refuse(mistakes)
    return found


def _new_or_mistakes(item: Raw, index: int, mistakes: Mistakes) -> Any:
    try:
        sound = _NEW_INTERACTION.decode(item)
    except msgspec.ValidationError as error:
        return _by_field(NewInteraction, item, CHECKS, error, mistakes, "interactions", index)
    mistakes.add_fields(_interaction(sound).violations(), "interactions", index)
    return sound


def _by_field(
    struct: Any,
    raw: bytes | Raw,
    checks: Checks,
    error: Exception,
    mistakes: Mistakes,
    *path: str | int,
) -> Any:
    """The struct in `raw`, which its decoder has refused with `error`, decoded field by field.

    None if there are mistakes: every field that is unknown, missing, of the wrong type or outside
    its limits. Only the first is told of an object of more than NAMED_LIMIT.
    """
    if memoryview(raw).nbytes > NAMED_LIMIT:
        return mistakes.add(f"{error}.", *path)
    try:
        given = _OBJECT.decode(raw)
    except msgspec.ValidationError:
        return mistakes.add("must be a JSON object.", *path)
    before = mistakes.count
    fields, unknown = _fields_of(struct)
    _add_unknown(given, fields, unknown, mistakes, *path)
    values = {}
    for name, field in fields.items():
        if name in given:
            try:
                values[name] = _value(given[name], field.type)
            except msgspec.ValidationError as problem:
                mistakes.add(f"{name}: {problem}.", *path, name)
        elif field.required:
            mistakes.add(f"{name} is required.", *path, name)
        elif field.default is not UNSET:
            values[name] = field.default
    mistakes.add_fields(violations_in(values, checks), *path)
    return struct(**values) if mistakes.count == before else None


def _add_unknown(
    given: Mapping[str, Any],
    known: Collection[str],
    detail: str,
    mistakes: Mistakes,
    *path: str | int,
) -> None:
    """Add what is given and not known. To count it, there is no need to go through all of it."""
    count = len(given) - sum(name in given for name in known)
    mistakes.add_each(detail, count, (name for name in given if name not in known), *path)


@cache
def _fields_of(struct: Any) -> tuple[dict[str, msgspec.structs.FieldInfo], str]:
    """Its fields by name, and what is said of others. To look them up takes longer than an item."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    return fields, f"unknown field; the fields are: {', '.join(fields)}."


def _value(raw: Raw, wanted: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=wanted)
    except msgspec.ValidationError:
        # For JSON Schema 5.0 is an integer, and so it is here.
        with suppress(msgspec.ValidationError):
            number = msgspec.json.decode(raw, type=float)
            if number.is_integer():
                return msgspec.convert(int(number), wanted)
        raise


def _interaction(new: NewInteraction) -> ChatInteraction:
    values = msgspec.structs.asdict(new)
    if new.interaction_id is UNSET:
        values["interaction_id"] = new_interaction_id()
    values["created_at"] = values["updated_at"] = timezone.now()
    return ChatInteraction.from_values(values)


def _refuse(mistakes: Mistakes) -> None:
    if mistakes.count:
        raise _invalid(mistakes)


def _invalid(mistakes: Mistakes) -> InvalidRequest:
    return InvalidRequest("The body breaks a rule; see errors.", mistakes)


@contextmanager
def _readable() -> Iterator[None]:
    """Raises InvalidRequest for what is no JSON."""
    try:
        yield
    except UnicodeError:
        reason = "not UTF-8"
    except ValueError as error:
        reason = str(error)
    except RecursionError:
        reason = "nested too deeply"
    else:
        return
    raise InvalidRequest(f"The body is not JSON that can be read: {reason}.")
