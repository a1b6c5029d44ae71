"""The pages of `docs/` tell the truth: their commands run, what was written from the code is so.

A block of ```` ```console ```` is run. One with `elsewhere` behind it is not: it needs AWS, Docker,
the network, a program that the page is about, a file of the reader's, or it runs for ever. Of all
of them the commands of `manage.py` must exist, with these options.
"""

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, get_commands, load_command_class

from config.environment import VARIABLES
from tests.chat.processes import free_port
from tests.upgrades.make import rows

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```console *([^\n]*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference" / "generate.py"))["PAGES"]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    """The mark and the lines of each block, those that are continued joined."""
    for mark, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        yield mark, [line.strip() for line in text.replace("\\\n", " ").splitlines()]


@pytest.mark.django_db
@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_is_the_code(name):
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == REFERENCE[name](), "run `make reference`"


def test_the_reference_has_each_metric_of_the_guide():
    named = {}
    for page in ("reference", "how-to"):
        text = (ROOT / "docs" / page / "metrics.md").read_text(encoding="utf-8")
        named[page] = set(re.findall(r"^\| `(chat_\w+)` \| (\w+) \|", text, re.MULTILINE))
    assert named["reference"] == named["how-to"]


def commands(line):
    """The arguments of each call of `manage.py` in a line."""
    for part in re.split(r"\s(?:\||&&|>|<|;)\s", line):
        before, found, after = part.partition("manage.py ")
        if found and "'" not in before:
            yield shlex.split(after.replace("DIGEST", "0" * 64), comments=True)


COMMANDS = sorted(
    {
        (name_of(page), shlex.join(words))
        for page in PAGES
        for _, lines in blocks(page)
        for line in lines
        for words in commands(line)
    }
)


def refusal(words):
    """What is wrong with the words of a command; empty if nothing is."""
    name, *arguments = words
    if (app := get_commands().get(name)) is None:
        return f"there is no {name}"
    command = load_command_class(app, name) if isinstance(app, str) else app
    command._called_from_command_line = False  # so that it raises and does not exit
    try:
        command.create_parser("manage.py", name).parse_args(arguments)
    except (CommandError, SystemExit) as error:
        return str(error)
    return ""


def test_every_command_line_is_one_that_there_is():
    assert len(COMMANDS) > 60
    wrong = [(page, line, why) for page, line in COMMANDS if (why := refusal(shlex.split(line)))]
    assert wrong == []


@pytest.mark.parametrize("line", ["backup --yess", "no_such_command", "restore latest --to"])
def test_a_command_line_that_is_wrong_is_found(line):
    assert refusal(shlex.split(line))


def runs(page):
    """The blocks of a page that are run, in order."""
    for mark, lines in blocks(page):
        of_readme = page.name == "README.md" and not all("manage.py" in line for line in lines)
        if mark or of_readme or any(word in line for word in NEVER for line in lines):
            continue
        yield "\n".join(lines)


NEVER = ("manage.py serve", "dynamodb_table", "pip install", "check --deploy")
"""What runs for ever, or needs AWS or a package index, in the README, which has no marks."""

RUN = [page for page in PAGES if list(runs(page))]


def prepared(folder):
    """A checkout in `folder`, whose data is its `var`: a database with users, and a backup."""
    for entry in ROOT.iterdir():
        if entry.name not in ("var", ".env", ".git"):
            (folder / entry.name).symlink_to(entry)
    (folder / "var").mkdir()
    defaults = {variable.name: variable.default for variable in VARIABLES}
    values = {"DATA_DIR": str(folder / "var"), "PORT": str(free_port())}
    values["RETENTION_TOTAL_DAYS"] = "1000000"
    environment = os.environ | defaults | values
    of_the_guide = {"interaction_id": "x", "created_at": "2026-10-23T09:30:00Z"}
    given = [*rows(), next(rows()) | of_the_guide]
    lines = "".join(json.dumps(row) + "\n" for row in given)
    manage = [sys.executable, "manage.py"]
    ready = {"cwd": folder, "env": environment, "check": True, "capture_output": True}
    subprocess.run([*manage, "import_interactions", "-"], input=lines.encode(), **ready)
    subprocess.run([*manage, "archive_interactions"], **ready)
    subprocess.run([*manage, "backup"], **ready)
    return environment


@pytest.mark.exhaustive
@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_commands_of_a_page_run_one_after_another(page, tmp_path):
    environment = prepared(tmp_path)
    for block in runs(page):
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ended.returncode == 0, f"{block}\n{ended.stderr}"
