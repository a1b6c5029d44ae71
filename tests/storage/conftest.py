"""Database files of their own, and programs that run as processes of their own."""

import contextlib
import copy
import os
import signal
import subprocess

import pytest
from django.conf import settings
from django.core.cache import caches
from django.db import connections

from storage.archive.archive import configured_archive
from storage.models import ArchivedInteraction, ChatInteraction, IdempotencyRecord, Lock, TextChange
from storage.sqlite import base
from storage.startup.selection import local_storage
from tests.chat import fork_server

OPTIONS = copy.deepcopy(connections.settings["default"]["OPTIONS"])
"""As the settings have them. The test database itself has more patience."""


@pytest.fixture
def no_default_database(tmp_path, django_db_blocker, monkeypatch):
    """Lets a test connect, but not to the default database, which may be someone's own."""
    connections["default"].close()
    monkeypatch.setitem(
        connections.settings["default"], "NAME", str(tmp_path / "no such folder" / "x.sqlite3")
    )
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def add_database(tmp_path, no_default_database):
    """Adds a database in a file of its own under an alias; options differ as given."""
    added = []

    def add(alias="other", *, name=None, tables=True, conn_max_age=0, **options):
        config = copy.deepcopy(connections.settings["default"])
        config["OPTIONS"] = copy.deepcopy(OPTIONS)
        config["NAME"] = name or str(tmp_path / f"{alias}.sqlite3")
        config["CONN_MAX_AGE"] = conn_max_age
        config["OPTIONS"] |= options
        config["OPTIONS"] = {k: v for k, v in config["OPTIONS"].items() if v is not None}
        connections.settings[alias] = config
        added.append(alias)
        connection = connections[alias]
        if tables:
            with connection.schema_editor() as editor:
                editor.create_model(ChatInteraction)
                editor.create_model(IdempotencyRecord)
                editor.create_model(ArchivedInteraction)
                editor.create_model(Lock)
                editor.create_model(TextChange)
            connection.close()
        return connection

    yield add
    for alias in added:
        connections[alias].close()
        base.close_pool(connections.settings[alias]["NAME"])
        del connections[alias]
        del connections.settings[alias]


@pytest.fixture
def other(add_database):
    """A connection to a database file that nothing else uses, with five pooled connections."""
    return add_database()


@pytest.fixture
def other_storage(other):
    """LocalStorage on that database."""
    storage = local_storage(other.alias, caches["default"], configured_archive())
    yield storage
    storage.runner.executor.shutdown()


@pytest.fixture
def start_program(tmp_path):
    """Starts `tests.storage.programs.<name>` as a process with data in a folder of its own."""
    running = []

    def start(name, *arguments, **environment):
        process = fork_server.Popen(
            ["-W", "error", "-m", f"tests.storage.programs.{name}", *arguments],
            {
                **{k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
                "DATA_DIR": str(tmp_path),
                "DATABASE_URL": f"sqlite:///{tmp_path / 'program.sqlite3'}",
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "ENVIRONMENT": "test",
                "SECRET_KEY": settings.SECRET_KEY,
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preloaded=name.startswith("with_django."),
        )
        running.append(process)
        return process

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and its own children
        process.communicate()


@pytest.fixture
def run_program(start_program):
    """Runs such a program to its end; gives what it printed."""

    def run(name, *arguments, **environment):
        process = start_program(name, *arguments, **environment)
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return output

    return run
