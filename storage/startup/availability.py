"""Whether interactions can be read and listed now: the answer of `/readyz`.

Without accounts no call gets in, so a PostgreSQL that has them must answer, too.

Probes come every second or so, from several load balancers. So what was found is remembered for a
moment, one probe at a time looks anew, and the others wait for it.
"""

import logging
import threading
import time
from dataclasses import dataclass, replace

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from storage.exceptions import StorageError
from storage.sql.errors import translated
from storage.sql.vendors import answered_within, is_postgresql
from storage.startup import schema, trigger_checks
from storage.startup.selection import get_storage

logger = logging.getLogger(__name__)

REMEMBER_SECONDS = 1.0

ANSWER_SECONDS = 2.0
"""How long PostgreSQL may take for an answer."""

SCHEMA_SECONDS = 60.0
"""How long migrations, indexes and triggers are believed to be right, once they were, or could not
be looked at: they hardly change, and DynamoDB answers few questions about tables."""

PARTS = ("database", "migrations", "indexes", "triggers")
"""What is looked at, in this order: what comes later is unknown if one fails."""


@dataclass(frozen=True)
class Availability:
    """`failed` is one of PARTS, or empty; `detail` says what is wrong, without secrets."""

    failed: str = ""
    detail: str = ""
    cache: str = "none"
    """The state of the cache, without which everything works."""

    @property
    def parts(self) -> dict[str, str]:
        """Each part: ok, failed, or unknown."""
        failed = PARTS.index(self.failed) if self.failed else len(PARTS)
        states = ("ok", "failed", "unknown")
        return {
            part: states[(number >= failed) + (number > failed)]
            for number, part in enumerate(PARTS)
        }


class Looks:
    """What was found by the last look. Thread-safe."""

    def __init__(self) -> None:
        self._looking = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Look anew the next time."""
        self._found = Availability()
        self._until = 0.0
        self._schema = Availability()
        self._schema_until = 0.0

    def now(self) -> Availability:
        """What is the case now, or was a second ago."""
        with self._looking:
            if time.monotonic() >= self._until:
                self._found = self._look()
                self._until = time.monotonic() + REMEMBER_SECONDS
            return replace(self._found, cache=get_storage().cache.state())

    def _look(self) -> Availability:
        try:
            get_storage().check_available_sync()
        except (StorageError, ImproperlyConfigured) as error:
            return Availability("database", str(error))
        if not _accounts_answer():
            return Availability("database", "PostgreSQL, which has the accounts, does not answer.")
        if time.monotonic() < self._schema_until:
            return Availability()
        try:
            self._schema = _schema()
        except StorageError as error:  # it has just answered: what is known is still likely
            logger.warning("Migrations and indexes could not be looked at: %s", error)
        if not self._schema.failed:
            self._schema_until = time.monotonic() + SCHEMA_SECONDS
        return self._schema


def _accounts_answer() -> bool:
    """Whether accounts can be read. In SQLite they are in a file, which needs no look."""
    if not is_postgresql():
        return True
    try:
        with answered_within(ANSWER_SECONDS), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        reason = type(error.__cause__ or error).__name__
        logger.warning("PostgreSQL, which has the accounts, does not answer: %s.", reason)
        return False
    return True


def _schema() -> Availability:
    with translated:
        if not schema.is_up_to_date():
            return Availability("migrations", "Run manage.py migrate, or start the server again.")
    if problem := get_storage().database.index_problem():
        return Availability("indexes", problem)
    if problems := trigger_checks.problems():
        what, _, _ = problems[0].partition(" (")
        return Availability("triggers", f"{what}: run manage.py check --database default.")
    return Availability()


LOOKS = Looks()
