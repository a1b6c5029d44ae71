"""Whether a server may start: what an operator has forgotten is said before, not per request."""

from django.core.exceptions import ImproperlyConfigured

from storage.startup.selection import get_storage


def startup_problem() -> str | None:
    """What must be put right before interactions can be read: one line, with the remedy; or None.

    Also None if the database does not answer for now, within 9 s: that passes by itself, and
    until it has, `/readyz` says 503.
    """
    try:
        return get_storage().database.startup_problem()
    except ImproperlyConfigured as error:
        return str(error)
