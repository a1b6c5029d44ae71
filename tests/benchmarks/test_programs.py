"""Each benchmark starts; those that need no other virtual environment also run, in a tiny size."""

import importlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.benchmarks.conftest import FOLDER
from tests.chat import fork_server

PROGRAMS = [path.stem for path in FOLDER.glob("*.py") if path.stem != "__main__"]
TINY = {
    "storage_calls": "--rows 2000 4000 --rounds 1 --short --share 0.05",
    "writers": "--rows 100 --writers 4 --each 5 --rounds 1 --fsync-ms 2",
    "cloud_calls": "--rows 500 --rounds 1 --share 0.1",
    "cloud_requests": "--rounds 1 --requests 5",
    "cache_protocol": "--rounds 1 --count 10",
    "partitions": "--seconds 120",
    "admin": "--rows 300 --rounds 1",
    "saving": "--rows 200 --rounds 1 --share 0.02",
    "wal": "--processes 1 --readers 1 --seconds 1",
}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_it_can_be_imported(name):
    assert callable(importlib.import_module(name).main)


@pytest.mark.skipif(shutil.which("cc") is None, reason="writers.py compiles a library")
def test_it_runs_with_a_slow_disk(tmp_path, monkeypatch):
    """It runs itself again, as a program that the library is loaded into."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (_, *arguments), file = words("writers", tmp_path)
    importlib.import_module("writers").main([str(word) for word in arguments])
    ratios = json.loads(file.read_text())
    assert {*ratios} == {"writers/2 ms/rate", "writers/2 ms/p99"}


@pytest.mark.parametrize(
    "name",
    [
        "partitions",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("cloud_calls", "cloud_requests", "admin", "saving")
        ),
    ],
)
def test_it_runs(name, tmp_path):
    assert_sound(run(name, tmp_path))


@pytest.mark.parametrize("name", ["storage_calls", "cache_protocol"])
def test_it_runs_as_a_fork(name, tmp_path):
    """Where the libraries are there already: to import them costs more than the rest."""
    program, file = words(name, tmp_path)
    script = f"import runpy, sys; sys.path.insert(0, {str(FOLDER)!r}); sys.argv = sys.argv[1:]; "
    script += "runpy.run_path(sys.argv[0], run_name='__main__')"
    done = fork_server.run(["-c", script, *program], environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert_sound(json.loads(file.read_text()))


def assert_sound(ratios):
    assert ratios
    assert all(low <= median <= high for median, low, high in ratios.values())


@pytest.mark.exhaustive
def test_the_log_is_watched(tmp_path):
    program = [sys.executable, FOLDER / "wal.py", *TINY["wal"].split()]
    done = subprocess.run(program, env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cap 128 MiB" in done.stdout


def run(name, folder):
    """The ratios that it writes."""
    program, file = words(name, folder)
    program = [sys.executable, *program]
    done = subprocess.run(program, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


def words(name, folder):
    """The program with its arguments, and the file that it writes."""
    file = folder / "ratios.json"
    return [FOLDER / f"{name}.py", *TINY[name].split(), "--json", file], file


def environment(folder):
    """Nothing is kept, or found, outside the folder."""
    return os.environ | {"TMPDIR": str(folder), "BENCH_CACHE": str(folder / "cache")}
