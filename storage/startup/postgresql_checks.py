"""System checks of a PostgreSQL: that it answers, and that the way to it is encrypted."""

from collections.abc import Iterator
from typing import Any

from django.core import checks
from django.db import DatabaseError, connections

from storage.sql.vendors import is_postgresql
from storage.startup.production_checks import in_production

ALIAS = "default"


@checks.register(checks.Tags.compatibility, deploy=True)
@in_production
def check_postgresql(**kwargs: Any) -> Iterator[checks.CheckMessage]:
    """storage.E013: it cannot be used. storage.W011: whoever is on the way can read and answer."""
    if not is_postgresql(ALIAS):
        return
    configured = connections[ALIAS].settings_dict
    host, options = str(configured["HOST"]), configured["OPTIONS"]
    is_local = not host or host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")
    if not is_local and options.get("sslmode") != "verify-full":
        yield checks.Warning(
            "DATABASE_URL does not have libpq verify the PostgreSQL server: whoever is on the way "
            "to it can answer in its place, and learn the password.",
            hint="Add ?sslmode=verify-full to the URL, and sslrootcert=... for a CA of your own.",
            id="storage.W011",
        )
    if problem := _problem():
        yield checks.Error(
            f"The PostgreSQL of DATABASE_URL cannot be used: {problem}.",
            hint="Check the URL, the password, the server's pg_hba.conf, and the network.",
            id="storage.E013",
        )


def _problem() -> str | None:
    from storage.postgresql.locks import connected

    try:
        with connected(ALIAS) as connection:
            connection.execute("SELECT 1")
    except DatabaseError as error:
        return " ".join(str(error).split())
    return None
