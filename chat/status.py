"""The call for the status: what runs here, and how it is."""

import functools
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import django
from django.conf import settings
from django.db import connections
from django.http import HttpResponse
from rest_framework.request import Request

from chat import operations
from chat.api import parameters
from chat.api.authentication import caller_of
from chat.api.operations import get_status
from chat.api.views import StoreView, call_of, json_response
from storage import get_storage
from storage.exceptions import StorageError
from storage.records.json import format_time
from storage.startup.availability import LOOKS


class StatusView(StoreView):
    """The status. Nothing of users is in it, so looking at it is not in the audit log."""

    @get_status
    def get(self, request: Request) -> HttpResponse:
        caller_of(request).require_every_user()
        parameters.refuse_parameters(call_of(request))
        return json_response(_status())


def _status() -> Mapping[str, Any]:
    storage = get_storage()
    availability = LOOKS.now()
    errors = {availability.failed: availability.detail} if availability.failed else {}

    def part(name: str, read: Callable[[], Any]) -> Any:
        """What `read` returns; None if it fails, or if the database has failed before."""
        if availability.failed == "database":
            return None
        try:
            return read()
        except (StorageError, OSError) as error:
            errors[name] = str(error) or type(error).__name__
            return None

    return {
        "backend": storage.database.backend,
        "failed": availability.failed or None,
        "cache": availability.cache,
        "database": part("database", operations.space),
        "archive": _archive(),
        "interactions": part("interactions", lambda: asdict(operations.tiers(datetime.now(UTC)))),
        "runs": part("runs", _runs),
        "backup": part("backup", _backup),
        "versions": _versions(),
        "errors": errors,
    }


def _archive() -> str:
    if settings.ARCHIVE_BUCKET:
        return f"s3://{settings.ARCHIVE_BUCKET}"
    return str(settings.STORAGES["archive"]["OPTIONS"]["location"])


def _runs() -> list[dict[str, str]]:
    return [
        {"command": run.command, "status": run.status, "ended_at": format_time(run.at)}
        for run in operations.runs()
    ]


def _backup() -> dict[str, Any]:
    newest = operations.backup()
    at = None if newest.at is None else format_time(newest.at)
    return {"made_at": at, "is_late": newest.is_late}


@functools.cache
def _versions() -> dict[str, str]:
    found = {
        "store": settings.VERSION,
        "python": platform.python_version(),
        "django": django.get_version(),
        "granian": version("granian"),
    }
    library = getattr(getattr(connections["default"], "Database", None), "sqlite_version", None)
    return found if library is None else found | {"sqlite": library}
