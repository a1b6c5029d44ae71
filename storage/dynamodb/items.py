"""Converts interactions to items of DynamoDB and back: `{"user_id": {"S": "ada"}, ...}`.

PynamoDB's own conversion of a page of 50 takes longer than the rest of the read, and only strings
and integers are needed here. A test checks that both produce the same attributes.
"""

import base64
import hashlib
import math
import secrets
import zlib
from datetime import datetime
from typing import Any

from storage import expiry
from storage.large.rows import Kept, interaction_of, reference_of, whole_message
from storage.models import ChatInteraction
from storage.models.interaction import COMPLETED_FIELDS
from storage.records.json import Record, format_time
from storage.records.stubs import Stub
from storage.records.texts import OBJECT

Item = dict[str, dict[str, Any]]
"""Maps attribute names to values with their type: S is a string, N a number."""

SHARDS = 4
"""Parts of the index of all users' interactions. Each part takes 1,000 writes a second.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-indexes-gsi-sharding.html
"""

OPTIONAL_ATTRIBUTES = ("question", "answer", OBJECT)
"""Attributes that only an interaction with a response has, or with large texts."""

SORT_KEY_BYTES = 1024
"""DynamoDB's limit for a sort key."""


def to_item(interaction: ChatInteraction, version: str) -> Item:
    """Returns all attributes of an interaction."""
    created_at = format_time(interaction.created_at)
    updated_at = interaction.updated_at
    item = {
        "interaction_id": {"S": interaction.interaction_id},
        "user_id": {"S": interaction.user_id},
        "message": {"S": interaction.message},
        "response": {"S": interaction.response},
        "model_used": {"S": interaction.model_used},
        "input_tokens": {"N": str(interaction.input_tokens)},
        "output_tokens": {"N": str(interaction.output_tokens)},
        "created_at": {"S": created_at},
        "updated_at": {
            "S": created_at if updated_at == interaction.created_at else format_time(updated_at)
        },
        "position": {"S": _sort_key(created_at, interaction.interaction_id)},
        "shard": {"S": shard(interaction.interaction_id)},
        "expires_at": {"N": str(math.ceil(interaction.created_at.timestamp() + _lifetime()))},
        "version": {"S": version},
        "saved_as": {"S": version},
    }
    if interaction.response:
        item |= _answer(interaction, created_at)
    if reference_of(interaction) is not None:
        item |= _stand_ins(interaction)
    return item


def to_interaction(item: Item) -> ChatInteraction:
    """Returns the interaction in an item."""
    return interaction_of(to_record(item))


def to_record(item: Item) -> Record:
    """Returns the record in an item. Both have the same text for times. It may have stand-ins."""
    record = {
        "interaction_id": item["interaction_id"]["S"],
        "user_id": item["user_id"]["S"],
        "message": item["message"]["S"],
        "response": item["response"]["S"],
        "model_used": item["model_used"]["S"],
        "input_tokens": int(item["input_tokens"]["N"]),
        "output_tokens": int(item["output_tokens"]["N"]),
        "created_at": item["created_at"]["S"],
        "updated_at": item["updated_at"]["S"],
    }
    return record | _stood_in(item, record) if OBJECT in item else record


def _stand_ins(interaction: ChatInteraction) -> Item:
    """The attributes of an item whose texts are in an object: no text begins with NUL."""
    texts: dict[str, Any] = {"message": interaction.message, "response": interaction.response}
    kept = {
        name: {"S": f"\0{text.hex()}" if isinstance(text, bytes) else text}
        for name, text in texts.items()
    }
    return kept | {OBJECT: {"S": interaction.__dict__[OBJECT]}}


def _stood_in(item: Item, record: Record) -> Record:
    """What `_stand_ins` has put into an item, from its record."""
    texts = {name: record[name] for name in ("message", "response")}
    kept = {
        name: bytes.fromhex(text[1:]) if text.startswith("\0") else text
        for name, text in texts.items()
    }
    return kept | {OBJECT: item[OBJECT]["S"]}


def large_texts_of(item: Item | None) -> list[Kept]:
    """The object with the texts of an item, if there is one."""
    if item is None or OBJECT not in item:
        return []
    return [(item["user_id"]["S"], item["interaction_id"]["S"], item[OBJECT]["S"])]


def to_completion(interaction: ChatInteraction, version: str) -> Item:
    """Returns the attributes that `update_interaction` changes."""
    item = to_item(interaction, version)
    changed = (*COMPLETED_FIELDS, "updated_at", "version", *OPTIONAL_ATTRIBUTES)
    return {name: item[name] for name in changed if name in item}


def to_stub_item(interaction: ChatInteraction, segment: str, version: str) -> Item:
    """Returns the stub that replaces a cold interaction. It is in no index.

    The model is for the roll-ups of usage, once the stub goes.
    """
    item = to_item(interaction, version)
    kept = ("interaction_id", "created_at", "expires_at", "version", "model_used")
    return {name: item[name] for name in kept} | {"archived_in": {"S": segment}}


def to_stub(item: Item) -> Stub | None:
    """Returns the stub in an item, or None if the item is an interaction."""
    if "archived_in" not in item:
        return None
    created_at = datetime.fromisoformat(item["created_at"]["S"])
    return Stub(item["interaction_id"]["S"], created_at, item["archived_in"]["S"])


def question(user_id: str, message: str) -> str:
    """Returns the hash of a user and a message, the hash key of the index of answers."""
    # Neither can contain NUL, so different pairs never make the same text.
    digest = hashlib.sha256(f"{user_id}\0{message}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def model_hash(model_used: str) -> str:
    """Returns the hash of a model there: 64 bits, which no two models share by chance."""
    return hashlib.sha256(model_used.encode()).hexdigest()[:16]


def new_version() -> str:
    """Returns a new value of the attribute `version`."""
    return secrets.token_urlsafe(9)


def has_expired(item: Item) -> bool:
    """Whether the interaction in an item has expired."""
    return item["created_at"]["S"] <= cutoff()


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


def shard(interaction_id: str) -> str:
    """Returns the shard of an id, which never changes."""
    return str(zlib.crc32(interaction_id.encode()) % SHARDS)


def _answer(interaction: ChatInteraction, created_at: str) -> Item:
    model = model_hash(interaction.model_used)
    return {
        "question": {"S": question(interaction.user_id, whole_message(interaction))},
        "answer": {"S": _sort_key(f"{model}#{created_at}", interaction.interaction_id)},
    }


def _lifetime() -> float:
    return expiry.lifetime().total_seconds()


def key_of(interaction_id: str) -> Item:
    """Returns the key of an item."""
    return {"interaction_id": {"S": interaction_id}}
