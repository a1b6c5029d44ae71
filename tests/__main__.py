"""Every check, then every test: what `make test` runs. Arguments are passed on to pytest."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTEST = ["pytest", "--numprocesses", os.environ.get("TEST_PROCESSES", "auto")]

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports"],
    "hadolint": ["hadolint", "Dockerfile"],
    "system check": ["python", "manage.py", "check", "--fail-level", "WARNING"],
    "migrations": ["python", "manage.py", "makemigrations", "--check", "--dry-run"],
    "pytest": [*PYTEST, *sys.argv[1:]],
}


def main() -> int:
    """Run all checks, the slow ones last; say what failed at the end."""
    failed = []
    for name, (program, *arguments) in CHECKS.items():
        started = time.monotonic()
        print(f"== {name}", flush=True)
        result = subprocess.run([BIN / program, *arguments], cwd=ROOT, check=False)
        print(f"== {name}: {time.monotonic() - started:.1f} s", flush=True)
        if result.returncode != 0:
            failed.append(name)
    print(f"\nFAILED: {', '.join(failed)}" if failed else "\nEvery check and test passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
