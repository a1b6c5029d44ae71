"""What a request has brought, for tests of what is counted."""

from chat.ingest.calls import LeftOut
from chat.ingest.keeping import Taken
from chat.ingest.reasons import Reason


def taken(created: int = 0, unchanged: int = 0, **left_out: int) -> Taken:
    """With so many left out for each reason: `no_text=3`."""
    reasons = {reason.label: reason for reason in Reason}
    found = [LeftOut(reasons[label]) for label, count in left_out.items() for _ in range(count)]
    return Taken(created + unchanged + len(found), created, unchanged, found)
