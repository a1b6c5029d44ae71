"""A program: runs management commands, each on a data folder of its own with nothing in it.

    python -m tests.chat.commands_in_forks FOLDER

It reads the commands from standard input, as JSON: `{name: [words, input]}`. Django is set up once,
and each command is a fork of this process. What it has made of DATA_DIR is then FOLDER/<name>/data;
what it has printed is beside that, with its exit status.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run_in_fork(words: list[str], given: str, place: Path) -> None:
    """Run a command to its end; what it prints and its exit status are left in `place`."""
    (place / "stdin").write_text(given)
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (place / "status").write_text(str(status))
        return
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        file = os.open(place / name, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
    sys.stdin = os.fdopen(0)
    sys.argv = [str(ROOT / "manage.py"), *words]
    from config import commands

    commands.run()
    sys.exit(0)


def main() -> None:
    import manage  # noqa: F401  (every entry point imports `config` first, and so does this one)

    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django
    from django.conf import settings

    django.setup()
    orders: dict[str, Any] = json.load(sys.stdin)
    data, folder = settings.DATA_DIR, Path(sys.argv[1])
    before = folder / "as settings leave it"
    if data.exists():
        data.rename(before)
    for name, (words, given) in orders.items():
        place = folder / name
        place.mkdir()
        if before.exists():
            shutil.copytree(before, data)
        run_in_fork(words, given, place)
        if data.exists():
            data.rename(place / "data")


if __name__ == "__main__":
    main()
