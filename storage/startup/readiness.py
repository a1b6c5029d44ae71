"""Checks the setup before a server starts, so that errors are not first seen by requests."""

from django.core.exceptions import ImproperlyConfigured

from storage.startup.selection import get_storage


def startup_problem() -> str | None:
    """Returns in one line what must be fixed before interactions can be read, and how; or None.

    Also None if the database does not answer within 9 s. That may pass, and until then `/readyz`
    returns 503.
    """
    try:
        return get_storage().database.startup_problem()
    except ImproperlyConfigured as error:
        return str(error)
