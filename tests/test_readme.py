"""The README tells the truth: its settings are the code's, its links lead somewhere."""

import re
import shlex
import shutil
import subprocess
from code import InteractiveConsole
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.management import get_commands
from django.test import Client

from config import environment
from storage.models import ApiKey
from tests.switches import SWITCHES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_settings_table_is_the_code():
    rows = [
        f"| `{variable.name}` | {variable.type} | "
        f"{f'`{variable.default}`' if variable.default else ''} | {variable.meaning} |"
        for variable in environment.VARIABLES
    ]
    table = [line for line in README.splitlines() if re.match(r"\| `[A-Z_]+` \|", line)]
    assert table == rows


def test_the_table_of_switches_is_that_of_the_tests():
    rows = [
        f"| `{switch.name}` | {f'`{switch.usual}`' if switch.usual else ''} | `{switch.all}` | "
        f"{switch.meaning} |"
        for switch in SWITCHES
    ]
    page = (ROOT / "docs" / "how-to" / "test.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if re.match(r"\| `[A-Z_]+` \|", line)] == rows


def test_no_setting_is_read_elsewhere():
    readers = [
        path.relative_to(ROOT).as_posix()
        for package in ("config", "chat", "storage")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"os\.environ\b(?!\.setdefault)|getenv\(", path.read_text(encoding="utf-8"))
    ]
    assert readers == [], "read the variable in config/environment.py instead"


PAGES = [*ROOT.glob("*.md"), *sorted(ROOT.glob("docs/**/*.md"))]
HISTORY = {"CHANGELOG.md", "0020-one-storage-three-parts.md"}
"""Pages that name what there was before."""


