"""The crontab of retention.md has lines that the commands take."""

import re
from pathlib import Path

import pytest
from django.core.management import load_command_class

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "retention.md"
LINE = r"^[\d*].* manage\.py (.+) > /dev/null$"
LINES = re.findall(LINE, PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_has_a_crontab():
    assert len(LINES) >= 5


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_crontab_is_a_command_with_options_that_it_has(line):
    name, *options = line.split()
    command = load_command_class("chat", name)
    command.create_parser("manage.py", name).parse_args(options)  # else SystemExit
