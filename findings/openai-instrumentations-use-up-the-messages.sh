#!/usr/bin/env bash
# openai 3.57.0 with opentelemetry-instrumentation-genai-openai 1.3b0 or Traceloop's
# opentelemetry-instrumentation-openai 0.62.4, Python 3.11: openai takes `messages` and `tools` as any iterable, so
# `itertools.chain(history, [question])` is allowed. Both instrumentations go through them for their span (the first
# only if it captures texts), and the client then sends what is left: nothing. The span has the question, beside an
# answer to no question, and nobody is told. A good engineer would expect what only watches to change no request.
#
# Output seen:
#   none: 2 messages and 1 tool sent, no span
#   genai, no text: 2 messages and 1 tool sent, span without the question
#   genai, SPAN_ONLY: 0 messages and 0 tools sent, span with the question
#   traceloop: 0 messages and 0 tools sent, span with the question
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0 opentelemetry-sdk==1.45.2 \
  opentelemetry-instrumentation-genai-openai==1.3b0 opentelemetry-instrumentation-openai==0.62.4

cd "$folder"
cat > example.py <<'PYTHON'
import itertools
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

name, setting = sys.argv[1:3]
os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = setting
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "A tree."},
            "finish_reason": "stop",
        }
    ],
}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
sent = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
if name == "genai":
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()
elif name == "traceloop":
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()

client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
history = [{"role": "system", "content": "Be brief."}]
question = {"role": "user", "content": "What is a heap?"}
client.chat.completions.create(
    model="m", messages=itertools.chain(history, [question]), tools=iter([TOOL])
)

(request,) = sent
messages, tools = len(request["messages"]), len(request["tools"])
seen = [str(span.attributes.values()) for span in spans.get_finished_spans()]
told = "no span"
if seen:
    told = "span with the question" if "What is a heap?" in seen[0] else "span without the question"
what = f"{name}, {setting.replace('NO_CONTENT', 'no text')}" if name == "genai" else name
print(f"{what}: {messages} messages and {tools} tool{'s' * (tools != 1)} sent, {told}")
PYTHON

{
  for run in "none -" "genai NO_CONTENT" "genai SPAN_ONLY" "traceloop -"; do
    # shellcheck disable=SC2086  # two words
    timeout 120 venv/bin/python example.py $run
  done
} > output 2> errors || { cat errors; exit 1; }

cat output
diff output - <<'EXPECTED'
none: 2 messages and 1 tool sent, no span
genai, no text: 2 messages and 1 tool sent, span without the question
genai, SPAN_ONLY: 0 messages and 0 tools sent, span with the question
traceloop: 0 messages and 0 tools sent, span with the question
EXPECTED
