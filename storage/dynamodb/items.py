"""Converts interactions to items of DynamoDB and back: `{"user_id": {"S": "ada"}, ...}`.

PynamoDB's own conversion of a page of 50 takes longer than the rest of the read, and only strings,
integers and one binary are needed here. A test checks that both produce the same attributes.

What is no key has a short name in an item, as the mirror says. Items that were written before have
long names (OLD_NAMES), and are read for ever. Any write makes an item one of today's.
"""

import binascii
import functools
import hashlib
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from storage import expiry
from storage.dynamodb.texts import PACKED, PLAIN, pack_texts, unpack_texts
from storage.large.stand_ins import WHOLE_MESSAGE, Kept, decode, encoded
from storage.models import ChatInteraction
from storage.records.json import Record, format_time
from storage.records.stubs import Stub
from storage.records.texts import OBJECT

Item = dict[str, dict[str, Any]]
"""Maps attribute names to values with their type: S is a string, N a number, B a binary."""

FIRST_SHARDS = 4
"""Parts of the index of all users' interactions in a table where nobody has raised the number (see
`storage.dynamodb.shards`). Each part takes 1,000 writes a second.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-indexes-gsi-sharding.html
"""

ANSWER_ATTRIBUTES = ("question", "answer")
"""Attributes that only an interaction with a response has, unless ANSWER_LOOKUP is false."""

OLD_NAMES = (
    "model_used",
    "input_tokens",
    "output_tokens",
    "created_at",
    "updated_at",
    "version",
    "saved_as",
)
"""Attributes of interactions that were written before names were short. Stubs have `created_at`."""

MAY_BE_ABSENT = (PACKED, *PLAIN, *ANSWER_ATTRIBUTES, OBJECT, *OLD_NAMES)
"""What an interaction does not have in each form, and so must be removed when it is rewritten."""

_COMPLETED = (PACKED, *PLAIN, "m", "i", "o", "u", "v", *ANSWER_ATTRIBUTES, OBJECT)

_URL_SAFE = bytes.maketrans(b"+/", b"-_")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

SORT_KEY_BYTES = 1024
"""DynamoDB's limit for a sort key."""


def to_item(interaction: ChatInteraction, version: str, shards: int = FIRST_SHARDS) -> Item:
    """Returns all attributes of an interaction. Its `created_at` is in its position.

    Its shard is one of `shards`.
    """
    return _item(interaction.__dict__, version, shards, *_settings())


def to_items(interactions: Sequence[ChatInteraction], shards: int) -> list[Item]:
    """Returns the items of many interactions, each with a new version."""
    versions = new_versions(len(interactions))
    lifetime, has_answers = _settings()
    return [
        _item(interaction.__dict__, version, shards, lifetime, has_answers)
        for interaction, version in zip(interactions, versions, strict=True)
    ]


def _settings() -> tuple[int, bool]:
    """What an item depends on besides its interaction. To ask costs as much as a hash."""
    return expiry.lifetime_seconds(), settings.ANSWER_LOOKUP


