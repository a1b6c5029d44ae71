"""Runs the examples of docs/how-to/connect/ as they stand, each in the environment of its tool.

Of a page, the lines with `export` are the settings and each block of Python is a program. Each must
leave one more interaction of `ada`, with the answer of the model server.
"""

import os
import re
import subprocess

from tests.chat.processes import ROOT
from tests.tools import programs
from tests.tools.conversations import CASES
from tests.tools.live import Application
from tests.tools.runs import RUNS

PAGES = ROOT / "docs/how-to/connect"
ENVIRONMENTS = {
    "opentelemetry": "genai-openai-1.3b0-span",
    "traceloop": "traceloop-0.62.4",
    "openinference": "openinference-0.1.66",
    "mlflow": "mlflow-3.17.2",
    "langfuse": "langfuse-5.0.4",
    "litellm": "litellm-1.110.2",
    "openai-agents": "openai-agents-0.24.0",
}
"""Of each page with a program, the run whose virtual environment it needs."""

HERE = "http://127.0.0.1:8000"
"""The address of the store, as the pages write it."""


def try_page(name: str, model_server: str, application: Application) -> list[str]:
    """Run what a page shows; returns what is wrong."""
    page = (PAGES / f"{name}.md").read_text().replace(HERE, application.address)
    settings = dict(re.findall(r'^export (\w+)="?([^"\n]*)"?$', page, re.MULTILINE))
    values = {key: text.replace("$KEY", application.key) for key, text in settings.items()}
    places = {"OPENAI_BASE_URL": f"{model_server}/v1", "OPENAI_API_KEY": "none"}
    python = programs.environment_of(RUNS[ENVIRONMENTS[name]])
    before = len(application.held("ada"))
    said = []
    for program in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        done = subprocess.run(
            [python, "-c", program],
            env=values | places | {"PATH": os.environ["PATH"], "KEY": application.key},
            capture_output=True,
            text=True,
            timeout=programs.SCRIPT_SECONDS,
            check=False,
        )
        said.append(done.stdout + done.stderr)
    held = application.held("ada")
    answers = [one.response for one in held[: len(held) - before]]
    wanted = [CASES["answer"].answer] * len(said)
    return [] if answers == wanted else [f"stored {answers}, expected {wanted}", *said]
