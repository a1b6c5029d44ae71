#!/usr/bin/env bash
# mem0ai 2.2.1, Python 3.11: beside the memories that the model draws from a conversation, `Memory.add` keeps up to ten
# of each user's messages as they were said, and sends them to the model with the next `add`. `delete` and `delete_all`
# leave them; only `reset` deletes them, with all that is of others. No call lists them. So after `delete_all` for a
# user `get_all` is empty, and the next thing they say goes to the model with what they had deleted; if they never say
# anything again, it stays in the file. Of more than ten messages in one call, the first ten are kept, not the last. A
# good engineer would expect `delete_all(user_id=...)` to leave nothing that this user has said.
#
# Output seen (each user has said remarks 1 to 12):
#   nothing deleted: memories 1, messages 10; the model is sent with the next one: 1 to 10
#   delete_all: memories 0, messages 10; the model is sent with the next one: 1 to 10
#   each memory deleted: memories 0, messages 10; the model is sent with the next one: 1 to 10
#   reset: memories 0, messages 0; the model is sent with the next one: none
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mem0ai==2.2.1

cd "$folder"
export MEM0_TELEMETRY=False MEM0_DIR="$folder/mem0"
timeout 120 venv/bin/python - > output 2> errors <<'PYTHON' || { cat errors; exit 1; }
import json
import re
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mem0 import Memory

prompts = []


class Model(BaseHTTPRequestHandler):
    """Answers as OpenAI does: each text has the same embedding, and each prompt yields the same fact."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
            data = [{"object": "embedding", "index": n, "embedding": [1.0, 0.0]} for n in range(len(texts))]
            answer = {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
        else:
            prompts.append(asked["messages"][-1]["content"])
            fact = json.dumps({"memory": [{"text": "Likes tea"}]})
            message = {"role": "assistant", "content": fact}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = {"api_key": "none", "openai_base_url": f"http://127.0.0.1:{server.server_port}/v1"}
memory = Memory.from_config(
    {
        "llm": {"provider": "openai", "config": model},
        "embedder": {"provider": "openai", "config": {**model, "embedding_dims": 2}},
        "vector_store": {"provider": "qdrant", "config": {"path": "vectors", "embedding_model_dims": 2}},
        "history_db_path": "history.sqlite3",
    }
)


def said(prompt):
    """The numbered remarks in a prompt, by their numbers."""
    found = sorted({int(number) for number in re.findall(r"remark (\d+)\.", prompt)})
    return f"{found[0]} to {found[-1]}" if found else "none"


def tell(what, user):
    left = len(memory.get_all(filters={"user_id": user})["results"])
    with sqlite3.connect("history.sqlite3") as database:
        scope = f"user_id={user}"
        [kept] = database.execute("SELECT count(*) FROM messages WHERE session_scope = ?", [scope]).fetchone()
    memory.add("Good morning.", user_id=user)
    print(f"{what}: memories {left}, messages {kept}; the model is sent with the next one: {said(prompts[-1])}")


remarks = [{"role": "user", "content": f"This is remark {number}."} for number in range(1, 13)]
for user in ("ann", "ben", "cy", "dee"):
    memory.add(remarks, user_id=user)
tell("nothing deleted", "ann")
memory.delete_all(user_id="ben")
tell("delete_all", "ben")
for found in memory.get_all(filters={"user_id": "cy"})["results"]:
    memory.delete(found["id"])
tell("each memory deleted", "cy")
memory.reset()
tell("reset", "dee")
PYTHON

cat output
diff output - <<'EXPECTED'
nothing deleted: memories 1, messages 10; the model is sent with the next one: 1 to 10
delete_all: memories 0, messages 10; the model is sent with the next one: 1 to 10
each memory deleted: memories 0, messages 10; the model is sent with the next one: 1 to 10
reset: memories 0, messages 0; the model is sent with the next one: none
EXPECTED
