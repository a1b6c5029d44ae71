"""Remove protections, one at a time, and see whether the tests notice.

    python -m tests.mutants [NAME ...]

Ends with status 1 if a mutant survives, or its tests fail without it or cannot be run.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.all import MUTANTS
from tests.mutants.mutant import Copy, Mutant, Verdict, files_of

ROOT = Path(__file__).resolve().parents[2]
LINES = 30
"""Of the output of tests that should have run."""


def main() -> int:
    """Try the mutants with these names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as M8; default: all")
    chosen = _chosen(parser, parser.parse_args().names)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Copy(ROOT, Path(folder), files_of(ROOT))
        wrong = [mutant.name for mutant in chosen if not _is_caught(copy, mutant)]
    print(f"FAILED: {', '.join(wrong)}" if wrong else f"All {len(chosen)} mutants were caught.")
    return 1 if wrong else 0


def _chosen(parser: argparse.ArgumentParser, names: Sequence[str]) -> list[Mutant]:
    known = {mutant.name: mutant for mutant in MUTANTS}
    if unknown := set(names) - set(known):
        parser.error(f"no mutant {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [known[name] for name in names] if names else MUTANTS


def _is_caught(copy: Copy, mutant: Mutant) -> bool:
    began = time.monotonic()
    status, output = copy.run_whole(mutant)
    said = f"its tests fail without it (status {status})"
    if status == 0:
        found, output = copy.try_out(mutant)
        said = str(found)
    seconds = time.monotonic() - began
    print(f"{mutant.name:4} {said:24} {seconds:6.1f} s  {mutant.removes}", flush=True)
    if said == Verdict.CAUGHT:
        return True
    print("\n".join(output.splitlines()[-LINES:]), flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
