"""The README tells the truth: its settings are the code's, its links lead somewhere."""

import re
from pathlib import Path

import pytest

from config import environment

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


def test_no_setting_is_read_elsewhere():
    readers = [
        path.relative_to(ROOT).as_posix()
        for package in ("config", "chat", "storage")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"os\.environ\b(?!\.setdefault)|getenv\(", path.read_text(encoding="utf-8"))
    ]
    assert readers == [], "read the variable in config/environment.py instead"


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")) + [ROOT / "README.md"], ids=str)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
