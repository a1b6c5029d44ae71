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

NOT_SENT = ("Expect:", "Accept:")
"""Headers that libcurl would add."""

BUFFER_BYTES = 128 * 1024
"""Of an answer that are taken in at a time. A page of 50 is one part, and not four."""

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
        self._head = b"".join(lines)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header."""
        mark = f"\n{name.lower()}:".encode()
        start = self._head.lower().find(mark)
        if start < 0:
            return default
        start += len(mark)
        return self._head[start : self._head.find(b"\n", start)].strip().decode("latin-1")


class Kept:
    """A connection that is kept, with places for the head and the content of an answer."""

    def __init__(self, curl: Any) -> None:
        self.curl = curl
        self.head: list[bytes] = []
        self._content: list[bytes] = []
        curl.setopt(pycurl.HEADERFUNCTION, self.head.append)
        curl.setopt(pycurl.WRITEFUNCTION, self._content.append)

    def prepare(self, headers: list[str], body: bytes) -> None:
        """Prepare a request, for `curl` to perform."""
        self.curl.setopt(pycurl.HTTPHEADER, [*headers, *NOT_SENT])
        self.curl.setopt(pycurl.POSTFIELDSIZE, len(body))
        self.curl.setopt(pycurl.READFUNCTION, io.BytesIO(body).read)

    def reply(self, url: str) -> Reply:
        """Take the answer. Nothing of it stays here, since it may be large."""
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        reply = Reply(url, status, Headers(self.head), b"".join(self._content))
        self.head.clear()
        self._content.clear()
        return reply


class Http:
    """Connections to one URL. Each serves one request at a time; threads share them."""

    def __init__(
        self, url: str, connect_seconds: float, read_seconds: float, certificates: str
    ) -> None:
        self._url = url
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._certificates = certificates
        self._idle: deque[Kept] = deque()
        self._process_id = os.getpid()

    def post(self, headers: list[str], body: bytes) -> Reply:
        """Raises botocore's errors of connections. An answer that was cut short is returned."""
        kept = self._kept() or self._made()
        curl = kept.curl
        kept.prepare(headers, body)
        try:
            curl.perform()
        except pycurl.error as error:
            reply = kept.reply(self._url)
            was_connected = curl.getinfo(pycurl.PRETRANSFER_TIME) > 0
            curl.close()
            if error.args[0] in CUT and reply.status_code and reply.content:
                return reply
            raise self._translated(error, was_connected) from error
        except BaseException:
            curl.close()
            raise
        if END_OF_HEAD not in kept.head:  # libcurl takes a connection that ends there for an answer
            curl.close()
            raise ConnectionClosedError(endpoint_url=self._url)
        reply = kept.reply(self._url)
        self._idle.append(kept)
        return reply

    def _kept(self) -> "Kept | None":
        if self._process_id != os.getpid():
            _of_parents.append(self._idle)
            self._idle, self._process_id = deque(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _made(self) -> "Kept":
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
        curl.setopt(pycurl.BUFFERSIZE, BUFFER_BYTES)
        curl.setopt(pycurl.USERAGENT, "")  # 200 bytes of the versions of libraries
        return Kept(curl)

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
