"""What is said of a DATA_DIR that cannot be used."""

import errno
import os
from pathlib import Path

import pytest
from django.core.management import CommandError

from config import commands
from storage.startup.data_folder import advice


def denied(path):
    return PermissionError(errno.EACCES, "Permission denied", str(path))


def test_it_says_who_runs_whose_the_folder_is_and_what_to_do(tmp_path):
    tmp_path.chmod(0o755)
    status = tmp_path.stat()
    assert advice(tmp_path, denied(tmp_path / "chat.sqlite3")) == (
        f"DATA_DIR={tmp_path} cannot be used: Permission denied: {tmp_path}/chat.sqlite3. This "
        f"runs as user {os.geteuid()} of group {os.getegid()}, and {tmp_path} belongs to user "
        f"{status.st_uid} of group {status.st_gid}, mode 755. Let root run chown -R "
        f"{os.geteuid()}:{os.getegid()} on it (in a container: on the folder or volume that is "
        "mounted there), or set DATA_DIR to a folder in which this user can write."
    )


def test_a_folder_that_is_not_there_is_known_by_the_one_above(tmp_path):
    assert f"and {tmp_path} belongs to" in advice(tmp_path / "new" / "er", denied(tmp_path / "new"))


def test_another_error_is_no_question_of_owners(tmp_path):
    error = NotADirectoryError(errno.ENOTDIR, "Not a directory", str(tmp_path))
    assert advice(tmp_path, error) == (
        f"DATA_DIR={tmp_path} cannot be used: Not a directory. Set it to a folder in which this "
        "user can write."
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [("archive/2026", "This runs as user"), ("/etc/passwd", "Permission denied: '/etc/passwd'")],
)
def test_a_command_says_it_of_what_is_in_the_folder_only(settings, tmp_path, path, expected):
    settings.DATA_DIR = tmp_path

    def execute():
        raise denied(Path(tmp_path, path))

    with pytest.raises(CommandError, match=expected):
        commands._prepared(execute, "check")()
