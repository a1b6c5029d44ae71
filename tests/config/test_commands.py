"""How commands start: with the system checks that protect what they use, and without the rest."""

import pytest

from tests.chat import fork_server
from tests.chat.processes import environment, give_tables, run

PROBE = """
import atexit, runpy, sys
atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))
sys.argv = ["manage.py", *{words}]
sys.path.insert(0, "{root}")
runpy.run_path("{manage}", run_name="__main__")
"""

WEB = {"config.urls", "chat.api.urls", "chat.admin", "storage.dynamodb"}


def imported_by(folder, *words):
    probe = PROBE.format(words=words, manage=fork_server.MANAGE, root=fork_server.ROOT)
    result = fork_server.run(["-c", probe], environment(folder))
    assert result.returncode == 0, result.stderr[-3000:]
    return set(result.stderr.decode().splitlines()[-1].split())


@pytest.mark.parametrize("words", [["export_interactions"], ["archive_interactions"]])
def test_a_command_loads_no_page_and_no_other_backend(tmp_path, words):
    assert WEB.isdisjoint(imported_by(tmp_path, *words))


def test_djangos_check_looks_at_all_pages(tmp_path):
    assert imported_by(tmp_path, "check") >= WEB - {"storage.dynamodb"}


@pytest.mark.parametrize("name", ["archive_interactions", "import_interactions", "erase_user"])
def test_a_setting_that_cannot_work_stops_a_command(tmp_path, name):
    file = tmp_path / "file"
    file.touch()
    words = {"import_interactions": ["-"], "erase_user": ["ada"]}.get(name, [])
    give_tables(tmp_path)
    result = run(tmp_path, name, *words, ARCHIVE_DIR=str(file))
    assert result.returncode == 1
    assert b"(storage.E009) The archive cannot be in" in result.stderr


@pytest.mark.parametrize(
    "words",
    [["create_api_key", "a\udcff"], ["second_factor", "\udcff"], ["usage", "--model=\udcff"]],
)
def test_an_argument_that_is_not_utf_8_is_answered_in_one_line(tmp_path, words):
    give_tables(tmp_path)
    result = run(tmp_path, *words)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert b"UTF-8" in result.stderr
