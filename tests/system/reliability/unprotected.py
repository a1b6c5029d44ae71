"""Settings without one protection, to show that the tests notice its loss.

`WITHOUT` in the environment names the function, or the setting, that takes it away.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from config.settings import *  # noqa: F403
from config.settings import DATABASES, MIDDLEWARE
from storage.sqlite.writer import Writer

_WITHOUT = os.environ["WITHOUT"]

if _WITHOUT == "immediate_transactions":
    options: Any = DATABASES["default"]["OPTIONS"]
    options["transaction_mode"] = "DEFERRED"
    setattr(Writer, "_begin", lambda _, connection, seconds: connection.execute("BEGIN"))  # noqa: B010
else:
    # As middleware, because that is loaded in each worker, once the applications are.
    MIDDLEWARE = [f"{__name__}.{_WITHOUT}", *MIDDLEWARE]


def saving_first(get_response: Any) -> Any:
    """A save is answered at once and made a little later."""
    from storage.records.outcomes import Outcome
    from storage.sqlite.database import SqliteDatabase

    create, create_many = SqliteDatabase.create, SqliteDatabase.create_many
    writer = ThreadPoolExecutor(1)

    def later(method: Callable[..., Any], *arguments: Any) -> None:
        time.sleep(0.01)
        method(*arguments)

    def create_later(storage: Any, interaction: Any, idempotency: Any) -> tuple[Any, ...]:
        writer.submit(later, create, storage, interaction, idempotency)
        return interaction, True

    def create_many_later(storage: Any, interactions: Any) -> Any:
        writer.submit(later, create_many, storage, interactions)
        return [Outcome.CREATED] * len(interactions)

    changed: Any = SqliteDatabase
    changed.create, changed.create_many = create_later, create_many_later
    return get_response


def data_version(get_response: Any) -> Any:
    """Each worker trusts what it has cached, whatever the others have written since."""
    from storage.sqlite.changes import Changes

    always = (0, 0, 0)
    changed: Any = Changes
    changed.version = changed.committed_as = lambda self: always
    return get_response
