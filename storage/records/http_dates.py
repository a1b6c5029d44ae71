"""The time in the header `Date` of an answer, by which a server tells what its clock says."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def time_in(header: str | None) -> datetime | None:
    """To the second; None if there is no header, or none that can be read.

    A time in the zone -0000, which servers send that are not AWS, is of UTC and does not say so.
    """
    try:
        found = parsedate_to_datetime(header or "")
    except (ValueError, OverflowError):  # such as a year of twenty digits
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
