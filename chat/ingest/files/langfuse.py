"""Reads observations that Langfuse has exported, from its interface, its API or to a bucket.

By the source of Langfuse of August 2026. Its interface and API write `startTime`, its exports to
buckets `start_time`. In CSV, objects are JSON in a cell.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

import msgspec

from chat.ingest import json_records
from chat.ingest.calls import LeftOut, ModelCall, Translated
from chat.ingest.exchanges import exchange, tokens_in, whole
from chat.ingest.files.entries import (
    ENTRY_LIMIT,
    Entry,
    entries,
    peekable,
    skip_to_start,
)
from chat.ingest.json_records import BrokenFile
from chat.ingest.moments import from_text
from chat.ingest.payloads import CutOff, decoded, is_answer
from chat.ingest.reasons import Reason

_TRACE_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SPAN_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)


def read(file: IO[bytes], user_id: str | None) -> Iterator[Translated]:
    """The calls in a file, with `user_id` where it names no user. Raises BrokenFile."""
    for found in _observations(peekable(file)):
        yield found if isinstance(found, LeftOut) else _call(*found, user_id)


def _observations(reader: io.BufferedReader) -> Iterator[Entry | LeftOut]:
    start = skip_to_start(reader)
    yield from entries(reader, "data") if start[:1] in (b"[", b"{", b"") else _rows(reader)


def _rows(reader: io.BufferedReader) -> Iterator[Entry]:
    csv.field_size_limit(ENTRY_LIMIT)
    text = io.TextIOWrapper(reader, "utf-8", newline="")
    number = 0
    try:
        for number, row in enumerate(_whole_rows(text), start=1):
            yield f"row {number}", row
    except (csv.Error, UnicodeError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeError) else error
        raise BrokenFile(f"After row {number} it is no CSV: {reason}") from None
    finally:
        text.detach()  # whoever has opened the file closes it


def _whole_rows(text: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The rows. Raises csv.Error for one that was cut off, at a quotation mark in a cell as well.

    Langfuse ends each row with a line break. Other programs may leave it out of the last one.
    """
    lines = _Lines(text)
    for row in csv.DictReader(lines, strict=True):
        if None in row.values() and not lines.last.endswith(("\n", "\r")):
            raise csv.Error("unexpected end of data")
        # Releases 3.146 to 3.156 have JSON in each cell, texts as well.
        has_json = (row.get("type") or "").startswith('"')
        yield _without_json(row) if has_json else row


def _without_json(row: dict[str, Any]) -> dict[str, Any]:
    texts = {}
    for name, cell in row.items():
        if isinstance(cell, str) and cell.startswith('"'):
            with suppress(ValueError):
                texts[name] = json_records.decoded(cell)
    return row | texts


class _Lines:
    """Lines of a text, of which one can see the last that was read."""

    def __init__(self, text: Iterable[str]) -> None:
        self._text = iter(text)
        self.last = ""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.last = next(self._text)
        return self.last


def _call(place: str, observation: Any, user_id: str | None) -> Translated:
    if not isinstance(observation, dict):
        return LeftOut(Reason.INVALID, "An observation must be an object of JSON.", place)
    if "type" not in observation:
        return LeftOut(Reason.INVALID, "It has no type. Export observations, not traces.", place)
    if observation["type"] not in ("GENERATION", "generation"):
        return LeftOut(Reason.NO_CALL, place=place)
    if observation.get("level") == "ERROR":
        return LeftOut(Reason.FAILED, place=place)
    started_at = from_text(_get(observation, "startTime", "start_time"))
    ended_at = from_text(_get(observation, "endTime", "end_time"))
    call_id = _call_id(observation)
    if started_at is None or not call_id:
        return LeftOut(Reason.INVALID, "An observation must have an id and a startTime.", place)
    if ended_at is None and not observation.get("output"):
        return LeftOut(Reason.NO_END, place=place)
    said = exchange(_as_sent(observation.get("input")), _answer(observation.get("output")))
    if isinstance(said, Reason):
        return LeftOut(said, place=place)
    input_tokens, output_tokens = _tokens(observation)
    return ModelCall(
        call_id=call_id,
        user_id=_string(_get(observation, "userId", "user_id")) or user_id,
        message=said.message,
        response=said.response,
        model=_string(_get(observation, "providedModelName", "provided_model_name", "model")),
        started_at=started_at,
        ended_at=ended_at or started_at,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        turn=said.turn,
        is_tool_step=said.is_tool_step,
        place=place,
    )


def _call_id(observation: Mapping[str, Any]) -> str:
    """The id; the same as of the span, if OpenTelemetry has brought it and brings it here, too."""
    trace_id = _string(_get(observation, "traceId", "trace_id"))
    found = _string(observation.get("id"))
    if not found:
        return ""
    is_span = _TRACE_ID.fullmatch(trace_id) and _SPAN_ID.fullmatch(found)
    return f"{'otel' if is_span else 'langfuse'}-{trace_id}-{found}"


def _answer(output: Any) -> Any:
    """An answer. What is of another form is what a model says that was asked for JSON."""
    if not output or not isinstance(output, Mapping | list) or is_answer(output):
        return _as_sent(output)
    parts = output if isinstance(output, list) else [output]
    return output if all(map(_says, parts)) else msgspec.json.encode(output).decode()


def _says(part: Any) -> bool:
    """Whether it is a message that does not tell whose it is."""
    return isinstance(part, Mapping) and "content" in part


def _as_sent(value: Any) -> Any:
    """A text as it was. Langfuse reads it as JSON, if it can: then `42` is a number."""
    if isinstance(value, bool | int | float):
        return msgspec.json.encode(value).decode()
    return value or None


def _tokens(observation: Mapping[str, Any]) -> tuple[int, int]:
    """The tokens, added up as Langfuse does: it has taken those of the cache out of the input."""
    usage = _usage(_get(observation, "usageDetails", "usage_details"))
    if "prompt_tokens" in usage:
        return tokens_in(usage)
    added = [
        sum(whole(number) for name, number in usage.items() if kind in name)
        for kind in ("input", "output")
    ]
    named = [
        _get(observation, "promptTokens", "inputUsage"),
        _get(observation, "completionTokens", "outputUsage"),
    ]
    return added[0] or whole(_number(named[0])), added[1] or whole(_number(named[1]))


def _usage(value: Any) -> Mapping[str, Any]:
    """Counts by name, an object that is a JSON text in CSV."""
    try:
        found = decoded(value)
    except CutOff:
        return {}
    counts = found.items() if isinstance(found, Mapping) else ()
    return {name: _number(count) for name, count in counts}


def _number(value: Any) -> Any:
    """A number in a cell of CSV is a text, and ClickHouse writes its 64 bits as one in JSON."""
    is_number = isinstance(value, str) and re.fullmatch(r"\d{1,16}", value, re.ASCII)
    return int(value) if is_number else value


def _get(observation: Mapping[str, Any], *names: str) -> Any:
    """The first of these that is there and not empty."""
    return next((value for name in names if (value := observation.get(name))), None)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
