"""A fork server that has imported this project, too: `python -m tests.chat.preloaded`.

Commands and servers are forks of it. They spend most of their CPU on imports otherwise.

What differs from command to command is in the environment, and only `config` reads that: each
command imports `config` anew, and with it the settings. `storage` and `chat` are imported here. A
module that looks at another setting than CONSTANTS while it is imported fails, and so do all tests
that start a command: name it in LEFT_OUT, or let it look later.

`prometheus_client` decides when it is imported whether a process counts in memory, as a command
does, or in the folder of its server. Here all metrics are made in memory, and the workers of a
server move them; not its main process, which has no files there because it imports no metrics.
"""

import gc
import importlib
import os
import pkgutil
import socket
import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from prometheus_client import values

CONSTANTS = (
    "AUTH_USER_MODEL",
    "DEBUG",  # no command of tests is to show pages with it
    "FORM_RENDERER",
    "REST_FRAMEWORK",
    "SITE_NAME",
    "SPECTACULAR_SETTINGS",
    "UNFOLD",
    "USE_TZ",
)
"""Settings that are the same in every environment."""

LIBRARIES = (
    "django.contrib.auth.admin",
    "django.contrib.auth.backends",
    "django.contrib.auth.middleware",
    "django.contrib.auth.views",
    "django.contrib.contenttypes.views",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.views.csrf",
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    "opentelemetry.proto.logs.v1.logs_pb2",
    "unfold.admin",
)
"""They need the models, and look at no other settings."""

LEFT_OUT = (
    "chat.ingest.bodies",
    "chat.ingest.litellm_view",
    "chat.ingest.otlp.views",
    "chat.ingest.urls",
    "chat.ingest.views",
)

MADE: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
"""Each value of a metric, with what it was made of."""


class NotedValue(values.MutexValue):
    """A value in memory that can be moved."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        MADE.append((self, args, kwargs))


def count_where_the_environment_says() -> None:
    """In a worker: every metric starts anew, as if `prometheus_client` were imported now."""
    values.ValueClass = values.get_value_class()
    for value, args, kwargs in MADE:
        value.__class__ = values.ValueClass
        value.__init__(*args, **kwargs)


def begin_server() -> None:
    """In a fork that goes on as granian, whose workers are forks of it."""
    os.register_at_fork(after_in_child=count_where_the_environment_says)


def load_project() -> None:
    """Import `storage` and `chat`, as a command would find them before it has settings."""
    from django.apps import apps
    from django.conf import settings
    from django.db import connections
    from django.utils.functional import empty

    values.ValueClass = NotedValue
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ENVIRONMENT": "development",
        "SECRET_KEY": "of no program",
    }
    apps.populate(settings.INSTALLED_APPS)
    del os.environ["DJANGO_SETTINGS_MODULE"]
    settings._wrapped = SimpleNamespace(**{name: getattr(settings, name) for name in CONSTANTS})
    vars(connections).clear()
    connections.__init__({})  # type: ignore[misc]  # what runs before a fork goes through them
    for name in [name for name in sys.modules if name.startswith("config.")]:
        del sys.modules[name]
    for name in LIBRARIES:
        importlib.import_module(name)
    for app in apps.get_app_configs():
        if app.models_module and find_spec(f"{app.name}.migrations"):
            _import_all(f"{app.name}.migrations")
    import_all()
    settings._wrapped = empty


def import_all() -> None:
    """Import all of `storage` and `chat` that every command may import."""
    for package in ("storage", "chat"):
        _import_all(package)


def _import_all(package: str) -> None:
    folder = importlib.import_module(package).__path__
    for module in pkgutil.iter_modules(folder, f"{package}."):
        if module.name not in LEFT_OUT:
            importlib.import_module(module.name)
            if module.ispkg:
                _import_all(module.name)


def forget_databases() -> None:
    """In a fork: they are those of its settings."""
    from django.db import connections

    vars(connections).clear()
    connections.__init__()  # type: ignore[misc]


if __name__ == "__main__":
    from tests.chat import fork_server

    load_project()
    gc.freeze()
    fork_server.serve(socket.socket(fileno=0), forget_databases, begin_server)
