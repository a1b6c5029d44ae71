"""Calls to DynamoDB for one table. Turns its errors into errors of this project."""

import logging
import threading
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, cast

from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
)
from pynamodb.models import Model

from storage.cache.breaker import CircuitBreaker
from storage.dynamodb import metrics
from storage.dynamodb.items import Item
from storage.dynamodb.mirror import CONNECT_SECONDS, READ_SECONDS, RETRIES
from storage.dynamodb.transport import DirectConnection
from storage.exceptions import StorageUnavailable

logger = logging.getLogger(__name__)

WAIT_SECONDS = float(READ_SECONDS)
"""How long a call waits while the maximum number of calls is under way.

As long as DynamoDB has for its answers to those: until then, it may only be slow.
"""

LONGEST_CALL = 10.0
"""Seconds after which every call has ended."""

CONFLICT_RETRIES = 5

TRANSIENT = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "ProvisionedThroughputExceeded",  # of one statement in a batch
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
"""Codes of errors that pass without intervention."""

THROTTLING = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingError",
        "ThrottlingException",
    }
)
"""Of these, codes of requests, or parts of them, that were too many for the table or account."""


class ConditionFailed(Exception):
    """The condition of a write did not hold. `item` is the stored item, or None.

    `repeated` is True if an earlier attempt got no answer, so it may have taken effect.
    """

    def __init__(self, item: Item | None, repeated: bool) -> None:
        super().__init__("The condition of a write did not hold.")
        self.item = item
        self.repeated = repeated


class TransactionCanceled(Exception):
    """A transaction changed nothing, and may be tried again. `codes` are DynamoDB's reasons.

    A condition did not hold, another one was in progress, or it was throttled.
    """

    def __init__(self, codes: Set[str]) -> None:
        super().__init__("A transaction was cancelled.")
        self.codes = codes


class TableMissing(StorageUnavailable):
    """The table does not exist in this region and account."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"There is no DynamoDB table {table}. Create it: manage.py dynamodb_table create"
        )


class NoTurn(StorageUnavailable):
    """A call was not begun: the maximum number of calls is under way, and none ended in time."""

    def __init__(self) -> None:
        super().__init__("Too many calls are waiting for DynamoDB.")


class Refused(StorageUnavailable):
    """A call was refused, and would be again: it, the permissions or the table are not right."""


class TableCallRefused(Refused):
    """The same of a call on tables; it has DynamoDB's reason, which names nothing of users."""


class StreamTrimmed(StorageUnavailable):
    """A part of the stream is older than 24 hours, and DynamoDB has removed it."""


class IteratorExpired(StorageUnavailable):
    """An iterator of the stream was not used for 15 minutes. Get a new one."""


OF_STREAMS: dict[str, type[StorageUnavailable]] = {
    "TrimmedDataAccessException": StreamTrimmed,
    "ExpiredIteratorException": IteratorExpired,
}


NOT_SENT = (ConnectTimeoutError, EndpointConnectionError)
"""Errors of requests that DynamoDB has not seen."""


class _Sending(threading.local):
    """What a thread is sending."""

    once = False


_sending = _Sending()


@contextmanager
def sent_once(is_wanted: bool) -> Iterator[None]:
    """In this block a call that may have taken effect is not sent again: StorageUnavailable.

    For a row that names a new object. Between two attempts another writer may replace or delete the
    row, and remove the object with it; the second one would bring back a row that names nothing.
    """
    before, _sending.once = _sending.once, is_wanted
    try:
        yield
    finally:
        _sending.once = before


