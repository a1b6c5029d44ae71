"""The checks and the tests, in the sizes of the Makefile's targets.

    python -m tests lint     every check
    python -m tests          every check, and beside them every test
    python -m tests one X    the tests of one file, without checks and extra processes
    python -m tests browser  every page in Chromium, on each backend
    python -m tests all      every check, and every test with all switches turned up; coverage

Further arguments are passed on to pytest.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.switches import SWITCHES

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "mypy of the client": ["mypy", "--config-file", "clients/python/pyproject.toml"],
    "import-linter": ["lint-imports"],
    "hadolint": ["hadolint", "Dockerfile"],
    "system check": ["python", "manage.py", "check", "--fail-level", "WARNING"],
    "migrations": ["python", "manage.py", "makemigrations", "--check", "--dry-run"],
}
IN_PROCESSES = ["--numprocesses", os.environ.get("TEST_PROCESSES", "auto"), "--dist", "worksteal"]
SIZES = {
    "lint": CHECKS,
    "one": {"pytest": ["pytest", "-p", "no:xdist"]},
    "browser": {"pytest": ["pytest", "-p", "no:xdist", "-m", "", "-rs", "tests/browser"]},
    "test": CHECKS | {"pytest": ["pytest", *IN_PROCESSES]},
    "all": CHECKS
    | {
        "pytest": ["pytest", *IN_PROCESSES, "-m", "", "--cov", "--cov-report=term-missing"],
    },
}


def environment(size: str) -> dict[str, str]:
    """What the checks and tests, and all that these start, find in their environment."""
    values = dict(os.environ)
    if values.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Tests start Python some hundred times, and without bytecode it takes thrice as long.
        values["PYTHONPYCACHEPREFIX"] = str(Path(sys.prefix, "bytecode"))
    if size == "all":
        values = {switch.name: switch.all for switch in SWITCHES} | values
    return values


def checked(step: tuple[str, list[str]], size: str) -> bool:
    """Run a check to its end and print what it says; returns whether it passed."""
    name, command = step
    started = time.monotonic()
    result = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=ROOT,
        env=environment(size),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(f"== {name}: {time.monotonic() - started:.1f} s\n{result.stdout}", end="", flush=True)
    return result.returncode == 0


def tested(command: list[str], size: str) -> bool:
    """Run the tests, which print by themselves; returns whether they passed."""
    started = time.monotonic()
    result = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, env=environment(size), check=False
    )
    print(f"== pytest: {time.monotonic() - started:.1f} s", flush=True)
    return result.returncode == 0


def main(arguments: list[str]) -> int:
    """Run one size, the checks beside the tests; say what failed at the end."""
    size = arguments.pop(0) if arguments and arguments[0] in SIZES else "test"
    checks = dict(SIZES[size])
    tests = checks.pop("pytest", None)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        passed = threads.map(lambda step: checked(step, size), checks.items())
        failed = ["pytest"] if tests and not tested([*tests, *arguments], size) else []
        failed += [name for name, is_good in zip(checks, passed, strict=True) if not is_good]
    print(f"\nFAILED: {', '.join(failed)}" if failed else "\nAll passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
