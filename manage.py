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


def open_streams() -> None:
    """Let what the caller has closed (`>&-`) lead nowhere.

    Python has no such stream then, and the next file that is opened would get its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  (until the end)


def end_output() -> None:
    """Write what is left of the output, and end with a plain line if that fails.

    Python would do so later, and print a traceback. A reader that has gone is no failure.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            sys.exit(f"The output could not be written: {error.strerror}.")


def main() -> None:
    """Run the command that the arguments name."""
    end_on_sigterm()
    open_streams()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        import config  # noqa: F401  (before Django: see config/__init__.py)

        _run()
    except KeyboardInterrupt:  # while it was starting; later a command says what was done
        sys.exit(130)
    except BrokenPipeError:  # as other programs whose reader, such as `head`, has ended
        sys.exit(128 + signal.SIGPIPE)
    finally:
        end_output()


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
