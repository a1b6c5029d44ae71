"""What a mutant is, and how it is tried in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

TESTS_FAILED = 1
"""The exit status of pytest if tests have failed, and of Python if pytest itself has."""

SECONDS = 3600
"""For the tests of one mutant."""

TEST_SECONDS = 1800
"""For one of them, on a machine that does much else. A test that hangs has failed."""


@dataclass(frozen=True)
class Mutant:
    """A protection that is removed: in `file`, `old` becomes `new`."""

    name: str
    removes: str
    file: str
    old: str
    new: str
    tests: Sequence[str]
    """Node ids, of which one test has to fail at least."""
    switches: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for them."""
    exhaustive: bool = False
    """Whether these are tests that are marked so."""

    def changed(self, source: str) -> str:
        """The source without the protection. Raises ValueError if it is not there once."""
        found = source.count(self.old)
        if found != 1:
            raise ValueError(f"{self.name}: {self.file} has its old text {found} times, not once.")
        return source.replace(self.old, self.new)


class Verdict(StrEnum):
    """What became of a mutant."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    NOT_THERE = "WHAT IT REMOVES IS NOT THERE ONCE"
    NOT_RUN = "ITS TESTS CANNOT BE RUN"
    TOO_LONG = "ITS TESTS TAKE TOO LONG"


def verdict(status: int | None, output: str) -> Verdict:
    """By the exit status of its tests, or None if they had to be ended, and what they printed.

    That they were slow, or that pytest itself has failed, shows nothing.
    """
    if status is None:
        return Verdict.TOO_LONG
    if status == 0:
        return Verdict.SURVIVED
    has_failed = status == TESTS_FAILED and re.search(r"^\d+ failed\b", output, re.MULTILINE)
    return Verdict.CAUGHT if has_failed else Verdict.NOT_RUN


def files_of(root: Path) -> list[str]:
    """The files of a project that git knows, or would."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in listed.split("\0") if (root / name).is_file()})


class Copy:
    """A copy of the project, in which one mutant at a time is tried."""

    def __init__(self, root: Path, folder: Path, files: Iterable[str]) -> None:
        self._folder = folder
        self._whole: dict[str, tuple[int | None, str]] = {}
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)

    def run(self, mutant: Mutant) -> tuple[int | None, str]:
        """Run the tests of a mutant up to the first that fails, on what there is now.

        Returns their exit status, and what they print.
        """
        marked = "exhaustive" if mutant.exhaustive else "not exhaustive"
        words = ["pytest", "-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", marked]
        words.append(f"--timeout={TEST_SECONDS}")
        try:
            result = subprocess.run(
                [sys.executable, "-m", *words, *mutant.tests],
                cwd=self._folder,
                env=os.environ | mutant.switches,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, f"ended after {SECONDS} s"
        return result.returncode, result.stdout + result.stderr

    def run_whole(self, mutant: Mutant) -> tuple[int | None, str]:
        """The same without a mutant, once for all that have the same tests."""
        tests = repr((mutant.tests, mutant.switches, mutant.exhaustive))
        if tests not in self._whole:
            self._whole[tests] = self.run(mutant)
        return self._whole[tests]

    def try_out(self, mutant: Mutant) -> tuple[Verdict, str]:
        """What becomes of a mutant, and what its tests have printed."""
        path = self._folder / mutant.file
        source = path.read_text(encoding="utf-8")
        try:
            changed = mutant.changed(source)
        except ValueError as error:
            return Verdict.NOT_THERE, str(error)
        self._write(path, changed)
        try:
            status, output = self.run(mutant)
        finally:
            self._write(path, source)
        return verdict(status, output), output

    def _write(self, path: Path, source: str) -> None:
        # Python knows compiled files by the second and the size of their source.
        changed_at = path.stat().st_mtime + 10
        path.write_text(source, encoding="utf-8")
        os.utime(path, (changed_at, changed_at))
