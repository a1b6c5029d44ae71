"""Whether a process may start to serve: what an operator has forgotten is said before."""

import logging

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from storage.exceptions import StorageError
from storage.startup.selection import get_storage

logger = logging.getLogger(__name__)


def mistake() -> str | None:
    """What must be put right before interactions can be read: one line, with the remedy.

    None if all is well. Also None if the backend does not answer at the moment, within 9 s:
    that passes by itself, and until it has, `/readyz` says 503.
    """
    if settings.ENVIRONMENT != "production":
        return None
    from storage.dynamodb import advice

    try:
        get_storage().check_available_sync()
    except ImproperlyConfigured as error:
        return str(error)
    except StorageError as error:
        if not advice.passes(error):
            return advice.advice(error)
        logger.warning("Starting, although %s", error)
    return None