def _item(
    row: Mapping[str, Any],  # past the descriptors of Django's fields
    version: str,
    shards: int,
    lifetime: int,
    has_answers: bool,
) -> Item:
    interaction_id, user_id, created = row["interaction_id"], row["user_id"], row["created_at"]
    message, response, model = row["message"], row["response"], row["model_used"]
    created_at = format_time(created)
    item = {
        "interaction_id": {"S": interaction_id},
        "user_id": {"S": user_id},
        **pack_texts(encoded(message), encoded(response)),
        "m": {"S": model},
        "i": {"N": str(row["input_tokens"])},
        "o": {"N": str(row["output_tokens"])},
        "u": {"N": str((row["updated_at"] - _EPOCH) // _MICROSECOND)},
        "position": {"S": _sort_key(created_at, interaction_id)},
        "shard": {"S": shard(interaction_id, shards)},
        "expires_at": {"N": _expires_at(created, lifetime)},
        "v": {"S": version},
        "s": {"S": version},
    }
    if response and has_answers:
        item["question"] = {"S": question(user_id, row.get(WHOLE_MESSAGE, message))}
        item["answer"] = {"S": _sort_key(f"{model_hash(model)}#{created_at}", interaction_id)}
    if (reference := row.get(OBJECT)) is not None:
        item[OBJECT] = {"S": reference}
    return item


def _expires_at(created: datetime, lifetime: int) -> str:
    return str(math.ceil(created.timestamp()) + lifetime)


def to_interaction(item: Item) -> ChatInteraction:
    """Returns the interaction in an item, as `to_record` does."""
    return ChatInteraction.from_stored(to_fields(item))


def to_record(item: Item) -> Record:
    """Returns the record in an item of either form. It may have stand-ins. Raises DamagedItem."""
    return _fields(item, created_at(item), _updated_at(item))


def to_fields(item: Item) -> dict[str, Any]:
    """Returns the fields of an interaction, which are a record with times in place of texts."""
    created = datetime.fromisoformat(created_at(item))
    if "u" in item:
        return _fields(item, created, _EPOCH + timedelta(0, 0, int(item["u"]["N"])))
    return _fields(item, created, datetime.fromisoformat(_updated_at(item)))


def _fields(item: Item, created: Any, updated: Any) -> dict[str, Any]:
    message, response = unpack_texts(item)
    model, inputs, outputs = ("m", "i", "o") if "m" in item else OLD_NAMES[:3]
    fields = {
        "interaction_id": item["interaction_id"]["S"],
        "user_id": item["user_id"]["S"],
        "message": message,
        "response": response,
        "model_used": item[model]["S"],
        "input_tokens": int(item[inputs]["N"]),
        "output_tokens": int(item[outputs]["N"]),
        "created_at": created,
        "updated_at": updated,
    }
    if OBJECT in item:
        fields[OBJECT] = item[OBJECT]["S"]
        decode(fields)
    return fields


def large_texts_of(item: Item | None) -> list[Kept]:
    """The object with the texts of an item, if there is one."""
    if item is None or OBJECT not in item:
        return []
    return [(item["user_id"]["S"], item["interaction_id"]["S"], item[OBJECT]["S"])]


def to_completion(interaction: ChatInteraction, version: str) -> Item:
    """Returns what a change of an interaction sets, the rest of the short names included."""
    item = to_item(interaction, version)
    return {name: item[name] for name in _COMPLETED if name in item}


def created_at(item: Item) -> str:
    """Returns when the interaction in an item was created, or the one in the place of a stub."""
    if "position" in item:
        return str(item["position"]["S"].partition("#")[0])
    return str(item["created_at"]["S"])


def version_of(item: Item) -> str:
    """Returns the version of an interaction or a stub."""
    return str((item.get("v") or item["version"])["S"])


def model_of(item: Item) -> str | None:
    """Returns the model of an interaction or a stub; None for a stub of before 0.3."""
    found = item.get("m") or item.get("model_used")
    return None if found is None else str(found["S"])


def _updated_at(item: Item) -> str:
    if "u" not in item:
        return str(item["updated_at"]["S"])
    return format_time(_EPOCH + timedelta(0, 0, int(item["u"]["N"])))


def to_stub_item(interaction: ChatInteraction, segment: str, version: str) -> Item:
    """Returns the stub that replaces a cold interaction. It is in no index.

    The model is for the roll-ups of usage, once the stub goes.
    """
    created = interaction.created_at
    return {
        "interaction_id": {"S": interaction.interaction_id},
        "expires_at": {"N": _expires_at(created, expiry.lifetime_seconds())},
        "v": {"S": version},
        "m": {"S": interaction.model_used},
        "created_at": {"S": format_time(created)},
        "archived_in": {"S": segment},
    }


def to_stub(item: Item) -> Stub | None:
    """Returns the stub in an item, or None if the item is an interaction."""
    if "archived_in" not in item:
        return None
    created = datetime.fromisoformat(created_at(item))
    return Stub(item["interaction_id"]["S"], created, item["archived_in"]["S"])


def question(user_id: str, message: str) -> str:
    """Returns the hash of a user and a message, the hash key of the index of answers."""
    # Neither can contain NUL, so different pairs never make the same text.
    digest = hashlib.sha256(f"{user_id}\0{message}".encode()).digest()
    return _base64url(digest)


@functools.lru_cache(maxsize=1000)
def model_hash(model_used: str) -> str:
    """Returns the hash of a model there: 64 bits, which no two models share by chance."""
    return hashlib.sha256(model_used.encode()).hexdigest()[:16]


def new_version() -> str:
    """Returns a new value of the attribute `version`."""
    return _base64url(os.urandom(9))


def new_versions(count: int) -> list[str]:
    """Returns many of them, for which the system is asked once."""
    text = _base64url(os.urandom(9 * count))
    return [text[start : start + 12] for start in range(0, len(text), 12)]


def _base64url(value: bytes) -> str:
    """As `base64` has it, without padding, in 0.8 of the time."""
    return binascii.b2a_base64(value, newline=False).translate(_URL_SAFE, b"=").decode()


def has_expired(item: Item) -> bool:
    """Whether the interaction in an item has expired."""
    return created_at(item) <= cutoff()


def cutoff() -> str:
    """`expiry.cutoff` as text, comparable with `created_at` and with positions."""
    return format_time(expiry.cutoff())


def position(created_at: datetime, interaction_id: str) -> str:
    """Returns the sort key of an interaction in lists: by time, then by id.

    An id that is too long for a sort key ends in a hash. That takes more than 996 bytes, or 979
    after a model's hash: about 250 characters, nearly all outside the Basic Multilingual Plane. Two
    such ids with equal times and the same first 230 characters are ordered by hash.
    """
    return _sort_key(format_time(created_at), interaction_id)


def _sort_key(beginning: str, interaction_id: str) -> str:
    whole = f"{beginning}#{interaction_id}"
    if 4 * len(whole) <= SORT_KEY_BYTES:
        return whole
    encoded = whole.encode()
    if len(encoded) <= SORT_KEY_BYTES:
        return whole
    digest = hashlib.sha256(encoded).hexdigest()
    return encoded[: SORT_KEY_BYTES - len(digest)].decode(errors="ignore") + digest


def shard(interaction_id: str, shards: int) -> str:
    """Returns the shard of a new interaction. It keeps it, however many shards come later."""
    return str(zlib.crc32(interaction_id.encode()) % shards)


def key_of(interaction_id: str) -> Item:
    """Returns the key of an item."""
    return {"interaction_id": {"S": interaction_id}}
