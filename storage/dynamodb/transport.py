"""Calls for items past what botocore does for each: nine tenths of a call's CPU time.

PynamoDB asks its connection's client, which is botocore's. Here that client sends requests for
items by itself. botocore still gives it the endpoint, the credentials and their refreshing, the
certificates and the classes of errors, and it decides whether to try again, with its pauses and its
quota: its own events are asked, but only when something has gone wrong.

Calls for tables go through botocore as ever. So do all calls, if anything is set up that is not
known here (a proxy, a client certificate, another signature), if libcurl is missing (there is no
wheel for musl), or if a later botocore lacks a name that is used here. Tools that look into
botocore to trace calls see none of those that are sent here.
"""

import base64
import logging
import time
import zlib
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    HTTPClientError,
    NoCredentialsError,
)
from botocore.hooks import first_non_none_response
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from pynamodb.connection.base import Connection

from storage.dynamodb.signing import Signer

logger = logging.getLogger(__name__)

OPERATIONS = frozenset(
    {
        "BatchExecuteStatement",
        "BatchGetItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "TransactWriteItems",
        "UpdateItem",
    }
)
"""What is sent here."""

KEPT_OF_ERRORS = ("Item", "CancellationReasons")

TARGET = "DynamoDB_20120810."

QUOTA = 500
"""botocore's quota for further attempts. Each success gives one back of what was taken."""

SKEW_SECONDS = 60.0
"""A clock that is off by less is not why a signature was refused."""

SKEWED = ("RequestTimeTooSkewed", "InvalidSignatureException")


class DamagedAnswer(HTTPClientError):  # type: ignore[misc]  # it has no types
    """An answer that is not what was sent. botocore's handlers try again after such an error.

    Of their own accord they would give it to the caller after the last attempt.
    """

    fmt = "An answer was damaged: {error}"


class DirectConnection(Connection):
    """PynamoDB's connection, whose client is a `DirectClient`."""

    _direct: "DirectClient | None" = None

    @property
    def client(self) -> Any:
        """The client. A new one if PynamoDB has made a new one of botocore's."""
        client = super().client
        if self._direct is None or self._direct.client is not client:
            seconds = self._connect_timeout_seconds, self._read_timeout_seconds
            self._direct = DirectClient(client, *seconds)
        return self._direct


class DirectClient:
    """What PynamoDB asks of a client of botocore's."""

    def __init__(self, client: Any, connect_seconds: float, read_seconds: float) -> None:
        self.client = client
        self._seconds = connect_seconds, read_seconds
        self._endpoint: _Endpoint | None = None
        self._taken = 0
        """Successes until what was taken of botocore's quota is given back."""
        self._skew = 0.0
        """Seconds that the clock of DynamoDB is ahead."""
        self._operations = OPERATIONS if _is_plain(client) else frozenset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def _make_api_call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if operation not in self._operations:
            answer: dict[str, Any] = self.client._make_api_call(operation, parameters)
            return answer
        body = orjson.dumps(parameters, default=_encoded)
        context: dict[str, Any] = {"client_config": self.client.meta.config}
        attempts = 0
        while True:
            attempts += 1
            reply, answer = None, {}
            error: BotoCoreError | None = None
            try:
                reply = self._post(operation, body)
                answer = _parsed(reply)
            except BotoCoreError as raised:
                error = raised
            if error is None and reply and reply.status_code == 200 and _is_whole(reply):
                self._give_back(operation, reply, answer, context)
                answer["ResponseMetadata"] = _metadata(reply, attempts)
                return answer
            pause = self._pause(operation, attempts, reply, answer, error, context)
            if pause is None:
                raise self._failure(operation, reply, answer, error, attempts)
            time.sleep(pause)

    def _post(self, operation: str, body: bytes) -> Any:
        credentials = self.client._request_signer._credentials
        if credentials is None:
            raise NoCredentialsError
        frozen = credentials.get_frozen_credentials()
        endpoint = self._endpoint
        if endpoint is None or endpoint.access_key != frozen.access_key:
            # The rules of endpoints may look at the account.
            endpoint = self._endpoint = _Endpoint(self.client, frozen.access_key, *self._seconds)
        now = time.time() + self._skew
        return endpoint.http.post(
            endpoint.signer.headers(TARGET + operation, body, frozen, now), body
        )

    def _pause(
        self,
        operation: str,
        attempts: int,
        reply: Any,
        answer: Any,
        error: Exception | None,
        context: dict[str, Any],
    ) -> float | None:
        """Seconds until the next attempt, or None for no more: what botocore's handlers say."""
        if attempts == 1 and error is None and self._learns_skew(reply, answer):
            return 0
        self._taken = QUOTA
        answered: float | None = first_non_none_response(
            self.client.meta.events.emit(
                f"needs-retry.dynamodb.{operation}",
                response=None if error is not None else (reply, answer),
                endpoint=self.client._endpoint,
                operation=self.client.meta.service_model.operation_model(operation),
                attempts=attempts,
                caught_exception=error,
                request_dict={"context": context},
            )
        )
        return answered

    def _failure(
        self, operation: str, reply: Any, answer: Any, error: Exception | None, attempts: int
    ) -> Exception:
        if error is not None:
            return error
        if reply.status_code == 200:
            return ConnectionClosedError(endpoint_url=reply.url)
        answer["ResponseMetadata"] |= {"RetryAttempts": attempts - 1}
        kind = self.client.exceptions.from_code(answer["Error"]["Code"])
        failure: Exception = kind(answer, operation)
        return failure

    def _give_back(self, operation: str, reply: Any, answer: Any, context: dict[str, Any]) -> None:
        if self._taken:
            self._taken -= 1
            self.client.meta.events.emit(
                f"after-call.dynamodb.{operation}",
                http_response=reply,
                parsed=answer,
                model=self.client.meta.service_model.operation_model(operation),
                context=context,
            )

    def _learns_skew(self, reply: Any, answer: Any) -> bool:
        """Whether a signature was refused because of this machine's clock, and can be repeated."""
        if reply.status_code not in (400, 403) or answer["Error"]["Code"] not in SKEWED:
            return False
        try:
            skew = parsedate_to_datetime(reply.headers.get("date")).timestamp() - time.time()
        except (TypeError, ValueError):
            return False
        if abs(skew - self._skew) < SKEW_SECONDS:
            return False
        self._skew = skew
        return True


