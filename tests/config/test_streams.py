"""Commands whose output nobody reads, or whose streams the caller has closed."""

import os
import subprocess

import pytest

from tests.chat.processes import ROOT, environment, give_tables, manage


def run(folder, *words, shell, **values):
    """What bash says of a command in a line like `{} | true`: its exit status, and its errors."""
    give_tables(folder)
    line = shell.format('"$@"')
    done = subprocess.run(
        ["bash", "-c", f'{line}; exit "${{PIPESTATUS[0]}}"', "bash", *manage(*words)],
        env=environment(folder) | {"PYTHONUNBUFFERED": ""} | values,
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_run_whose_summary_nobody_reads_ends_as_it_does_otherwise(tmp_path, unbuffered):
    shell = "{} | true"
    values = {"PYTHONUNBUFFERED": unbuffered}
    assert run(tmp_path, "archive_interactions", shell=shell, **values) == (0, "")
    status, errors = run(tmp_path, "restore_archive", "2026-01-01", shell=shell, **values)
    assert (status, len(errors.splitlines())) == (1, 1), errors


def test_output_that_the_reader_has_left_is_a_broken_pipe_as_elsewhere(tmp_path):
    found = run(tmp_path, "intake", shell="{} | true", PYTHONUNBUFFERED="1")
    assert found == (141, "")


@pytest.mark.parametrize(
    ("words", "shell"),
    [
        (["archive_interactions"], "{} >&-"),
        (["archive_interactions"], "{} 2>&-"),
        (["import_interactions", "-"], "{} <&-"),
    ],
)
def test_a_closed_stream_leads_nowhere(tmp_path, words, shell):
    assert run(tmp_path, *words, shell=shell) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")  # noqa: PTH110
def test_output_that_cannot_be_written_is_one_line(tmp_path):
    status, errors = run(tmp_path, "storage_status", shell="{} > /dev/full")
    assert (status, len(errors.splitlines())) == (1, 1), errors
