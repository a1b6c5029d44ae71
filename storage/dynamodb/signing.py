"""AWS Signature Version 4 of requests to one host, with a key that is derived once a day.

botocore derives it for each request, and takes five times as long. After a wait for an answer
little of the program is left in the CPU's caches, so what counts is how much of it a signature
passes through.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
import time
from hashlib import sha256
from typing import Any

CONTENT_TYPE = "application/x-amz-json-1.0"
ALGORITHM = "AWS4-HMAC-SHA256"
NAMES = "content-type;host;x-amz-date;x-amz-target"
NAMES_OF_SESSION = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target"

_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
"""What HMAC makes of the bytes of a key for its two hashes (RFC 2104)."""


class Signer:
    """Signs POST requests to `/` of `host`, which is the value of the header `Host`."""

    def __init__(self, host: str, region: str, service: str) -> None:
        self._head = f"content-type:{CONTENT_TYPE}\nhost:{host}\nx-amz-date:"
        self._scope = f"{region}/{service}/aws4_request"
        self._derived = "", "", sha256(), sha256()

    def headers(self, target: str, body: bytes, credentials: Any, now: float) -> list[str]:
        """The lines of the headers, with `host`; `now` is in seconds since 1970."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        head, names = f"{self._head}{moment}\nx-amz-target:{target}", NAMES
        if credentials.token:
            token = f"x-amz-security-token:{credentials.token}"
            head = f"{self._head}{moment}\n{token}\nx-amz-target:{target}"
            names = NAMES_OF_SESSION
        request = f"POST\n/\n\n{head}\n\n{names}\n{sha256(body).hexdigest()}"
        day = moment[:8]
        scope = f"{day}/{self._scope}"
        text = f"{ALGORITHM}\n{moment}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = self._signature(credentials.secret_key, day, text)
        return [
            *head.split("\n"),
            f"authorization:{ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}",
        ]

    def _signature(self, secret: str, day: str, text: str) -> str:
        """The HMAC of a text with the key of a day.

        Both of its hashes have taken in the key already, and are copied. `hmac` makes three copies,
        in Python.
        """
        known_secret, known_day, inner, outer = self._derived
        if (known_secret, known_day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, *self._scope.split("/")):
                key = hmac.digest(key, part.encode(), "sha256")
            padded = key.ljust(sha256().block_size, b"\0")
            inner, outer = (sha256(padded.translate(table)) for table in (_INNER, _OUTER))
            self._derived = secret, day, inner, outer
        inner, outer = inner.copy(), outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.hexdigest()
