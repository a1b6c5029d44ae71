"""The metric of API keys that were refused, for Prometheus."""

from prometheus_client import Counter

KEYS_REFUSED = Counter(
    "chat_api_key_refusals",
    "Calls refused for their key: missing (none, or no API key), unknown (or revoked, or expired), "
    "forbidden (it may not do this).",
    ["reason"],
)
for _reason in ("missing", "unknown", "forbidden"):
    KEYS_REFUSED.labels(_reason)  # there from the start, so that the first one is an increase