class Client:
    """DynamoDB's operations on one table, each with a time limit.

    Raises StorageUnavailable when DynamoDB fails, and ConditionFailed or TransactionCanceled when
    a condition does not hold.
    """

    def __init__(self, model: type[Model], concurrency: int) -> None:
        self.table = str(model.Meta.table_name)
        self._connection = cast(DirectConnection, model._get_connection().connection)
        self._turns: SimpleQueue[None] = SimpleQueue()
        """One for each call that may begin: a semaphore in C, where `threading`'s is in Python."""
        for _ in range(concurrency):
            self._turns.put(None)
        self._stalled = False
        self._under_way: list[None] = []
        """One for each call: appending to a list needs no lock."""
        self._breaker = CircuitBreaker(longest=LONGEST_CALL)
        self._guarded: Any = None
        self._streams: Any = None
        self._making_streams = threading.Lock()

    @property
    def under_way(self) -> int:
        """How many calls DynamoDB has not yet answered."""
        return len(self._under_way)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation on items of this table."""
        return self.request(operation, {"TableName": self.table, **parameters})

    def request(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Call an operation on items, with parameters that name the table. Raises NoTurn."""
        try:
            self._turns.get(timeout=0 if self._stalled else WAIT_SECONDS)
        except Empty:
            # Until one of the calls ends, others do not wait: that would use up all threads.
            self._stalled = True
            raise NoTurn from None
        self._under_way.append(None)
        try:
            if not self._breaker.admits():
                metrics.NOT_ASKED.inc()
                raise StorageUnavailable("DynamoDB did not answer. It will be tried again soon.")
            answer = self._asked(operation, self._send, operation, parameters)
            metrics.count_answer(operation, answer)
            return answer
        except Refused as error:
            logger.error(
                "%s Compare the table and the permissions with manage.py dynamodb_table check.",
                error,
            )
            raise
        finally:
            self._under_way.pop()
            self._stalled = False
            self._turns.put(None)

    def manage(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation on tables. Raises TableCallRefused."""
        method = getattr(self._connection.client, xform_name(operation))
        try:
            return self._asked(operation, method, **parameters)
        except Refused as error:
            cause = error.__cause__
            raise TableCallRefused(f"{error} {_reason(cause)}".rstrip()) from cause

    def read_stream(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation on the table's stream. Raises StreamTrimmed and IteratorExpired.

        It has connections of its own, and whether it answers says nothing about the table.
        """
        method = getattr(self._client_of_streams(), xform_name(operation))
        try:
            return dict(method(**parameters))
        except ClientError as error:
            if kind := OF_STREAMS.get(_code(error)):
                raise kind(f"DynamoDB did not complete {operation}: {_code(error)}.") from error
            raise _translated(operation, error) from error
        except BotoCoreError as error:
            raise _unavailable(operation, type(error).__name__) from error

    def _client_of_streams(self) -> Any:
        with self._making_streams:  # 30 ms
            if self._streams is None:
                config = Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"total_max_attempts": RETRIES + 1, "mode": "standard"},
                )
                self._streams = self._connection.make_client("dynamodbstreams", config)
            return self._streams

    def _send(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Not by PynamoDB's `dispatch`, which makes an id and a line for the log of all arguments.

        Registers the handlers below, again whenever PynamoDB has made a new client.
        """
        client = self._connection.client
        if client is not self._guarded:
            events = client.meta.events
            events.register("needs-retry.dynamodb", _half_answered, unique_id="half-answered")
            events.register("needs-retry.dynamodb", _once, unique_id="once")
            events.register("needs-retry.dynamodb", _in_conflict, unique_id="in-conflict")
            events.register("needs-retry.dynamodb", _count_throttle, unique_id="count-throttle")
            self._guarded = client
        answer: dict[str, Any] = client.send(
            operation, {**parameters, "ReturnConsumedCapacity": "TOTAL"}
        )
        return answer

    def _asked(
        self, operation: str, ask: Callable[..., dict[str, Any]], *given: Any, **parameters: Any
    ) -> dict[str, Any]:
        try:
            answer = ask(*given, **parameters)
        except ClientError as error:
            metrics.count_attempts(operation, _response(error))
            self._answered(_status(error) < 500)
            if _code(error) == "ResourceNotFoundException":
                raise TableMissing(self.table) from error
            raise _translated(operation, error) from error
        except BotoCoreError as error:
            self._answered(False)
            raise _unavailable(operation, type(error).__name__) from error
        self._breaker.succeeded()
        return answer

    def _answered(self, usable: bool) -> None:
        if usable:
            self._breaker.succeeded()
        else:
            self._breaker.failed()


def _half_answered(response: Any, attempts: int, **_: Any) -> int | None:
    """A botocore handler: retries at once if a response did not arrive completely.

    botocore checks DynamoDB's checksum if there is one, but not the length, and it accepts the last
    response in any case. It reads a response that is not JSON as an empty one, so that an item
    would seem not to exist; or as an error message, so that text of a user would be logged.
    """
    if response is None:
        return None
    http, _parsed = response
    announced = http.headers.get("Content-Length")  # which may have been cut as well
    is_json = http.content.endswith(b"}") or http.status_code >= 300
    if announced in (None, str(len(http.content))) and is_json:
        return None
    if attempts > RETRIES or _sending.once:
        raise ConnectionClosedError(endpoint_url=http.url)
    return 0


def _once(response: Any, caught_exception: Exception | None, **_: Any) -> None:
    """A botocore handler: ends a call that is `sent_once`, if it may have taken effect."""
    if not _sending.once:
        return
    if caught_exception is not None and not isinstance(caught_exception, NOT_SENT):
        raise caught_exception
    if response is not None and response[0].status_code >= 500:
        raise ConnectionClosedError(endpoint_url=response[0].url)


def _in_conflict(response: Any, attempts: int, **_: Any) -> float | None:
    """A botocore handler: retries if a transaction was in progress on the item.

    Nothing was changed then. botocore does not retry this error itself. Each attempt waits 50 ms
    longer.
    """
    if response is None or attempts > CONFLICT_RETRIES:
        return None
    code = response[1].get("Error", {}).get("Code")
    return 0.05 * attempts if code == "TransactionConflictException" else None


def _count_throttle(response: Any, operation: Any, **_: Any) -> None:
    """A botocore handler: counts attempts that were throttled. It decides nothing.

    A transaction is, if one of its items was: the error itself only says that it was cancelled.
    """
    answer = {} if response is None else response[1]
    reasons = [answer.get("Error", {}), *answer.get("CancellationReasons", [])]
    if any(reason.get("Code") in THROTTLING for reason in reasons):
        metrics.THROTTLED.labels(operation.name).inc()


def is_transient(error: ClientError) -> bool:
    """Whether the error may pass. A 5xx may come from a proxy, without a code of DynamoDB."""
    return _status(error) >= 500 or _code(error) in TRANSIENT


def _translated(operation: str, error: ClientError) -> Exception:
    code = _code(error)
    if code == "ConditionalCheckFailedException":
        response = _response(error)
        repeated = response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0
        return ConditionFailed(response.get("Item"), repeated)
    if code == "TransactionCanceledException":
        reasons = _response(error).get("CancellationReasons", [])
        codes = {str(reason.get("Code")) for reason in reasons} - {"None"}
        if codes <= TRANSIENT | {"ConditionalCheckFailed"}:
            return TransactionCanceled(codes)
        code = ", ".join(sorted(codes))
    if is_transient(error):
        return _unavailable(operation, code)
    return Refused(f"DynamoDB refused {operation}: {code}.")


def _unavailable(operation: str, reason: str) -> StorageUnavailable:
    return StorageUnavailable(f"DynamoDB did not complete {operation}: {reason}.")


def _reason(error: BaseException | None) -> str:
    """What DynamoDB says in one line. Of a call on items it may quote what a user has said."""
    said = _response(error).get("Error", {}) if isinstance(error, ClientError) else {}
    return " ".join(str(said.get("Message", "")).split())


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _response(error: ClientError) -> dict[str, Any]:
    return dict(error.response)
