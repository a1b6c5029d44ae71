"""The mutants fit the code as it is, and the gate tells one that survives from one that is caught.

Whether each is caught is told by `make mutants`.
"""

import re
import subprocess
from pathlib import Path

import pytest

from tests.mutants.all import MUTANTS
from tests.mutants.mutant import Copy, Mutant, Verdict, files_of, verdict

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_removes_is_there_once(mutant):
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    compile(mutant.changed(source), mutant.file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_of_a_mutant_exist(mutant):
    for test in mutant.tests:
        file, *names = test.split("::")
        assert (ROOT / file).is_file()
        # A test may come from a class beside it.
        beside = (ROOT / file).parent.glob("*.py")
        source = "".join(path.read_text(encoding="utf-8") for path in beside)
        for name in names:
            assert re.search(rf"(def|class) {re.escape(name.partition('[')[0])}\b", source), test


def test_names_are_told_apart():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 31


def test_a_mutant_whose_old_text_is_gone_or_there_twice_is_refused():
    mutant = Mutant("X", "nothing", "file.py", "old", "new", [])
    for source, times in (("gone", 0), ("old, old", 2)):
        with pytest.raises(ValueError, match=f"X: file.py has its old text {times} times"):
            mutant.changed(source)


@pytest.mark.parametrize(
    ("status", "output", "found"),
    [
        (0, "3 passed in 1.00s", Verdict.SURVIVED),
        (1, "F\n1 failed, 2 passed in 1.00s", Verdict.CAUGHT),
        (1, "E\n1 error in 1.00s", Verdict.NOT_RUN),  # a fixture cannot be made
        (1, "ImportError: no plugin", Verdict.NOT_RUN),  # Python ends with 1 as well
        (2, "1 error in 1.00s", Verdict.NOT_RUN),  # the mutant cannot be imported
        (4, "", Verdict.NOT_RUN),  # no such test
        (5, "1 deselected in 1.00s", Verdict.NOT_RUN),  # no test at all
        (None, "", Verdict.TOO_LONG),
    ],
)
def test_only_a_failed_test_catches_a_mutant(status, output, found):
    assert verdict(status, output) == found


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("a + b", "a - b", Verdict.CAUGHT),
        ("a + b", "b + a", Verdict.SURVIVED),
        ("a + b", "a +", Verdict.NOT_RUN),
        ("a * b", "a", Verdict.NOT_THERE),
    ],
)
def test_a_mutant_is_tried_in_a_copy(tmp_path, monkeypatch, old, new, found):
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")  # there is none
    root = tmp_path / "root"
    root.mkdir()
    (root / "add.py").write_text("def add(a, b):\n    return a + b\n")
    (root / "test_add.py").write_text("from add import add\ndef test(): assert add(1, 2) == 3\n")
    (root / "pytest.ini").write_text("[pytest]\n")
    subprocess.run(["git", "init", "--quiet", root], check=True)
    copy = Copy(root, tmp_path / "copy", files_of(root))
    mutant = Mutant("X", "adding", "add.py", old, new, ["test_add.py"])
    assert copy.try_out(mutant)[0] == found
    assert copy.run_whole(mutant)[0] == 0, "the copy is as it was"
    assert "a + b" in (root / "add.py").read_text()
