"""LiteLLM's proxy, configured as the guide says; the openai client talks to it."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import asking
import openai

PORT = os.environ["PROXY_PORT"]
MASTER_KEY = f"sk-{secrets.token_hex(32)}"  # a weak one is refused
CONFIGURATION = f"""
model_list:
  - model_name: m
    litellm_params:
      model: openai/m
      api_base: {asking.MODEL_SERVER}/v1
      api_key: none
litellm_settings:
  callbacks: ["chat_store"]
callback_settings:
  chat_store:
    callback_type: generic_api
    endpoint: {os.environ["STORE"]}/api/v1/ingest/litellm/
    headers:
      Authorization: Api-Key {os.environ["STORE_KEY"]}
    max_retries: 5
    retry_delay: 1
"""
SETTINGS = {
    "DEFAULT_FLUSH_INTERVAL_SECONDS": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MASTER_KEY": MASTER_KEY,
}


def is_up() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health/liveliness", timeout=5):
            return True
    except OSError:
        return False


with tempfile.TemporaryDirectory() as folder:
    Path(folder, "config.yaml").write_text(CONFIGURATION)
    command = [Path(sys.executable).parent / "litellm", "--config", "config.yaml"]
    command += ["--host", "127.0.0.1", "--port", PORT]
    with Path(folder, "output").open("wb") as output:
        proxy = subprocess.Popen(
            command, cwd=folder, env=os.environ | SETTINGS, stdout=output, stderr=output
        )
    try:
        for _ in range(300):
            if is_up() or proxy.poll() is not None:
                break
            time.sleep(1)
        client = openai.OpenAI(
            base_url=f"http://127.0.0.1:{PORT}/v1", api_key=MASTER_KEY, max_retries=0
        )
        asking.every_case(
            lambda case, conversation: asking.ask_openai(client, conversation, user=asking.USER),
            lambda: time.sleep(3),
        )
    finally:
        proxy.terminate()
        proxy.wait()
        print(Path(folder, "output").read_text()[-4000:])
