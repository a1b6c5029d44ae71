"""What a server gets wrong ends the benchmark; the servers here are false ones, on purpose."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

AUTHORIZATION = "Api-Key right"


class Liar:
    """A server in memory with the data set; `lie` changes an answer of it."""

    def __init__(self, data_set, lie):
        from harness.data import Row

        self.data_set = data_set
        self.lie = lie
        self.rows, self.of_user = {}, {}
        for row in map(Row._asdict, data_set.rows()):
            row["created_at"] = row["updated_at"] = row["created_at"].isoformat()
            self.rows[row["interaction_id"]] = row
            self.of_user.setdefault(row["user_id"], []).insert(0, row)

    def answer(self, method, url, body, authorization):
        if authorization != AUTHORIZATION:
            return 401, {}
        parts = urlsplit(url)
        words = parts.path.strip("/").split("/")
        if method == "GET" and words[2] == "users":
            start = int(parse_qs(parts.query).get("start", ["0"])[0])
            page = self.of_user[words[3]][start : start + 50]
            following = f"{parts.path}?limit=50&start={start + 50}"
            return 200, {"results": page, "next": following}
        if method == "GET":
            return 200, self.rows[words[3]]
        if words[-1] == "batch":
            return 200, {"results": [self.save(one) for one in body["interactions"]]}
        return 201, self.save(body)

    def save(self, body):
        row = {"interaction_id": f"new-{len(self.rows)}", **body}
        self.rows[row["interaction_id"]] = row
        return row


def the_truth(method, url, status, answer):
    return status, answer


def another_text(method, url, status, answer):
    return status, answer | {"message": "another"} if "message" in answer else answer


def a_short_page(method, url, status, answer):
    if method == "GET" and "results" in answer:
        return status, answer | {"results": answer["results"][:-1]}
    return status, answer


def the_same_page_again(method, url, status, answer):
    if "next" in answer:
        return status, answer | {"next": url}
    return status, answer


def everyone_may(method, url, status, answer):
    return (200, {}) if status == 401 else (status, answer)


def one_id_for_all(method, url, status, answer):
    if method == "POST" and "results" in answer:
        return status, {"results": answer["results"][:1] * 100}
    return status, answer


LIES = [another_text, a_short_page, the_same_page_again, everyone_may, one_id_for_all]


@pytest.fixture(scope="module")
def data_set():
    with pytest.MonkeyPatch.context() as patch:
        from tests.benchmarks.conftest import FOLDER

        patch.syspath_prepend(str(FOLDER))
        from harness import data

        return data.DataSet([data.Text("What?", "That."), data.Text("Who?", "They.")], 600, users=4)


@contextmanager
def served(liar):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: the second would wait 40 ms

        def do_GET(self):
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            authorization = self.headers.get("Authorization")
            honest = liar.answer(self.command, self.path, body, authorization)
            status, answer = liar.lie(self.command, self.path, *honest)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def check(data_set, lie):
    from harness.checks import Checker
    from harness.contestants import CHAT_STORE

    with (
        served(Liar(data_set, lie)) as port,
        Checker(CHAT_STORE, data_set, port, AUTHORIZATION) as checker,
    ):
        checker.check_reads()
        return checker.check_writes()


def test_the_truth_passes(data_set):
    assert check(data_set, the_truth) == list(range(101))


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_wrong_answer_ends_the_run(data_set, lie):
    from harness.checks import WrongAnswerError

    with pytest.raises(WrongAnswerError):
        check(data_set, lie)
