"""What root makes, as with `sudo`, belongs to whom the folder belongs: else a service could not
read it.
"""

import os

import pytest

from storage.backups import practice
from tests.chat.commands.test_modes import DAY, run_all
from tests.chat.lines import lines
from tests.chat.processes import run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

SERVICE = 12345


def owners(folder):
    return {path.relative_to(folder): path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def test_what_root_makes_in_the_folder_of_a_service_is_the_services(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    out.mkdir()
    os.chown(data, SERVICE, SERVICE)
    (out / "lines.jsonl").write_bytes(lines(3))
    words = [
        ["import_interactions", str(out / "lines.jsonl")],
        ["export_interactions", str(out / "all.jsonl")],
        ["archive_interactions"],
        ["legal_hold", "add", "--user=bob", "--reason=test"],
        ["backup"],
        ["restore_archive", DAY],
        ["unlock_login", "root"],
        ["restore", "latest", "--practice"],
        ["restore", "latest", "--to-file", str(out / "copy.sqlite3")],
    ]
    settings = {"DATABASE_URL": "", "WORKERS": "4"}  # so many take the lock of writers
    assert run(data, "storage_status", **settings).returncode == 0  # which makes the database
    statuses, finished = run_all(words, data, **settings)
    assert set(statuses.values()) == {0}, finished.stderr
    made = owners(data)
    assert {
        "secret_key",
        "chat.sqlite3",
        "chat.sqlite3.writing",
        "archive",
        "backups",
        "limits",
    } <= {str(path) for path in made}
    assert {path: owner for path, owner in made.items() if owner != SERVICE} == {}
    assert set(owners(out).values()) == {0}, "what was asked for as a file is the caller's"


def test_a_folder_that_is_a_link_is_used_as_it_is(tmp_path):
    """As one on a larger disk, for what a command writes for a while."""
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "restore-practice"
    elsewhere.mkdir()
    link.symlink_to(elsewhere)
    os.chown(tmp_path, SERVICE, SERVICE)
    with practice.scratch(link) as folder:
        assert folder == link
    assert elsewhere.stat().st_uid == 0
