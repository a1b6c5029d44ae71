#!/usr/bin/env bash
# openai 3.57.0 with Traceloop's opentelemetry-instrumentation-openai 0.62.4 or openinference-instrumentation-openai
# 0.1.66, Python 3.11: an answer of the Responses API that reaches `max_output_tokens` ends with the status
# `incomplete`; its text is shown and its tokens are paid for. Traceloop makes no span of it unless it is streamed.
# OpenInference makes one, which lacks answer and tokens if it is streamed. Both count only `completed` as an end,
# and nothing is logged. A good engineer would expect of a shorter answer what is told of a whole one, as both do
# with chat completions (there `finish_reason` is `length`).
#
# Output seen:
#   traceloop, completed: answer and tokens; streamed: answer and tokens
#   traceloop, incomplete: no span; streamed: answer and tokens
#   openinference, completed: answer and tokens; streamed: answer and tokens
#   openinference, incomplete: answer and tokens; streamed: question alone
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0 opentelemetry-sdk==1.45.2 \
  opentelemetry-instrumentation-openai==0.62.4 openinference-instrumentation-openai==0.1.66

cd "$folder"
cat > example.py <<'PYTHON'
import itertools
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

name = sys.argv[1]
numbers = itertools.count(1)
status = "completed"
TOKENS = 4711


def response(number, status):
    text = {"type": "output_text", "text": "A tree.", "annotations": []}
    message = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": status}
    is_over = status != "in_progress"
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": status,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "output": [message | {"content": [text]}] if is_over else [],
        "usage": {
            "input_tokens": TOKENS,
            "output_tokens": 3,
            "total_tokens": TOKENS + 3,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        if is_over
        else None,
    }


def events(number):
    place = {"item_id": f"msg_{number}", "output_index": 0, "content_index": 0}
    yield {"type": "response.created", "response": response(number, "in_progress")}
    yield {"type": "response.output_text.delta", "delta": "A tree.", "logprobs": [], **place}
    yield {"type": f"response.{status}", "response": response(number, status)}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number, kind = next(numbers), "application/json"
        body = json.dumps(response(number, status))
        if request.get("stream"):
            kind = "text/event-stream"
            body = "".join(
                f"event: {event['type']}\ndata: {json.dumps(event | {'sequence_number': place})}\n\n"
                for place, event in enumerate(events(number))
            )
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
if name == "traceloop":
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor
else:
    from openinference.instrumentation.openai import OpenAIInstrumentor
OpenAIInstrumentor().instrument()
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")


def told():
    """What the spans have, of which there is one at most."""
    seen = [dict(span.attributes) for span in spans.get_finished_spans()]
    spans.clear()
    if not seen:
        return "no span"
    (attributes,) = seen
    texts = str(attributes)
    if "What is a heap?" not in texts:
        return "no question"
    parts = ["answer"] * ("A tree." in texts) + ["tokens"] * (TOKENS in attributes.values())
    return " and ".join(parts) or "question alone"


for status in ("completed", "incomplete"):
    asked = {"model": "m", "input": "What is a heap?", "max_output_tokens": 20}
    assert client.responses.create(**asked).output_text == "A tree."
    whole = told()
    assert [event.type for event in client.responses.create(**asked, stream=True)][1:2]
    print(f"{name}, {status}: {whole}; streamed: {told()}")
PYTHON

{
  timeout 120 venv/bin/python example.py traceloop
  timeout 120 venv/bin/python example.py openinference
} > output 2> errors || { cat errors; exit 1; }

cat output
diff output - <<'EXPECTED'
traceloop, completed: answer and tokens; streamed: answer and tokens
traceloop, incomplete: no span; streamed: answer and tokens
openinference, completed: answer and tokens; streamed: answer and tokens
openinference, incomplete: answer and tokens; streamed: question alone
EXPECTED
