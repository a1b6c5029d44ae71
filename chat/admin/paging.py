"""Going to older interactions and back: the way so far is in the address of a page.

Back comes the page that was there, not one that is counted anew: new interactions arrive all the
time. Lists have cursors for what is older only, so a page carries those of the pages before it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from storage.expiry import MICROSECOND
from storage.models import ChatInteraction
from storage.records.searches import Search

START = "0"
"""Stands for the newest page if it had no interaction to hold on to."""

SEPARATOR = "~"
TRAIL_LENGTH = 4000
"""Characters, of about 27 pages. Proxies refuse lines of more than 8,000. The first ones go."""

_TRAIL = re.compile(rf"[A-Za-z0-9_{SEPARATOR}-]*")


@dataclass(frozen=True)
class Trail:
    """The cursor of a page, and of those between the newest and it."""

    cursor: str = field(default="", repr=False)
    before: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, cursor: str, before: str) -> "Trail":
        """Raises ValueError if it is not as it was made."""
        if len(before) > TRAIL_LENGTH or not _TRAIL.fullmatch(before):
            raise ValueError("the way back was changed")
        return cls(cursor, tuple(filter(None, before.split(SEPARATOR))))

    def older(self, cursor: str, here: str) -> "Trail":
        """The page that follows this one; `here` is how to come back to this one."""
        before = (*self.before, here)
        while len(SEPARATOR.join(before)) > TRAIL_LENGTH:
            before = before[1:]
        return Trail(cursor, before)

    @property
    def newer(self) -> "Trail | None":
        """The page before this one, None if this one does not know it."""
        if not self.before:
            return None
        cursor = self.before[-1]
        return Trail("" if cursor == START else cursor, self.before[:-1])

    def url(self, filters: Mapping[str, str]) -> str:
        """The query string of this page with these filters."""
        own = {"cursor": self.cursor, "trail": SEPARATOR.join(self.before)}
        return "?" + urlencode({**filters, **{name: value for name, value in own.items() if value}})


def cursor_before(interaction: ChatInteraction, search: Search) -> str:
    """The cursor of a page that begins with an interaction."""
    try:
        just_before = interaction.created_at + MICROSECOND
    except OverflowError:  # the last microsecond of the year 9999
        return START
    return search.cursor_at((just_before, ""))
