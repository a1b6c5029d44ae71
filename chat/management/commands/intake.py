"""`manage.py intake`: what tools have sent lately, and why some of it is not stored."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from chat.ingest.summary import FromSource, LeftOutFor, since, summary
from chat.management import arguments
from storage.exceptions import StorageError


class Command(BaseCommand):
    """The admin's page Intake as text. Exit status 1 if the database did not answer."""

    help = "Show what tools have sent in the last hours, what was kept, and why the rest was not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--hours",
            type=arguments.count,
            default=24,
            metavar="N",
            help="how far to look back; at most 31 days are known; default: 24",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        try:
            sources = summary(options["hours"], now)
        except StorageError as error:
            raise CommandError(str(error)) from error
        begin = f"{since(options['hours'], now):%Y-%m-%d %H:%M} UTC"
        if not sources:
            self.stdout.write(f"Nothing came since {begin}.")
        for source in sources:
            self.stdout.write("\n".join(_lines(source, begin)))


def _lines(source: FromSource, begin: str) -> Iterator[str]:
    yield f"{source.title}, since {begin}, last at {source.last_at:%Y-%m-%d %H:%M:%S} UTC"
    for name, count in (
        ("received", source.received),
        ("kept", source.kept),
        ("known already", source.unchanged),
        ("left out", source.left_out_count),
    ):
        yield f"  {name:<15}{count:>12,}"
    for reason in source.left_out:
        yield from _lines_of(reason)


def _lines_of(reason: LeftOutFor) -> Iterator[str]:
    yield f"    {reason.title:<13}{reason.count:>12,}  {reason.remedy}".rstrip()
    if reason.snippet:
        yield f"      For {reason.snippet.place}:"
        yield from (f"        {line}".rstrip() for line in reason.snippet.text.splitlines())
