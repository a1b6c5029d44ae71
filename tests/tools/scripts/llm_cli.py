"""simonw/llm: asks with its command, and prints what `llm logs --json -n 0` prints."""

import base64
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import asking
from asking import Conversation

from tests.tools import conversations as c

LLM = Path(sys.executable).parent / "llm"
MODELS = f"""
- model_id: {c.MODEL}
  model_name: {c.MODEL}
  api_base: {asking.MODEL_SERVER}/v1
  supports_tools: true
  vision: true
"""
FUNCTION = f'def {c.TOOL}(city: str) -> str:\n    "How warm it is in a city."\n    return "21"\n'


def llm(*arguments: str) -> str:
    environment = os.environ | {"LLM_USER_PATH": str(folder)}
    run = subprocess.run(
        [LLM, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if run.returncode:
        print(f"llm {arguments[0]}: {run.stderr.strip()}", file=sys.stderr)
    return run.stdout


def ask(case: str, conversation: Conversation) -> None:
    if conversation.responses or conversation.second_answer or conversation.read:
        return
    options = ["--model", c.MODEL, "--key", "none"]
    if not conversation.streamed:
        options.append("--no-stream")
    if conversation.calls_tool:
        options += ["--functions", FUNCTION]
    if conversation.has_image:
        options += ["--attachment", str(folder / "pixel.png")]
    if conversation.history:  # the question before is that of another case, so that it is answered
        options.append("--continue")
    else:
        options += ["--system", c.SYSTEM]
    llm("prompt", conversation.question, *options)


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    (folder / "extra-openai-models.yaml").write_text(MODELS)
    (folder / "pixel.png").write_bytes(base64.b64decode(c.PIXEL))
    asking.every_case(ask)
    print(llm("logs", "list", "--json", "-n", "0"))
