"""What a cached entry says it is, judged by itself."""

import json
import re
from typing import NamedTuple

import orjson

from storage import limits
from storage.cache import keys, leases
from storage.cache.leases import VALUE_MAX_BYTES
from storage.cache.sampling import Entry
from storage.records.audit import Kind
from storage.records.json import from_json

_KEY = re.compile(r"chat:(.*):([0-9a-f]{64})", re.DOTALL)


class Claim(NamedTuple):
    """An entry and what it says it is."""

    entry: Entry
    kind: Kind
    interaction_id: str = ""

    @property
    def value(self) -> bytes | None:
        """The cached value."""
        return leases.value_of(self.entry.cell)

    @property
    def key(self) -> str:
        """The key as it may be shown: without the user."""
        parts = _KEY.fullmatch(self.entry.key.decode(errors="replace"))
        if parts is None:
            return "chat:*"
        return f"chat:{'*' if parts[1] else ''}:{parts[2]}"


def claim_of(entry: Entry) -> Claim:
    """What an entry says it is."""
    try:
        return _claim_of(entry)
    except (ValueError, RecursionError):
        return Claim(entry, Kind.UNFIT)


def _claim_of(entry: Entry) -> Claim:
    key = entry.key.decode()
    parts = _KEY.fullmatch(key)
    if parts is None:
        return Claim(entry, Kind.UNFIT)
    if leases.is_mark(entry.cell):
        return Claim(entry, Kind.LEASE if leases.is_leased(entry.cell) else Kind.MARK)
    value = leases.value_of(entry.cell)
    if value is None:
        return Claim(entry, Kind.STRING if _is_string(entry.cell) else Kind.UNFIT)
    if len(value) > VALUE_MAX_BYTES:
        return Claim(entry, Kind.UNFIT)
    if not parts[1]:
        return _claim_of_interaction(entry, value)
    interaction_id = orjson.loads(value)
    if limits.identifier_violation(interaction_id):
        return Claim(entry, Kind.UNFIT)
    return Claim(entry, Kind.ANSWER, interaction_id)


def _claim_of_interaction(entry: Entry, value: bytes) -> Claim:
    interaction_id = from_json(value).interaction_id
    if limits.identifier_violation(interaction_id):
        return Claim(entry, Kind.UNFIT)
    if entry.key.decode() != keys.interaction_key(interaction_id):
        return Claim(entry, Kind.UNFIT)
    return Claim(entry, Kind.INTERACTION, interaction_id)


def _is_string(cell: leases.Cell) -> bool:
    return cell is not None and isinstance(json.loads(cell), str)
