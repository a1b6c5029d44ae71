#!/usr/bin/env python
"""Runs management commands."""

import os
import sys


def main() -> None:
    """Run the command that the arguments name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        import config  # noqa: F401  (before Django: see config/__init__.py)

        _run()
    except KeyboardInterrupt:  # while it was starting; later a command says what was done
        sys.exit(130)


def _run() -> None:
    from django.core.exceptions import ImproperlyConfigured

    try:
        from config import commands

        commands.run()
    except ImproperlyConfigured as error:
        sys.exit(str(error))  # what to set, without a traceback


if __name__ == "__main__":
    main()
