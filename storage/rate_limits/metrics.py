"""The metric of refused calls, for Prometheus. `chat.metrics.views` serves it."""

from prometheus_client import Counter

REFUSED = Counter(
    "chat_rate_limit_refusals",
    "Calls refused by a limit: key (of one API key), address (of one address without a valid key), "
    "login (locked after wrong passwords), busy (too many passwords at once).",
    ["limit"],
)
