"""A server on loopback that keeps what is sent to it, and answers as the application does.

    python -m tests.tools.recorder PORT FOLDER [PRIVATE-FOLDER ...]

`PUT /case/NAME` says which case comes next; what is posted from then on goes to FOLDER/NAME.ENDING
just as it was sent (traces.pb, logs.pb, json, ...), further requests to NAME.2.ENDING and so on.
Folders of this machine, which some tools send in tracebacks, are crossed out.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ENDINGS = {"application/x-protobuf": "pb", "application/json": "json"}
COMPRESSED = {"identity": "", "gzip": ".gz", "deflate": ".deflate"}


class Handler(BaseHTTPRequestHandler):
    """Keeps bodies; keys and other headers are not kept."""

    protocol_version = "HTTP/1.1"
    folder = Path()
    private: list[bytes] = []
    case = "none"

    def do_PUT(self) -> None:
        Handler.case = self.path.removeprefix("/case/")
        self.answer(204, b"", "text/plain")

    def do_GET(self) -> None:
        self.answer(200, b"{}", "application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for folder in self.private:
            body = body.replace(folder, b"/" + b"x" * (len(folder) - 1))  # protobuf counts bytes
        media_type = self.headers.get_content_type()
        compressed = COMPRESSED[self.headers.get("Content-Encoding", "identity")]
        ending = ENDINGS[media_type] + compressed
        if not self.path.endswith(("/traces", "/logs", "/litellm/")):
            self.answer(404, b"{}", "application/json")
            return
        if not self.path.endswith("/"):
            ending = f"{self.path.rpartition('/')[2]}.{ending}"
        name, number = f"{self.case}.{ending}", 1
        while (self.folder / name).exists():
            number += 1
            name = f"{self.case}.{number}.{ending}"
        (self.folder / name).write_bytes(body)
        print(json.dumps({"file": name, "path": self.path, "type": media_type}), flush=True)
        self.answer(200, b"{}" if media_type == "application/json" else b"", media_type)

    def answer(self, status: int, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing but the lines above."""


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[2])
    Handler.private = [folder.encode() for folder in sys.argv[3:]]
    Handler.folder.mkdir(parents=True, exist_ok=True)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
