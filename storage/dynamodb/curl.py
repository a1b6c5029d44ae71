"""POST over the kept connections of libcurl, with the errors of botocore.

libcurl would send a request again by itself if a kept connection ends before there is an answer,
although the server may have done what it asks. It cannot if it has to read the body from a
function: then it gives up (error 65), and the caller decides.
"""

import io
import os
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import pycurl
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)

NOT_REACHED = {pycurl.E_COULDNT_CONNECT, pycurl.E_COULDNT_RESOLVE_HOST}
NOT_TRUSTED = {
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_SSL_CONNECT_ERROR,
}
CUT = {pycurl.E_PARTIAL_FILE, pycurl.E_RECV_ERROR}

END_OF_HEAD = b"\r\n"

IN_ALL = 1.5
"""Times `read_seconds` that an attempt may take. All attempts must fit into LONGEST_CALL."""

_of_parents: list[Any] = []
"""Connections of a process that has forked this one. Closing them here would end them there."""


class Reply(NamedTuple):
    """An answer, as botocore's handlers of events want it."""

    url: str
    status_code: int
    headers: "Headers"
    content: bytes


class Headers:
    """Headers by their names, whatever the case; looked for when asked, as most never are."""

    def __init__(self, lines: Sequence[bytes] = ()) -> None:
        head = b"".join(lines)
        self._text = head.decode("latin-1")
        self._in_lower_case = head.lower().decode("latin-1")

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header."""
        mark = f"\n{name.lower()}:"
        start = self._in_lower_case.find(mark)
        if start < 0:
            return default
        start += len(mark)
        return self._text[start : self._text.find("\n", start)].strip()


class Http:
    """Connections to one URL. Each serves one request at a time; threads share them."""

    def __init__(
        self, url: str, connect_seconds: float, read_seconds: float, certificates: str
    ) -> None:
        self._url = url
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._certificates = certificates
        self._idle: deque[Any] = deque()
        self._process_id = os.getpid()

    def post(self, headers: list[str], body: bytes) -> Reply:
        """Raises botocore's errors of connections. An answer that was cut short is returned."""
        curl = self._kept() or self._made()
        head: list[bytes] = []
        content = io.BytesIO()
        curl.setopt(pycurl.HTTPHEADER, [*headers, "Expect:", "Accept:"])
        curl.setopt(pycurl.POSTFIELDSIZE, len(body))
        curl.setopt(pycurl.READFUNCTION, io.BytesIO(body).read)
        curl.setopt(pycurl.WRITEFUNCTION, content.write)
        curl.setopt(pycurl.HEADERFUNCTION, head.append)
        try:
            curl.perform()
        except pycurl.error as error:
            reply = self._reply(curl, head, content)
            was_connected = curl.getinfo(pycurl.PRETRANSFER_TIME) > 0
            curl.close()
            if error.args[0] in CUT and reply.status_code and content.tell():
                return reply
            raise self._translated(error, was_connected) from error
        except BaseException:
            curl.close()
            raise
        if END_OF_HEAD not in head:  # libcurl takes a connection that ends there for an answer
            curl.close()
            raise ConnectionClosedError(endpoint_url=self._url)
        reply = self._reply(curl, head, content)
        self._idle.append(curl)
        return reply

    def _reply(self, curl: Any, head: list[bytes], content: io.BytesIO) -> Reply:
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        return Reply(self._url, status, Headers(head), content.getvalue())

    def _kept(self) -> Any:
        if self._process_id != os.getpid():
            _of_parents.append(self._idle)
            self._idle, self._process_id = deque(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _made(self) -> Any:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, f"{self._url}/")
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROXY, "")  # whoever needs one does not come here
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(self._connect_seconds * 1000))
        # In all. LOW_SPEED_TIME would be for what stands still, but the speed is a mean of the last
        # five seconds, so that the request itself counts as movement for as long.
        curl.setopt(pycurl.TIMEOUT_MS, int(1000 * IN_ALL * self._read_seconds))
        if self._certificates:
            curl.setopt(pycurl.CAINFO, self._certificates)
        return curl

    def _translated(self, error: pycurl.error, was_connected: bool) -> Exception:
        code = error.args[0]
        kind: Any = ConnectionClosedError
        if code in NOT_REACHED:
            kind = EndpointConnectionError
        elif code in NOT_TRUSTED:
            kind = SSLError
        elif code == pycurl.E_OPERATION_TIMEDOUT:
            kind = ReadTimeoutError if was_connected else ConnectTimeoutError
        made: Exception = kind(endpoint_url=self._url, error=error)
        return made
