#!/usr/bin/env bash
# opentelemetry-instrumentation-genai-openai 1.3b0 with openai 3.57.0, Python 3.11: the switch that the
# guides of earlier releases name, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true, captures
# nothing, as if it were unset. Only a warning says so. SPAN_ONLY captures. A good engineer would
# expect `true` to go on working, or to end the start.
#
# Output seen:
#   unset: no text
#   true: no text
#   SPAN_ONLY: text
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0 \
  opentelemetry-instrumentation-genai-openai==1.3b0 opentelemetry-sdk==1.45.2

cd "$folder"
cat > example.py <<'PYTHON'
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
from opentelemetry import trace
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

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


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
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
OpenAIInstrumentor().instrument()
client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
client.chat.completions.create(model="m", messages=[{"role": "user", "content": "A heap?"}])
(span,) = spans.get_finished_spans()
setting = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "unset")
captured = any("A heap?" in str(value) for value in span.attributes.values())
print(f"{setting}: {'text' if captured else 'no text'}")
PYTHON

{
  timeout 120 venv/bin/python example.py
  for setting in true SPAN_ONLY; do
    OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=$setting timeout 120 venv/bin/python example.py
  done
} > output 2> errors || { cat errors; exit 1; }

cat output
diff output - <<'EXPECTED'
unset: no text
true: no text
SPAN_ONLY: text
EXPECTED
