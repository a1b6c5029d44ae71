#!/usr/bin/env bash
# litellm 1.110.2, Python 3.11: the callback `generic_api` tries a batch again after a 503 if `max_retries`
# is set, but never after a 429, whatever its Retry-After says: the whole batch is dropped, up to 512
# calls. A good engineer would expect 429 to be the status that is tried again.
#
# Output seen:
#   503 once: requests 2, delivered 1
#   429 once: requests 1, delivered 0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.110.2

cd "$folder"
LITELLM_LOCAL_MODEL_COST_MAP=True timeout 240 venv/bin/python - > output 2> errors <<'PYTHON' || { cat errors; exit 1; }
import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from litellm.integrations.generic_api.generic_api_callback import GenericAPILogger

answers, requests, delivered = [], [], []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        requests.append(body)
        status = answers.pop(0) if answers else 200
        if status == 200:
            delivered.append(body)
        self.send_response(status)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()


async def main():
    for status in (503, 429):
        answers[:] = [status]
        requests.clear()
        delivered.clear()
        logger = GenericAPILogger(
            endpoint=f"http://127.0.0.1:{server.server_port}/", max_retries=2, retry_delay=0.1
        )
        event = {"standard_logging_object": {"id": "1"}}
        await logger.async_log_success_event(event, None, None, None)
        await logger.flush_queue()
        await logger.flush_queue()
        print(f"{status} once: requests {len(requests)}, delivered {len(delivered)}")


asyncio.run(main())
PYTHON

cat output
diff output - <<'EXPECTED'
503 once: requests 2, delivered 1
429 once: requests 1, delivered 0
EXPECTED
