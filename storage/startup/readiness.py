"""Checks the setup before a server starts, so that errors are not first seen by requests."""

from django.core.exceptions import ImproperlyConfigured

from storage.startup.production_checks import redis_errors
from storage.startup.selection import get_storage


def startup_problem() -> str | None:
    """Returns in one line what must be fixed before interactions can be read, and how; or None.

    Also None if the database does not answer within 9 s. That may pass, and until then `/readyz`
    returns 503.
    """
    try:
        problem = get_storage().database.startup_problem()
    except ImproperlyConfigured as error:
        return str(error)
    return problem or _problem_of_redis()


def _problem_of_redis() -> str | None:
    """A Redis that is away stops no start, as the service runs without it."""
    for error in redis_errors() or ():
        return f"{error.msg} {error.hint} ({error.id})"
    return None
