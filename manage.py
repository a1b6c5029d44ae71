#!/usr/bin/env python
"""Runs management commands."""

import gc
import os
import signal
import sys


def end_on_sigterm() -> None:
    """Let SIGTERM end this process while it is the first of a container.

    Linux protects such a process from all signals that it does not handle, so `docker stop` would
    wait for ten seconds. Others are ended by SIGTERM anyway.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def main() -> None:
    """Run the command that the arguments name."""
    end_on_sigterm()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        import config  # noqa: F401  (before Django: see config/__init__.py)

        _run()
    except KeyboardInterrupt:  # while it was starting; later a command says what was done
        sys.exit(130)


def _run() -> None:
    gc.disable()  # until the command runs: going through what is loaded takes a seventh of a start
    from django.core.exceptions import ImproperlyConfigured

    try:
        from config import commands

        commands.run()
    except ImproperlyConfigured as error:
        sys.exit(str(error))  # what to set, without a traceback


if __name__ == "__main__":
    main()