def test_links_between_pages_lead_somewhere():
    wrong = [
        f"{page.name}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert wrong == []


def test_pictures_are_there_all_are_used_and_none_is_large():
    shown = re.findall(r"\]\((docs/pictures/[^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", README)
    pictures = sorted((ROOT / "docs" / "pictures").glob("*.png"))
    assert {ROOT / (link or source) for link, source in shown} == set(pictures)
    assert [picture.name for picture in pictures if picture.stat().st_size > 150_000] == []


def test_files_that_a_page_names_exist():
    name_of_file = re.compile(r"`((?:benchmarks|chat|config|docs|storage|tests)/[\w/.-]+)`")
    gone = [
        f"{page.name}: {name}"
        for page in PAGES
        if page.name not in HISTORY
        for name in name_of_file.findall(page.read_text(encoding="utf-8"))
        if "NAME" not in name and not (ROOT / name).exists()
    ]
    assert gone == []


EVERYWHERE = {"cat", "cd", "cp", "echo", "export", "head", "mkdir", "sed", "make", "git", "python3"}
OF_THIS_PROJECT = {".venv/bin/python", ".venv/bin/pip"}
OF_THE_GUIDE = {
    "README.md": {"curl", "docker"},
    "backup-and-restore.md": {"chgrp", "chmod", "grep", "rsync", "sqlite3", "xargs"},
    "container.md": {".", "docker", "sudo"},
    "import-and-export.md": {"llm"},
    "incidents.md": {"curl"},
    "llm.md": {"llm", "rm"},
    "metrics.md": {"install", "rm"},
    "other-programs.md": {"datasette", "litestream", "sqlite-utils", "sqlite3", "umask"},
    "postgresql.md": {"date", "docker", "pg_dump"},
    "production.md": {"aws", "docker", "curl"},
    "search.md": {"curl"},
    "langfuse.md": {"pip"},
    "mlflow.md": {"pip"},
    "openai-agents.md": {"pip"},
    "openinference.md": {"pip"},
    "opentelemetry.md": {"opentelemetry-instrument", "pip"},
    "traceloop.md": {"pip"},
    "tutorial.md": {"curl", "umask", "END"},
    "upgrade.md": {"mv", "rm"},
}
"""What a guide is about, or has told its reader to have."""


def console_blocks(page):
    text = page.read_text(encoding="utf-8")
    return re.findall(r"```console[^\n]*\n(.*?)```", text, flags=re.DOTALL)


def programs(block):
    """The programs that the lines of a block call."""
    block = re.sub(r"'[^']*'|\"[^\"]*\"", "quoted", block.replace("\\\n", " "))
    for line in block.splitlines():
        for command in re.split(r"\||&&|;|\$\(", line.removeprefix("$ ").partition("#")[0]):
            words = [word for word in command.split() if not re.match(r"[A-Z_]+=", word)]
            if words and not words[0].startswith("{"):
                yield words[0]


def test_guides_use_programs_that_their_readers_have():
    unknown = [
        f"{page.name}: {program}"
        for page in PAGES
        for block in console_blocks(page)
        for program in programs(block)
        if program not in EVERYWHERE | OF_THIS_PROJECT | OF_THE_GUIDE.get(page.name, set())
    ]
    assert unknown == []


def test_guides_use_commands_that_there_are():
    known = get_commands()
    unknown = [
        f"{page.name}: {name}"
        for page in PAGES
        for block in console_blocks(page)
        for name in re.findall(r"\.venv/bin/python manage\.py (\w+)", block)
        if name not in known
    ]
    assert unknown == []


def curl_examples():
    return re.findall(r"```console curl\n(.*?)```", README, flags=re.DOTALL)


def send(client, command, key):
    """What curl would send for `command`, through Django's client: curl need not be installed."""
    words = shlex.split(command.replace("\\\n", " ").replace("$KEY", key))
    options = {word: words[index + 1] for index, word in enumerate(words) if word in ("-X", "-d")}
    headers = [words[index + 1] for index, word in enumerate(words) if word == "-H"]
    url = urlsplit(next(word for word in words if word.startswith("http://127.0.0.1:8000/")))
    body = options.get("-d", "")
    return client.generic(
        options.get("-X", "POST" if body else "GET"),
        f"{url.path}?{url.query}" if url.query else url.path,
        body,
        content_type="application/json",
        headers=dict(header.split(": ", 1) for header in headers),
    )


def test_curl_examples_work_as_pasted_one_after_another(transactional_db):
    _, key = ApiKey.objects.create_key(name="readme")
    statuses = [send(Client(), example, key).status_code for example in curl_examples()]
    assert statuses == [201, 200, 200, 200, 200, 200, 200, 200, 204]


def written_files():
    """What the examples of all pages write in the checkout."""
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            yield from re.findall(
                r"manage\.py export_interactions .*?([\w./-]+\.jsonl[\w.]*)", line
            )
            yield from re.findall(r"manage\.py export_user .*--output ([\w./-]+)", line)


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_git_ignores_what_the_examples_write(tmp_path):
    """They write what users said. So does whoever gives such a file another name."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    names = [*written_files(), "mine.jsonl", "x/y.jsonl.gz", "bob-export/manifest.json"]
    names += ["data.sqlite3.in-use", "a/chat.sqlite3.before-restore-1", "all.jsonl.zst.partial"]
    assert len(names) > 8
    found = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", *names], capture_output=True, text=True
    )
    assert found.stdout.splitlines() == names
    sample = ["git", "-C", tmp_path, "check-ignore", "--quiet", "chat/sample_data.jsonl"]
    assert subprocess.run(sample).returncode == 1


class Terminal(InteractiveConsole):
    """Python's prompt, into which lines are pasted one after the other."""

    def __init__(self):
        super().__init__()
        self.errors = ""

    def write(self, text):
        self.errors += text


def test_the_python_example_works_as_pasted(transactional_db, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    terminal = Terminal()
    for line in example.splitlines():
        is_open = terminal.push(line)
    assert (terminal.errors, is_open) == ("", False)
    assert "ChatInteraction" in capsys.readouterr().out


def test_a_person_is_exported_before_they_are_erased():
    assert 0 < README.index("export_user ada") < README.index("erase_user ada")
