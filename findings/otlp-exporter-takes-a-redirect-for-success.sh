#!/usr/bin/env bash
# opentelemetry-exporter-otlp-proto-http 1.45.2, Python 3.11: an answer of 301, 307 or 308 counts as
# success. The exporter does not follow it, and logs nothing, so the spans are lost without a trace.
# Servers answer like that if a slash is missing, or to send clients to https. A good engineer would
# expect that a redirect is followed or reported; 404 is reported.
#
# Output seen:
#   301: SUCCESS, requests 1, logged 0
#   307: SUCCESS, requests 1, logged 0
#   308: SUCCESS, requests 1, logged 0
#   404: FAILURE, requests 1, logged 1
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2

cd "$folder"
timeout 120 venv/bin/python - > output <<'PYTHON'
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider

requests, records = [], []


class Handler(BaseHTTPRequestHandler):
    status = 200

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        requests.append(self.path)
        self.send_response(self.status)
        self.send_header("Location", self.path + "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Records(logging.Handler):
    def emit(self, record):
        records.append(record)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
logging.getLogger("opentelemetry").addHandler(Records())
logging.getLogger("opentelemetry").propagate = False
span = TracerProvider().get_tracer("example").start_span("chat")
span.end()
for Handler.status in (301, 307, 308, 404):
    requests.clear()
    records.clear()
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{server.server_port}/v1/traces")
    result = exporter.export([span])
    print(f"{Handler.status}: {result.name}, requests {len(requests)}, logged {len(records)}")
PYTHON

cat output
diff output - <<'EXPECTED'
301: SUCCESS, requests 1, logged 0
307: SUCCESS, requests 1, logged 0
308: SUCCESS, requests 1, logged 0
404: FAILURE, requests 1, logged 1
EXPECTED
