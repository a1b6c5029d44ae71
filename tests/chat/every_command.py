"""A program: runs management commands one after another, as `manage.py` does, and prints statuses.

One process for all of them, since the start of one takes seconds. It reads the commands from
standard input, as JSON.
"""

import json
import os
import sys


def status_of(words: list[str]) -> int:
    """The exit status of a command."""
    from django.core.management import CommandError, call_command

    try:
        call_command(*words)
    except CommandError as error:
        print(f"{words[0]}: {error}", file=sys.stderr)
        return error.returncode
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def main() -> None:
    os.umask(0o022)  # as most shells have it
    import manage  # noqa: F401  (every entry point imports `config` first, and so does this one)

    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django

    django.setup()
    statuses = [status_of(words) for words in json.load(sys.stdin)]
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
