"""What a command says beside its result, on standard error."""

from django.core.management.base import BaseCommand


def note(command: BaseCommand, text: str) -> None:
    """Write a line that is no error, and so not in Django's bold red."""
    command.stderr.write(text, str)
