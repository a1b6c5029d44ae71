"""`manage.py rebuild_search`: make the index of words again, from the database and the archive."""

from argparse import ArgumentParser
from typing import Any

from chat.maintenance import search_index
from chat.maintenance.runs import Run
from chat.maintenance.search_index import Rebuilt
from chat.management.base import MaintenanceCommand
from storage.interface import Storage


class Command(MaintenanceCommand):
    """Exit status 3: the next run goes on, without --missing from the beginning."""

    report_class = Rebuilt
    locks = False  # whoever changes an interaction meanwhile has it indexed again
    help = (
        "Make the search index anew, from the database and the archive, while servers run; until "
        "it is complete, searches for text go through the interactions. An index that is lost or "
        "damaged is made anew without this command, but for what was archived before."
    )

    def add_options(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--missing",
            action="store_true",
            help="keep what is indexed, and add only what is missing",
        )

    def work(self, storage: Storage, run: Run, report: Rebuilt, options: dict[str, Any]) -> None:
        search_index.rebuild(storage, run, report, anew=not options["missing"])
