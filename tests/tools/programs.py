"""The programs of a run: virtual environments, the model server, the recorder, a tool's script."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chat.processes import ROOT, free_port
from tests.servers import listens, wait_for
from tests.tools.runs import Run

HERE = Path(__file__).parent
ENVIRONMENTS = Path(os.environ.get("TOOLS_ENVIRONMENTS", ROOT / ".venv" / "tools"))
UV = Path(sys.executable).parent / "uv"
SCRIPT_SECONDS = 900
"""LiteLLM's proxy takes a minute to start; a machine that runs much else needs more."""


def environment_of(run: Run) -> Path:
    """The Python of a run's virtual environment, which is made unless it is up to date."""
    folder = ENVIRONMENTS / run.requirements
    python, wanted = folder / "bin/python", HERE / "requirements" / f"{run.requirements}.txt"
    made = folder / "made-from"
    if not (made.exists() and made.read_text() == wanted.read_text()):
        subprocess.run([UV, "venv", "--quiet", "--clear", folder], check=True)
        install: list[str | Path] = [
            UV,
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "-r",
            wanted,
        ]
        subprocess.run(install, check=True)
        made.write_text(wanted.read_text())
    return python


@contextmanager
def loopback_server(module: str, *arguments: str) -> Iterator[str]:
    """Run a server of this folder; gives its address."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", f"tests.tools.{module}", str(port), *arguments], cwd=ROOT
    )
    try:
        wait_for(lambda: listens(port) or server.poll() is not None, f"the start of {module}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def run_script(run: Run, **values: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a tool in its own environment, and nothing of this one but PATH."""
    places = {name.lower(): value for name, value in values.items()}
    settings = {name: text.format(**places) for name, text in run.settings.items()}
    cases = {"CASES": ",".join(run.cases)} if run.cases else {}
    basics = {
        "PATH": os.environ["PATH"],
        "HOME": str(ENVIRONMENTS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PROXY_PORT": str(free_port()),
    }
    return subprocess.run(
        [environment_of(run), HERE / "scripts" / f"{run.script}.py"],
        env=basics | cases | values | settings,
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )
