"""A store whose interactions are hot, cold or gone, and the commands that make them so."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from storage.dynamodb import last_runs as dynamodb_runs
from storage.dynamodb.database import DynamoDBDatabase
from storage.interface import Storage
from storage.models.interaction import FIELDS
from storage.sqlite import last_runs as sqlite_runs
from tests.chat.lines import command

LAST = datetime.max.replace(tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Store:
    """30 hot days and 90 in all, as the commands see it; the readers of the tests see all."""

    def __init__(self, storage: Storage, settings: Any, make_interaction: Any) -> None:
        self.storage = storage
        self.archive = storage.archive
        self._settings = settings
        self._make = make_interaction
        self.made = {}

    def fill(self, *times: Any, user_id: str = "ada", **fields: Any) -> list[Any]:
        """Save one interaction of each time; their ids."""
        start = len(self.made)
        made = [
            self._make(
                interaction_id=f"i-{start + number:04}",
                user_id=user_id,
                message=f"question {start + number}",
                created_at=time,
                updated_at=time + timedelta(hours=1, microseconds=number),
                **fields,
            )
            for number, time in enumerate(times)
        ]
        for first in range(0, len(made), 100):
            self.storage.copy_interactions(made[first : first + 100])  # any id, also an old one
        self.made |= {each.interaction_id: each for each in made}
        return [each.interaction_id for each in made]

    def run(self, name: str, *arguments: Any, now: datetime, status: int = 0) -> Any:
        """Run a command to its end; its summary. Its exit status must be `status`."""
        ended, said, errors = self.told(name, "--now", now.isoformat(), *arguments)
        assert ended == status, errors
        return json.loads(said)

    def told(self, name: str, *arguments: Any) -> Any:
        """Run a command, confirmed; its exit status, standard output and standard error."""
        if name == "purge_interactions":
            arguments = (*arguments, "--yes")
        return self.unconfirmed(name, *arguments)

    def unconfirmed(self, name: str, *arguments: Any) -> Any:
        """The same without --yes."""
        before = self._settings.RETENTION_TOTAL_DAYS
        self._settings.RETENTION_HOT_DAYS, self._settings.RETENTION_TOTAL_DAYS = 30, 90
        try:
            return command(name, *arguments)
        finally:
            self._settings.RETENTION_TOTAL_DAYS = before

    def hot(self) -> list[Any]:
        return [each.interaction_id for each in self._hot()]

    def _hot(self) -> Any:
        found = []
        while page := self.storage.oldest(LAST, 100, (found and position(found[-1])) or None):
            found += page
        return found

    def cold(self) -> list[Any]:
        """The ids of what is in the archive, each with a stub that names its segment."""
        found = []
        for segment in self.segments():
            ids = [row.interaction_id for row in self.archive.rows(segment)]
            stubs = self.storage.database.stubs(ids)
            assert {stub.segment for stub in stubs.values()} == {segment}
            assert sorted(stubs) == sorted(ids)
            found += ids
        return sorted(found)

    def segments(self) -> list[Any]:
        return [each for day in self.archive.days() for each in self.archive.segments(day)]

    def check_readable(self, ids: Any) -> None:
        """Each of these is read by its id, field by field as it was saved."""
        for interaction_id in ids:
            found = self.storage.get_interaction_sync(interaction_id)
            expected = self.made[interaction_id]
            assert [getattr(found, name) for name in FIELDS] == [
                getattr(expected, name) for name in FIELDS
            ]

    def state(self) -> tuple[Any, ...]:
        """All that is stored, byte for byte: in the database and in the archive.

        But for how commands have ended, which is kept of those that were refused as well.
        """
        return self._database(), dict(self._files(""))

    def _database(self) -> Any:
        if isinstance(self.storage.database, DynamoDBDatabase):
            items = self.storage.database.client.call("Scan", ConsistentRead=True)["Items"]
            return sorted(
                json.dumps(item, sort_keys=True)
                for item in items
                if item["interaction_id"]["S"] != dynamodb_runs.ID_OF_ENDS
            )
        from django.apps import apps

        return {
            model._meta.db_table: sorted(
                row
                for row in map(repr, model._default_manager.values_list())
                if sqlite_runs.PREFIX_OF_ENDS not in row
            )
            for model in apps.get_app_config("storage").get_models()
        }

    def _files(self, folder: str) -> Iterator[Any]:
        files = self.archive.files
        for name in files.list(folder):
            path = f"{folder}{name}"
            yield path, files.read(path)
        for name in files.folders(folder):
            yield from self._files(f"{folder}{name}/")


def position(each: Any) -> tuple[Any, ...]:
    return each.created_at, each.interaction_id
