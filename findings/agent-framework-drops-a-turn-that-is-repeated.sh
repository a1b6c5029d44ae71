#!/usr/bin/env bash
# agent-framework-core 1.23.0 with agent-framework-openai 1.17.0, and with agent-framework-redis 1.0.0b261022 on
# fakeredis 2.40.0, Python 3.11: before a history stores a turn, it leaves out what its end has already, by role and
# text, for the messages that the client of OpenAI makes have no id. So if a user asks for the same as just before
# ("turn it up", "next", "roll again") and the answer is the same too, the turn is not stored. The model is sent that it
# was asked once, and who counts or reviews by the history finds one turn of three. InMemoryHistoryProvider,
# FileHistoryProvider and RedisHistoryProvider do so. Nothing is raised or logged. If answers differ, all is kept.
# A good engineer would expect each turn that took place to be in the history.
#
# Output seen (the same request three times, answered "Done." or "Level 1.", "Level 2.", "Level 3."):
#   InMemoryHistoryProvider: answers differ: requests stored 3, sent with the fourth 4
#   InMemoryHistoryProvider: answers are the same: requests stored 1, sent with the fourth 2
#   FileHistoryProvider: answers differ: requests stored 3, sent with the fourth 4
#   FileHistoryProvider: answers are the same: requests stored 1, sent with the fourth 2
#   RedisHistoryProvider: answers differ: requests stored 3, sent with the fourth 4
#   RedisHistoryProvider: answers are the same: requests stored 1, sent with the fourth 2
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check agent-framework-core==1.23.0 \
  agent-framework-openai==1.17.0 agent-framework-redis==1.0.0b261022 openai==3.57.0 fakeredis==2.40.0

cd "$folder"
timeout 100 venv/bin/python -W ignore - > output <<'PYTHON'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fakeredis
from agent_framework import Agent, FileHistoryProvider, InMemoryHistoryProvider
from agent_framework.openai import OpenAIChatCompletionClient
from agent_framework.redis import RedisHistoryProvider

REQUEST = "Turn up the heat."
answers, sent = [], []


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"])
        message = {"role": "assistant", "content": answers.pop(0)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": str(len(sent)), "object": "chat.completion", "created": 1, "model": "m"}
        body = json.dumps(answer | {"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/v1"


async def talk(provider, what, given):
    client = OpenAIChatCompletionClient(model="m", api_key="none", base_url=address)
    agent = Agent(client=client, name="home", context_providers=[provider])
    session = agent.create_session()
    answers[:] = given
    for _ in range(3):
        await agent.run(REQUEST, session=session)
    state = session.state.get(provider.source_id)
    kept = await provider.get_messages(session.session_id, state=state)
    await agent.run(REQUEST, session=session)
    stored = sum(message.text == REQUEST for message in kept)
    asked = sum(message["role"] == "user" for message in sent[-1])
    print(f"{type(provider).__name__}: {what}: requests stored {stored}, sent with the fourth {asked}")


async def main():
    redis = fakeredis.FakeAsyncRedis(decode_responses=True)
    for provider in (
        InMemoryHistoryProvider(),
        FileHistoryProvider("histories"),
        RedisHistoryProvider(redis_client=redis, application_id="home"),
    ):
        await talk(provider, "answers differ", [f"Level {number}." for number in range(1, 5)])
        await talk(provider, "answers are the same", ["Done."] * 4)


asyncio.run(main())
PYTHON

cat output
diff output - <<'EXPECTED'
InMemoryHistoryProvider: answers differ: requests stored 3, sent with the fourth 4
InMemoryHistoryProvider: answers are the same: requests stored 1, sent with the fourth 2
FileHistoryProvider: answers differ: requests stored 3, sent with the fourth 4
FileHistoryProvider: answers are the same: requests stored 1, sent with the fourth 2
RedisHistoryProvider: answers differ: requests stored 3, sent with the fourth 4
RedisHistoryProvider: answers are the same: requests stored 1, sent with the fourth 2
EXPECTED