class _Endpoint:
    """Where requests with some credentials go."""

    def __init__(
        self, client: Any, access_key: str, connect_seconds: float, read_seconds: float
    ) -> None:
        from storage.dynamodb.curl import Http

        operation = client.meta.service_model.operation_model("GetItem")
        context = {
            "client_region": client.meta.region_name,
            "client_config": client.meta.config,
        }
        url = client._resolve_endpoint_ruleset(operation, {}, context)[0].rstrip("/")
        certificates = get_cert_path(client._endpoint.http_session._verify)
        self.access_key = access_key
        self.signer = Signer(urlsplit(url).netloc, client._request_signer.region_name, "dynamodb")
        self.http = Http(url, connect_seconds, read_seconds, certificates)


def _is_plain(client: Any) -> bool:
    """Whether all that is set up is known here. Says why not, if that is no choice of anybody."""
    try:
        import pycurl  # noqa: F401

        config = client.meta.config
        return (
            client._request_signer._signature_version == "v4"
            and bool(client._endpoint.http_session._verify)
            and not config.proxies
            and not config.client_cert
            and not get_environ_proxies(client.meta.endpoint_url)
            and callable(client._resolve_endpoint_ruleset)
            and (client._request_signer._credentials or True)
        )
    except ImportError:
        logger.info("There is no libcurl (pycurl), so calls of DynamoDB go through botocore.")
    except AttributeError as error:
        logger.warning("This botocore is not known, so calls of DynamoDB go through it: %s", error)
    return False


def _encoded(value: Any) -> str:
    """Binary values, as DynamoDB's JSON has them."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _is_whole(reply: Any) -> bool:
    """Whether a success has arrived completely. libcurl does not tell if its head was cut."""
    length = reply.headers.get("content-length")
    is_as_long = length is None or int(length) == len(reply.content)
    return is_as_long and reply.content.endswith(b"}")


def _parsed(reply: Any) -> dict[str, Any]:
    """The answer; for an error as botocore gives it. Raises DamagedAnswer."""
    _check(reply)
    try:
        answer = orjson.loads(reply.content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    return answer if reply.status_code == 200 else _error(reply, answer)


def _check(reply: Any) -> None:
    checksum = reply.headers.get("x-amz-crc32")
    if checksum is not None and int(checksum) != zlib.crc32(reply.content):
        raise DamagedAnswer(error="its checksum is another one")


def _error(reply: Any, answer: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: answer[name] for name in KEPT_OF_ERRORS if name in answer}
    kind = answer.get("__type") or reply.headers.get("x-amzn-errortype") or reply.status_code
    code = str(kind).partition(":")[0].rpartition("#")[2]
    message = answer.get("message") or answer.get("Message") or ""
    return {
        **kept,
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": _metadata(reply, 1),
    }


def _metadata(reply: Any, attempts: int) -> dict[str, Any]:
    return {
        "RequestId": reply.headers.get("x-amzn-requestid", ""),
        "HTTPStatusCode": reply.status_code,
        "HTTPHeaders": reply.headers,
        "RetryAttempts": attempts - 1,
    }
