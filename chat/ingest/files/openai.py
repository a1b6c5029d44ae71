"""Reads requests to OpenAI's API with their answers.

As the Batch API has them: a file of requests, a file of answers, and a `custom_id` that joins them.
Or both in one object, as `request` and `response`.
"""

import shutil
import zlib
from collections.abc import Iterator, Mapping
from tempfile import TemporaryFile
from typing import IO, Any

from chat.ingest.calls import LeftOut, ModelCall, Translated
from chat.ingest.exchanges import exchange, tokens_in
from chat.ingest.files.entries import entries
from chat.ingest.json_records import BrokenFile, decoded
from chat.ingest.moments import from_epoch
from chat.ingest.reasons import Reason
from chat.interchange import opened_for_reading
from storage.compat import zstd

NO_CALLS = ("list", "moderation")
"""The values of `object` in answers that are none of a model's: embeddings, moderations."""


class Requests:
    """The requests of a batch, by their `custom_id`. Only where they stand is kept in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: dict[str, int] = {}
        self._twice: set[str] = set()
        place = 0
        while line := file.readline():
            self._add(_custom_id(_decoded(line)), place)
            place += len(line)

    def _add(self, custom_id: str | None, place: int) -> None:
        if custom_id is None:
            return
        if custom_id in self._places:
            self._twice.add(custom_id)
        self._places[custom_id] = place

    def find(self, custom_id: str | None) -> Any:
        """The request, or None if there is none, or more than one."""
        if custom_id is None or custom_id in self._twice or custom_id not in self._places:
            return None
        self._file.seek(self._places[custom_id])
        return _decoded(self._file.readline())


def read(
    file: IO[bytes], user_id: str | None, requests_file: str | None = None
) -> Iterator[Translated]:
    """The calls in a file, with `user_id` where a request names no user.

    `requests_file` names the file of requests. It is copied to the disk, because it may be
    compressed. Raises BrokenFile.
    """
    with TemporaryFile() as copy:
        requests = None
        if requests_file is not None:
            _copy(requests_file, copy)
            requests = Requests(copy)
        for found in entries(file):
            yield found if isinstance(found, LeftOut) else _call(*found, user_id, requests)


def _copy(name: str, copy: IO[bytes]) -> None:
    """Copy a file, whatever its compression. Raises BrokenFile, which names it."""
    try:
        with opened_for_reading(name) as (source, _):
            shutil.copyfileobj(source, copy)
    except (OSError, EOFError, zlib.error, zstd.ZstdError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BrokenFile(f"{name} cannot be read: {reason}") from error
    copy.seek(0)


def _call(place: str, line: Any, user_id: str | None, requests: Requests | None) -> Translated:
    if not isinstance(line, dict):
        return LeftOut(Reason.INVALID, "It must be an object of JSON.", place)
    custom_id = _custom_id(line)
    request = line.get("request") or (requests.find(custom_id) if requests else None)
    if request is None:
        return LeftOut(Reason.INVALID, _no_request(custom_id, requests), place)
    response, has_failed = _body(line.get("response")), _has_failed(line)
    if response.get("object") in NO_CALLS:
        return LeftOut(Reason.NO_CALL, place=place)
    if has_failed:
        return LeftOut(Reason.FAILED, place=place)
    started_at = from_epoch(response.get("created", response.get("created_at")))
    call_id = line.get("id") or response.get("id")
    if started_at is None or not isinstance(call_id, str):
        return LeftOut(Reason.INVALID, "The answer must have an id, and created in seconds.", place)
    said = exchange(_body(request), response)
    if isinstance(said, Reason):
        return LeftOut(said, place=place)
    input_tokens, output_tokens = tokens_in(response.get("usage"))
    return ModelCall(
        call_id=call_id,
        user_id=_user(_body(request)) or user_id,
        message=said.message,
        response=said.response,
        model=_model(response) or _model(_body(request)),
        started_at=started_at,
        ended_at=started_at,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        turn=said.turn,
        is_tool_step=said.is_tool_step,
        place=place,
    )


def _no_request(custom_id: str | None, requests: Requests | None) -> str:
    if requests is None:
        return "It has no request. Name the file of the batch's requests: --requests FILE."
    if custom_id is None:
        return "It has neither a request nor a custom_id."
    return "The requests have no line with its custom_id, or more than one."


def _has_failed(line: Mapping[str, Any]) -> bool:
    response = line.get("response")
    if line.get("error") or not isinstance(response, dict) or _body(response).get("error"):
        return True
    return response.get("status_code", 200) != 200


def _body(found: Any) -> dict[str, Any]:
    """What was sent: the body that a line of a batch has, or all of it."""
    if not isinstance(found, dict):
        return {}
    body = found.get("body", found)
    return body if isinstance(body, dict) else {}


def _user(request: Mapping[str, Any]) -> str | None:
    """OpenAI's name for it was `user` first."""
    for name in ("user", "safety_identifier"):
        if (user := request.get(name)) and isinstance(user, str):
            return user
    return None


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    return model if isinstance(model, str) else ""


def _custom_id(line: Any) -> str | None:
    found = line.get("custom_id") if isinstance(line, dict) else None
    return found if isinstance(found, str) else None


def _decoded(line: bytes) -> Any:
    """The value in a line; None if it has none."""
    try:
        return decoded(line)
    except ValueError:
        return None
