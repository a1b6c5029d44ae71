"""Runs real tools against the live application, and compares what it then holds with the table.

    python -m tests.tools [RUN ...]            the runs of `runs.py`: all, or those that are named
    python -m tests.tools --record [RUN ...]   keep what the tools send in tests/chat/ingest/bodies
    python -m tests.tools --pages [PAGE ...]   the examples of docs/how-to/connect

Needs the package index, for the tools' own virtual environments; so no other test does this.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.chat.processes import ROOT
from tests.tools import programs
from tests.tools.live import Application, differences, serving
from tests.tools.pages import ENVIRONMENTS, try_page
from tests.tools.runs import RUNS

BODIES = ROOT / "tests/chat/ingest/bodies"


def record(name: str, model_server: str) -> list[str]:
    """Keep the bodies of a run; returns what is wrong."""
    folder = BODIES / name
    shutil.rmtree(folder, ignore_errors=True)
    private = (str(programs.ENVIRONMENTS), str(ROOT), tempfile.gettempdir())
    with programs.loopback_server("recorder", str(folder), *private) as recorder:
        done = programs.run_script(
            RUNS[name],
            MODEL_SERVER=model_server,
            STORE=recorder,
            RECORDER=recorder,
            STORE_KEY="key",
            KEY="key",
            TOOL_USER="ada",
        )
    if RUNS[name].source == "llm":
        (folder / "logs.json").write_text(done.stdout)
    return [done.stderr] if done.returncode else []


def compare(name: str, model_server: str, application: Application) -> list[str]:
    """Run a tool against the application; returns the differences to the table."""
    run, user_id = RUNS[name], f"ada-{name}"
    key = application.key_for(user_id) if run.is_bound else application.key
    before = application.left_out(run.source)
    done = programs.run_script(
        run,
        MODEL_SERVER=model_server,
        STORE=application.address,
        STORE_KEY=key,
        KEY=key,
        TOOL_USER=user_id,
    )
    if done.returncode:
        return [done.stderr]
    if run.source == "llm":
        application.import_llm(done.stdout, user_id)
        before = None
    return differences(name, application, user_id, before)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools")
    parser.add_argument("names", nargs="*", metavar="RUN", help=", ".join(RUNS))
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--record", action="store_true", help="keep what the tools send")
    way.add_argument("--pages", action="store_true", help="run the examples of the documentation")
    arguments = parser.parse_args()
    known = ENVIRONMENTS if arguments.pages else RUNS
    unknown = set(arguments.names) - set(known)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    names = arguments.names or list(known)
    with programs.loopback_server("model_server") as model_server:
        if arguments.record:
            return report(names, lambda name: record(name, model_server))
        one = try_page if arguments.pages else compare
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as application:
            return report(names, lambda name: one(name, model_server, application))


def report(names: list[str], one: Callable[[str], list[str]]) -> int:
    """Print what is wrong with each; returns the exit status."""
    failed = []
    for name in names:
        started = time.monotonic()
        wrong = one(name)
        outcome = "differs" if wrong else "as expected"
        print(f"{name}: {outcome}, {time.monotonic() - started:.0f} s", flush=True)
        for line in wrong:
            print(f"    {line}", flush=True)
        failed += [name] if wrong else []
    print(f"\nDiffers: {', '.join(failed)}" if failed else "\nAll as expected.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
