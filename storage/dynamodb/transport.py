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

import binascii
import logging
import threading
import time
from typing import Any

import orjson
from botocore.config import Config
from botocore.exceptions import BotoCoreError, CredentialRetrievalError, NoCredentialsError
from botocore.session import Session, get_session
from pynamodb.connection.base import Connection

from storage.dynamodb.endpoint import Endpoint, NotKnown, endpoint_for, is_plain, tell_unknown
from storage.dynamodb.replies import metadata, parsed
from storage.records.http_dates import time_in

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

TARGET = "DynamoDB_20120810."

QUOTA = 500
"""botocore's quota for further attempts. Each success gives one back of what was taken."""

SKEW_SECONDS = 60.0
"""A clock that is off by less is not why a signature was refused."""

SKEWED = ("RequestTimeTooSkewed", "InvalidSignatureException")


class DirectConnection(Connection):
    """PynamoDB's connection, whose client is a `DirectClient`.

    PynamoDB makes a session for each thread, and sessions that have made a client keep AWS's
    description of all regions and services: some 10 MB each. So all threads share one here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._direct: DirectClient | None = None
        self._session: Session | None = None
        self._making = threading.RLock()  # to make clients with one session is not thread-safe

    @property
    def session(self) -> Session:
        """The session of botocore's. Clients are made of it by `client` and `make_client` alone."""
        with self._making:
            if self._session is None:
                self._session = get_session()
            return self._session

    @property
    def client(self) -> Any:
        """The client. A new one as long as there are no credentials, as PynamoDB does it."""
        known = self._direct
        if known is not None and known.has_credentials:
            return known
        with self._making:
            if self._direct is known:  # nobody has made one meanwhile
                seconds = self._connect_timeout_seconds, self._read_timeout_seconds
                self._direct = DirectClient(super().client, *seconds, discovers=self._discovers())
            return self._direct

    def make_client(self, service: str, config: Config) -> Any:
        """A client of botocore's for another service in the same place."""
        with self._making:
            return self.session.create_client(
                service, self.region, endpoint_url=self.host or None, config=config
            )

    def _discovers(self) -> bool:
        """Whether botocore is told to ask DynamoDB for its endpoint."""
        wanted = self.session.get_config_variable("endpoint_discovery_enabled")
        return self.host is None and str(wanted).strip().lower() == "true"


class DirectClient:
    """What PynamoDB asks of a client of botocore's."""

    def __init__(
        self, client: Any, connect_seconds: float, read_seconds: float, *, discovers: bool = False
    ) -> None:
        self.client = client
        self._seconds = connect_seconds, read_seconds
        self._endpoint: Endpoint | None = None
        self._taken = 0
        """Successes until what was taken of botocore's quota is given back."""
        self._skew = 0.0
        """Seconds that the clock of DynamoDB is ahead."""
        self._operations = OPERATIONS if is_plain(client, discovers=discovers) else frozenset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    @property
    def has_credentials(self) -> bool:
        """Whether it can sign."""
        return self.client._request_signer._credentials is not None

    def send(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Call an operation on items. Raises botocore's errors."""
        if operation in self._operations:
            try:
                return self._call(operation, parameters)
            except NotKnown as error:
                tell_unknown(error)
                self._operations = frozenset()
        answer: dict[str, Any] = self.client._make_api_call(operation, parameters)
        return answer

    _make_api_call = send
    """What PynamoDB asks."""

    def _call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        body = orjson.dumps(parameters, default=_encoded)
        context: dict[str, Any] = {}  # what its handlers remember between attempts
        attempts = 0
        while True:
            attempts += 1
            skew = self._skew
            reply: Any = None
            answer: dict[str, Any] = {}
            error: BotoCoreError | None = None
            try:
                reply = self._post(operation, body, skew)
                answer = parsed(reply)
            except BotoCoreError as raised:
                error = raised
            if error is None and reply.status_code == 200:
                self._give_back(operation, reply, answer, context)
                answer["ResponseMetadata"] = metadata(reply, attempts)
                return answer
            if attempts == 1 and error is None and self._learns_skew(reply, answer, skew):
                continue
            pause = self._pause(operation, attempts, reply, answer, error, context)
            if pause is None:
                raise error or self._failure(operation, answer, attempts)
            time.sleep(pause)

    def _post(self, operation: str, body: bytes, skew: float) -> Any:
        credentials = self._credentials()
        endpoint = self._endpoint
        if endpoint is None or endpoint.access_key != credentials.access_key:
            endpoint = endpoint_for(self.client, credentials.access_key, *self._seconds)
            self._endpoint = endpoint
        headers = endpoint.signer.headers(TARGET + operation, body, credentials, time.time() + skew)
        return endpoint.http.post(headers, body)

    def _credentials(self) -> Any:
        """Those of now. botocore gets new ones before they expire."""
        credentials = self.client._request_signer._credentials
        if credentials is None:
            raise NoCredentialsError
        try:
            return credentials.get_frozen_credentials()
        except RuntimeError as error:  # botocore's, if new ones have expired already
            raise CredentialRetrievalError(provider="the provider", error_msg=str(error)) from error

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
        self._taken = QUOTA
        context["client_config"] = self.client.meta.config
        said = self.client.meta.events.emit(
            f"needs-retry.dynamodb.{operation}",
            response=None if error is not None else (reply, answer),
            endpoint=self.client._endpoint,
            operation=self.client.meta.service_model.operation_model(operation),
            attempts=attempts,
            caught_exception=error,
            request_dict={"context": context},
        )
        return next((pause for _, pause in said if pause is not None), None)

    def _failure(self, operation: str, answer: Any, attempts: int) -> Exception:
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

    def _learns_skew(self, reply: Any, answer: Any, skew: float) -> bool:
        """Whether a signature by a clock with `skew` was refused because that clock is wrong."""
        if reply.status_code not in (400, 403) or answer["Error"]["Code"] not in SKEWED:
            return False
        date = time_in(reply.headers.get("date"))
        if date is None:
            return False
        found = date.timestamp() - time.time()
        if abs(found - skew) < SKEW_SECONDS:
            return False
        self._skew = found
        _tell_skew(found)
        return True


def _tell_skew(seconds: float) -> None:
    if abs(seconds) < SKEW_SECONDS:
        logger.warning("The clock of this machine agrees with DynamoDB's again.")
        return
    logger.warning(
        "The clock of this machine is %.0f s %s DynamoDB's. Requests are signed by that one, but "
        "what is saved here has a wrong time, and expires by it: put the clock right.",
        abs(seconds),
        "behind" if seconds > 0 else "ahead of",
    )


def _encoded(value: Any) -> str:
    """Binary values, as DynamoDB's JSON has them."""
    if isinstance(value, bytes | bytearray | memoryview):
        return binascii.b2a_base64(value, newline=False).decode()
    raise TypeError(type(value).__name__)
