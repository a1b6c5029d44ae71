"""How a run of a maintenance command ended."""

from datetime import datetime
from typing import NamedTuple


class Ended(NamedTuple):
    """When a run ended (UTC), and how: `done`, `stopped` with work left, or `failed`."""

    at: datetime
    status: str
