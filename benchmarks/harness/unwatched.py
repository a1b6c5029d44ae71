"""This project's server without what watches it, for a comparison: it cannot be run like this.

As a program it is `manage.py serve`, whose workers load this module, too.
"""

import os
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

TARGET = "harness.unwatched:application"


def main() -> None:
    """Serve."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django

    import config  # noqa: F401  (before Django)

    django.setup()
    from chat.management.commands import serve
    from config import commands

    arguments = serve._arguments
    serve._arguments = lambda: [*arguments()[:-1], TARGET]
    sys.argv = ["manage.py", "serve"]
    commands.run()


def _application() -> Any:
    from django.core.handlers.wsgi import WSGIHandler
    from prometheus_client import Counter

    import config.wsgi  # noqa: F401  (sets Django up)
    from config import handler, telemetry
    from storage.sqlite.database import SqliteDatabase
    from storage.telemetry.calls import OPERATIONS

    telemetry.start = lambda admission: None
    handler.Handler.__call__ = handler.Handler._answer
    handler.Handler.get_response = WSGIHandler.get_response
    Counter.inc = lambda self, amount=1, exemplar=None: None
    for operation in OPERATIONS:
        if function := vars(SqliteDatabase).get(operation):
            setattr(SqliteDatabase, operation, function.__wrapped__)
    from config.server import application

    return application


if __name__ == "__main__":
    main()
else:
    application = _application()
