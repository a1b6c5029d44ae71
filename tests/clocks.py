"""A clock that goes on only when a test says so: no test waits for it or is overtaken by it."""

import datetime as calendar
import time

YESTERDAY = calendar.datetime.now(calendar.UTC).replace(
    hour=12, minute=0, second=0, microsecond=0
) - calendar.timedelta(days=1)
"""A noon that is past. In place of a fixed one: what is dated expires by the real clock."""


class Clock:
    """In the place of the modules `time` and, as `clock.datetime`, of `datetime`."""

    def __init__(self) -> None:
        self.steady = 1000.0
        self.wall = time.time()
        clock = self

        class Datetime(calendar.datetime):
            @classmethod
            def now(cls, tz: calendar.tzinfo | None = None) -> "Datetime":
                return cls.fromtimestamp(clock.wall, tz)

        self.datetime = Datetime

    def monotonic(self) -> float:
        return self.steady

    def time(self) -> float:
        return self.wall

    def passes(self, seconds: float) -> None:
        """So much time goes by, at once."""
        self.steady += seconds
        self.wall += seconds

    sleep = passes
