"""AWS Signature Version 4 of requests to one host, with a key that is derived once a day.

botocore derives it for each request, and takes five times as long.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
import time
from hashlib import sha256
from typing import Any

CONTENT_TYPE = "application/x-amz-json-1.0"
ALGORITHM = "AWS4-HMAC-SHA256"


class Signer:
    """Signs POST requests to `/` of `host`, which is the value of the header `Host`."""

    def __init__(self, host: str, region: str, service: str) -> None:
        self._host = host
        self._scope = f"{region}/{service}/aws4_request"
        self._derived = "", "", b""

    def headers(self, target: str, body: bytes, credentials: Any, now: float) -> list[str]:
        """The lines of the headers, with `host`; `now` is in seconds since 1970."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        signed = {"content-type": CONTENT_TYPE, "host": self._host, "x-amz-date": moment}
        if credentials.token:
            signed["x-amz-security-token"] = credentials.token
        signed["x-amz-target"] = target
        names = ";".join(signed)
        lines = [f"{name}:{value}" for name, value in signed.items()]
        head = "\n".join(lines)
        request = f"POST\n/\n\n{head}\n\n{names}\n{sha256(body).hexdigest()}"
        day = moment[:8]
        scope = f"{day}/{self._scope}"
        text = f"{ALGORITHM}\n{moment}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key(credentials.secret_key, day), text.encode(), "sha256")
        lines.append(
            f"authorization: {ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature.hex()}"
        )
        return lines

    def _key(self, secret: str, day: str) -> bytes:
        known_secret, known_day, key = self._derived
        if (known_secret, known_day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, *self._scope.split("/")):
                key = hmac.digest(key, part.encode(), "sha256")
            self._derived = secret, day, key
        return key
