"""`manage.py export_interactions [FILE]`: write interactions as lines of JSON."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chat import interchange
from chat.maintenance.damage import Damage
from chat.maintenance.identity import require_archive
from chat.maintenance.large_texts import whole
from chat.management import arguments
from chat.management.notes import note
from chat.progress import progress
from storage import get_storage
from storage.exceptions import DamagedArchive, StorageError
from storage.interface import Storage
from storage.records.json import to_json
from storage.records.pages import PAGE_TEXT, PageQuery, never

PAGE_SIZE = 200


class Command(BaseCommand):
    """Writes one line for each interaction, newest first."""

    help = (
        "Export interactions as lines of JSON, newest first, to standard output or a file. The "
        "file is compressed if its name ends with .gz or .zst."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", nargs="?", default="-", help="the file to write; default: standard output"
        )
        parser.add_argument(
            "--user", type=arguments.user, metavar="ID", help="only interactions of this user"
        )
        parser.add_argument(
            "--created-after",
            type=arguments.moment,
            metavar="TIME",
            help="only interactions created at this time or later, such as 2026-11-22T09:30:00Z",
        )
        parser.add_argument(
            "--created-before",
            type=arguments.moment,
            metavar="TIME",
            help="only interactions created before this time",
        )
        parser.add_argument(
            "--tier",
            choices=["hot", "archive"],
            default="hot",
            help="interactions in the database (hot) or in the archive; default: hot",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        query = PageQuery(
            limit=PAGE_SIZE,
            created_after=options["created_after"],
            created_before=options["created_before"],
            tier=options["tier"],
        )
        try:
            with Damage() as damage:
                count = self._export(options["file"], options["user"], query, damage)
                note(self, f"{count} exported.")
        except BrokenPipeError:
            # The reader, such as `head`, has ended. Without this the flush at exit would fail too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        except KeyboardInterrupt:
            raise CommandError("Stopped; the export is not complete.", returncode=130) from None
        except (OSError, StorageError) as error:
            raise CommandError(str(error)) from error

    def _export(self, name: str, user_id: str | None, query: PageQuery, damage: Damage) -> int:
        count = 0
        if query.tier == "archive":
            require_archive(get_storage())  # without it, an empty export would look complete
        with interchange.opened_for_writing(name) as file, progress("exporting") as report:
            for lines in _pages(user_id, query, damage):
                file.write(b"".join(line + b"\n" for line in lines))
                count += len(lines)
                report(count)
        return count


def _pages(user_id: str | None, query: PageQuery, damage: Damage) -> Iterator[list[bytes]]:
    storage = get_storage()
    cursor: str | None = ""
    while cursor is not None:
        page = replace(query, cursor=cursor or None)
        if query.tier == "archive":
            lines, cursor = _cold_page(storage, user_id, page)
        else:
            try:
                lines, cursor = _hot_page(storage, user_id, page)
            except DamagedArchive:
                lines, cursor = _page_past_damage(storage, user_id, page, damage)
        yield lines


def _hot_page(
    storage: Storage, user_id: str | None, query: PageQuery
) -> tuple[list[bytes], str | None]:
    """The lines of a page and the cursor of the next one; on SQLite without making objects."""
    if user_id is None:
        page = storage.list_interactions_json_sync(query)
    else:
        page = storage.list_user_interactions_json_sync(user_id, query)
    return page.items, page.next_cursor


def _page_past_damage(
    storage: Storage, user_id: str | None, query: PageQuery, damage: Damage
) -> tuple[list[bytes], str | None]:
    """As `_hot_page`, without what has damaged large texts, which is noted."""
    wanted = replace(query.slice(user_id, PAGE_TEXT), texts_of=never)
    rows = storage.database.newest_interactions(wanted)
    lines = [to_json(row) for row in whole(storage, rows, damage)]
    return lines, query.cursor_after(user_id, rows[-1].position if rows else None)


def _cold_page(
    storage: Storage, user_id: str | None, query: PageQuery
) -> tuple[list[bytes], str | None]:
    """The same of archived interactions, whose JSON in the API has a tier, and a line has none."""
    if user_id is None:
        page = storage.list_interactions_sync(query)
    else:
        page = storage.list_user_interactions_sync(user_id, query)
    return [to_json(interaction) for interaction in page.interactions], page.next_cursor
