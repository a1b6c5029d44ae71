"""How a store is reached: what `Store` and `AsyncStore` have in common."""

from __future__ import annotations

from typing import Any

import httpx

DEFAULT_TIMEOUT = 10.0
DEFAULT_RETRIES = 4


class Connection:
    """The address, the key and the options of a store.

    Raises ValueError for a URL or a key that cannot be right.
    """

    def __init__(
        self, url: str, key: str, timeout: float, retries: int, http: dict[str, Any]
    ) -> None:
        if not _is_address(url):
            raise ValueError("url must be that of the store, such as https://chat.example.org.")
        if not (key and key.isascii() and key.isprintable() and key.strip() == key):
            # The key itself stays out of the error.
            raise ValueError("key must be an API key of the store, without blanks around it.")
        self.url = url
        self.retries = retries
        self.options: dict[str, Any] = {
            **http,
            "base_url": url,
            "timeout": timeout,
            "headers": {
                "User-Agent": "chat-interaction-store-client",
                **http.get("headers", {}),
                "Authorization": f"Api-Key {key}",
            },
        }

    def __repr__(self) -> str:
        return f"Connection(url={self.url!r})"


def _is_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:  # no ValueError
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host)
