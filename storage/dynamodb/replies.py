"""Answers of DynamoDB, checked and parsed."""

import zlib
from typing import Any

import orjson
from botocore.exceptions import HTTPClientError

KEPT_OF_ERRORS = ("Item", "CancellationReasons")


class DamagedAnswer(HTTPClientError):  # type: ignore[misc]  # it has no types
    """An answer that is not what was sent. botocore's handlers try again after such an error.

    Of their own accord they would give it to the caller after the last attempt.
    """

    fmt = "An answer was damaged: {error}"


def parsed(reply: Any) -> dict[str, Any]:
    """The answer; for an error as botocore gives it. Raises DamagedAnswer."""
    _check(reply)
    try:
        answer = orjson.loads(reply.content)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return answer if reply.status_code == 200 else _error(reply, answer)
    if reply.status_code == 200:
        raise DamagedAnswer(error="it is no JSON, or not all of it")
    return _error(reply, {})


def _check(reply: Any) -> None:
    """As text, because a header may be cut as well. libcurl does not tell if it is."""
    length = reply.headers.get("content-length")
    if reply.status_code == 200 and length not in (None, str(len(reply.content))):
        raise DamagedAnswer(error="its length is another one")
    checksum = reply.headers.get("x-amz-crc32")
    if checksum not in (None, str(zlib.crc32(reply.content))):
        raise DamagedAnswer(error="its checksum is another one")


def _error(reply: Any, answer: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: answer[name] for name in KEPT_OF_ERRORS if name in answer}
    kind = answer.get("__type") or reply.headers.get("x-amzn-errortype") or reply.status_code
    code = str(kind).partition(":")[0].rpartition("#")[2]
    message = answer.get("message") or answer.get("Message") or ""
    return {
        **kept,
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": metadata(reply, 1)
        | {"RequestId": reply.headers.get("x-amzn-requestid", "")},
    }


def metadata(reply: Any, attempts: int) -> dict[str, Any]:
    """What botocore adds to an answer that came with the last of so many attempts.

    Without the id of the request, which is among the headers: it is asked for after errors.
    """
    return {
        "HTTPStatusCode": reply.status_code,
        "HTTPHeaders": reply.headers,
        "RetryAttempts": attempts - 1,
    }
