"""A span, as both encodings of OTLP are read."""

from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chat.ingest.calls import LeftOut
from chat.ingest.reasons import Reason

RECORDS_MAX = 100_000
"""Spans or log records in one request, the groups around them included. Exporters send 512."""

RECORD_BYTES_MAX = 8 * 1024 * 1024
"""Bytes of one span. Read by protobuf it took 33 times as much memory, at worst."""

ITEMS_MAX = 10_000
"""Attributes or events of a span, or items of a list. An SDK has 128 of each, if not told more."""

TOO_LARGE = LeftOut(
    Reason.TOO_LONG,
    f"A span or log record may have {RECORD_BYTES_MAX} bytes; images belong elsewhere.",
)

Items = TypeVar("Items", bound=Sized)

Attributes = dict[str, Any]
"""Those that `attributes.is_read`. A value is a string, number, list or dictionary."""


@dataclass(slots=True, repr=False)
class Span:
    """A span; or a log record that tells of a call, whose two times are then the same.

    Ids are lower-case hexadecimal. Times are nanoseconds since 1970; 0 is unknown.
    """

    trace_id: str
    span_id: str
    started: int
    ended: int
    attributes: Attributes
    resource: Attributes
    failed: bool = False
    dropped: int = 0
    """How many of its attributes a limit of the SDK dropped."""
    event: str = ""
    """The name of the event, if it is a log record."""
    events: list[tuple[str, Attributes]] = field(default_factory=list)


def bounded(items: Items) -> Items:
    """The same items. Raises ValueError if there are too many."""
    if len(items) > ITEMS_MAX:
        raise ValueError(f"It has more than {ITEMS_MAX} attributes, or items in a list")
    return items
