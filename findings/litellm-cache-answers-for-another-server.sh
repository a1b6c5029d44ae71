#!/usr/bin/env bash
# litellm 1.110.2, Python 3.11: the key of a cached answer is made of the model, the messages and OpenAI's parameters.
# `api_base`, `organization`, `extra_headers`, `extra_body` and what only some servers know (`guided_choice`,
# `repetition_penalty`) are sent, but are not in the key. So with a cache a question to one server is answered with what
# another server said, if both call their model the same; what a header chooses, such as a tenant behind a gateway, gets
# what another was answered; and an answer that was to be one of two words is free text. Nothing is raised or logged.
# `enable_caching_on_provider_specific_optional_params`, which is off, takes all of these into the key but `api_base`.
# A good engineer would expect a request that is sent with something else in it to be another request.
# (A hit imports fastapi, orjson and soundfile, which litellm alone does not install.)
#
# Output seen (each question is asked twice, the second time with the parameter):
#   by default: new answers for temperature
#   by default: old answers for api_base, organization, extra_headers, extra_body, guided_choice, repetition_penalty
#   with the switch: new answers for temperature, organization, extra_headers, extra_body, guided_choice,
#     repetition_penalty
#   with the switch: old answers for api_base
#   the second server is asked, and the answer says: "I am server 1."
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.110.2 openai==3.57.0 \
  fastapi==0.165.0 orjson==3.13.0 soundfile==0.14.0

cd "$folder"
LITELLM_LOCAL_MODEL_COST_MAP=True timeout 100 venv/bin/python - > output 2> errors <<'PYTHON' || { cat errors; exit 1; }
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import litellm
from litellm.caching.caching import Cache


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        message = {"role": "assistant", "content": self.server.says}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        body = json.dumps(answer | {"usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


servers, addresses = [], []
for number in (1, 2):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.asked, server.says = 0, f"I am server {number}."
    threading.Thread(target=server.serve_forever, daemon=True).start()
    servers.append(server)
    addresses.append(f"http://127.0.0.1:{server.server_port}/v1")

PARAMETERS = {
    "temperature": 0.5,
    "api_base": addresses[1],
    "organization": "second",
    "extra_headers": {"X-Tenant": "second"},
    "extra_body": {"top_k": 1},
    "guided_choice": ["yes", "no"],
    "repetition_penalty": 1.2,
}


def ask(question, **parameters):
    options = {"api_base": addresses[0], "api_key": "none", "caching": True} | parameters
    answer = litellm.completion(model="openai/m", messages=[{"role": "user", "content": question}], **options)
    return answer.choices[0].message.content


def show(when):
    answers = {"new": [], "old": []}
    for name, value in PARAMETERS.items():
        ask(f"{when}, {name}")
        before = sum(server.asked for server in servers)
        ask(f"{when}, {name}", **{name: value})
        asked = sum(server.asked for server in servers) > before
        answers["new" if asked else "old"].append(name)
    for kind, names in answers.items():
        print(f"{when}: {kind} answers for {', '.join(names)}")


litellm.cache = Cache(type="local")
show("by default")
litellm.enable_caching_on_provider_specific_optional_params = True
show("with the switch")
ask("Who are you?")
print(f'the second server is asked, and the answer says: "{ask("Who are you?", api_base=addresses[1])}"')
PYTHON

cat output
diff output - <<'EXPECTED'
by default: new answers for temperature
by default: old answers for api_base, organization, extra_headers, extra_body, guided_choice, repetition_penalty
with the switch: new answers for temperature, organization, extra_headers, extra_body, guided_choice, repetition_penalty
with the switch: old answers for api_base
the second server is asked, and the answer says: "I am server 1."
EXPECTED
