"""The queue: it never blocks, has bounds, and says what it dropped."""

import asyncio
import gc
import http.server
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from chat_interaction_store import AsyncStore, Store, background, retries

from tests.clients.conftest import Script
from tests.clients.test_retries import problem
from tests.forks import in_fork

PATIENCE = 300
SOURCE = Path(background.__file__).parents[1]


def question(number=0, **fields):
    return {"user_id": "ada", "message": f"Secret {number}", "model_used": "m"} | fields


def all_saved(request):
    """What the store answers to a batch."""
    items = httpx.Response(200, content=request.content).json()["interactions"]
    results = [{"interaction_id": item["interaction_id"], "status": "created"} for item in items]
    return httpx.Response(200, json={"results": results})


def messages(script):
    """The messages in all batches that the store has taken or refused."""
    return [
        [
            item["message"]
            for item in httpx.Response(200, content=request.content).json()["interactions"]
        ]
        for request in script.requests
    ]


class Gate:
    """A store that answers when it is let to."""

    def __init__(self):
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, request):
        self.reached.set()
        assert self.open.wait(PATIENCE)
        return all_saved(request)


@pytest.fixture
def make_queue():
    """Makes a queue before a store that answers by a script."""
    made = []

    def make(script, **options):
        store = Store("http://store.test", "some.key", transport=script.transport)
        made.append(store)
        return background.BackgroundStore(store, **options) if options else store.background()

    yield make
    for store in made:
        store.close(timeout=0)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_DELAY", 0.001)


def test_it_saves_in_the_store(server, url, user):
    with Store(url, server.key, verify=False) as store:
        queue = store.background()
        ids = [queue.save(**question(number, user_id=user)) for number in range(300)]
        assert queue.flush(PATIENCE)
        assert (queue.saved, queue.pending, queue.dropped) == (300, 0, {})
        assert {one.interaction_id for one in store.list(user)} == set(ids)


def test_the_end_of_the_block_saves_what_is_left(server, url, user):
    with Store(url, server.key, verify=False) as store:
        store.background().save(**question(user_id=user))
    with Store(url, server.key, verify=False) as store:
        assert [one.message for one in store.list(user)] == ["Secret 0"]


def test_callers_do_not_wait_and_what_comes_meanwhile_is_one_batch(make_queue):
    gate = Gate()
    script = Script(gate)
    queue = make_queue(script)
    queue.save(**question(0))
    assert gate.reached.wait(PATIENCE)
    for number in range(1, 6):
        queue.save(**question(number))
    assert queue.pending == 6
    assert not queue.flush(timeout=0.001)
    gate.open.set()
    assert queue.flush(PATIENCE)
    assert messages(script) == [["Secret 0"], [f"Secret {number}" for number in range(1, 6)]]


@pytest.mark.parametrize("bound", [{"max_items": 3}, {"max_bytes": 700}])
def test_a_full_queue_drops_what_is_new_and_says_so_once(make_queue, bound, caplog):
    gate = Gate()
    queue = make_queue(Script(gate), **bound)
    queue.save(**question(0))
    assert gate.reached.wait(PATIENCE)
    for number in range(1, 50):
        queue.save(**question(number))
    dropped = queue.dropped["queue full"]
    assert dropped == 50 - queue.pending > 40
    gate.open.set()
    assert queue.flush(PATIENCE)
    assert queue.saved == 50 - dropped
    queue.close()
    assert [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
    ] == [f"Interactions not saved: {dropped} ({dropped} queue full)"]


def test_a_store_that_is_away_is_waited_for(make_queue, quick):
    script = Script(httpx.ConnectError("refused"), *[problem(503)] * 5, all_saved)
    queue = make_queue(script)
    queue.save(**question())
    assert queue.flush(PATIENCE)
    assert (queue.saved, queue.dropped, len(script.requests)) == (1, {}, 7)


PAGES = [
    httpx.Response(200, html="<p>Welcome</p>"),
    httpx.Response(200, json={"status": "starting"}),
    httpx.Response(200, json=[]),
    httpx.Response(404, text="default backend - 404"),
    httpx.Response(502, html="<p>Bad gateway</p>"),
    httpx.Response(302, headers={"Location": "https://proxy.test/maintenance"}),
]
"""What comes while a proxy before the store is being deployed."""


def test_a_store_whose_proxy_answers_is_waited_for(make_queue, quick):
    script = Script(*PAGES, all_saved)
    queue = make_queue(script)
    queue.save(**question())
    assert queue.flush(PATIENCE)
    assert (queue.saved, queue.dropped, len(script.requests)) == (1, {}, len(PAGES) + 1)


def test_what_is_waited_for_is_told_once_a_minute(make_queue, quick, monkeypatch, caplog):
    """With a wrong URL nothing else would tell, until the queue is full."""
    clock, script = iter(range(0, 10**6, 25)), Script(*[PAGES[3]] * 4, all_saved)
    queue = make_queue(script)
    monkeypatch.setattr(queue, "_wait", lambda seconds: None)
    monkeypatch.setattr(background.time, "monotonic", lambda: float(next(clock)))
    queue._send([b'{"interaction_id":"one"}'])
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == [
        "Interactions wait for the store: 404 with an answer that is not the store's: "
        "is this the URL of a chat interaction store?"
    ]


def test_a_long_wait_that_is_asked_for_is_told_once_a_minute_too(make_queue, monkeypatch, caplog):
    clock, queue = iter(range(0, 10**6, 30)), make_queue(Script())
    queue._last_attempt = "The store answered 503; try again later."
    monkeypatch.setattr(queue._changed, "wait", lambda seconds: None)
    monkeypatch.setattr(background.time, "monotonic", lambda: float(next(clock)))
    queue._wait(400)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == [f"Interactions wait for the store: {queue._last_attempt}"] * 6


def test_a_wait_of_3000_years_is_one_of_many(make_queue, monkeypatch):
    """Python raises OverflowError if it is to wait for so long, and what waits would be dropped."""
    queue, waits = make_queue(Script()), []

    def wait(seconds):
        waits.append(seconds)
        queue._deadline = 0.0  # the time to close is over

    monkeypatch.setattr(queue._changed, "wait", wait)
    with pytest.raises(background._Abandoned):
        queue._wait(1e11)
    assert waits == [background.LOG_INTERVAL]


def test_one_that_is_refused_does_not_take_others_with_it(server, url, user, caplog):
    with Store(url, server.key, verify=False) as store:
        queue = store.background()
        for number in range(20):
            queue.save(**question(number, user_id=user))
            queue.save(**question(number, user_id=user, model_used=""))
        assert queue.flush(PATIENCE)
        assert queue.dropped == {"refused (400 Invalid request)": 20}
        assert len(list(store.list(user))) == 20
    assert "must have 1 to 255 characters" in caplog.text
    assert "Secret" not in caplog.text


def test_those_of_another_user_do_not_take_others_with_them(server, url, key_of_ada):
    with Store(url, key_of_ada, verify=False) as store:
        queue = store.background()
        for number in range(4):
            queue.save(**question(number, user_id="ada"))
            queue.save(**question(number, user_id="bob"))
        assert queue.flush(PATIENCE)
        assert queue.saved == 4
        assert [*queue.dropped.values()] == [4]


def forbidden(request):
    """What the store answers to a key that is bound to another user than one of a batch's."""
    items = httpx.Response(200, content=request.content).json()["interactions"]
    if {item["user_id"] for item in items} == {"ada"}:
        return all_saved(request)
    return problem(403)(request)


@pytest.mark.parametrize("users", [["bob"], ["bob", "ada", "carl"]])
def test_a_key_that_may_not_write_for_a_user_is_asked_once_for_each(make_queue, caplog, users):
    """A batch was divided down to each interaction: 399 calls to drop 200."""
    gate = Gate()
    script = Script(gate, forbidden)
    queue = make_queue(script)
    queue.save(**question())
    assert gate.reached.wait(PATIENCE)
    for number in range(180):
        queue.save(**question(user_id=users[number % len(users)]))
    gate.open.set()
    assert queue.flush(PATIENCE)
    queue.close()
    of_ada = 60 if "ada" in users else 0
    assert queue.saved == 1 + of_ada
    assert queue.dropped == {"refused (403 Title)": 180 - of_ada}
    assert len(script.requests) == (2 if len(users) == 1 else 2 + len(users))
    assert "403 Title: Detail." in caplog.text


def test_a_proxy_that_takes_less_than_the_store_gets_smaller_batches(make_queue):
    """nginx, for one, takes 1 MB unless it is told otherwise, and answers with a page."""
    gate = Gate()

    def proxy(request):
        if len(request.content) > 1024 * 1024:
            return httpx.Response(413, html="<h1>413 Request Entity Too Large</h1>")
        return all_saved(request)

    queue = make_queue(Script(gate, proxy))
    queue.save(**question())
    assert gate.reached.wait(PATIENCE)
    for length in [400_000] * 8 + [1024 * 1024]:
        queue.save(**question(response="x" * length))
    gate.open.set()
    assert queue.flush(PATIENCE)
    assert queue.saved == 9
    assert queue.dropped == {"refused (413 Content too large)": 1}


def test_a_firewall_that_blocks_one_text_does_not_keep_the_others_waiting(make_queue):
    """Some look for SQL or HTML in a body, and answer 403 with a page, however often it comes."""
    gate = Gate()

    def firewall(request):
        if b"DROP TABLE" in request.content:
            return httpx.Response(403, html="<h1>403 Forbidden</h1>")
        return all_saved(request)

    queue = make_queue(Script(gate, firewall))
    queue.save(**question())
    assert gate.reached.wait(PATIENCE)
    for number in range(7):
        queue.save(**question(response="DROP TABLE a;" if number == 4 else "x"))
    gate.open.set()
    assert queue.flush(PATIENCE)
    assert queue.saved == 7
    assert queue.dropped == {"refused (403 Forbidden)": 1}


def test_a_conflict_is_told(server, url, user):
    with Store(url, server.key, verify=False) as store:
        store.save(**question(1, user_id=user, interaction_id=user))
        store.background().save(**question(2, user_id=user, interaction_id=user))
        assert store.background().flush(PATIENCE)
        assert store.background().dropped == {"another interaction with this id": 1}


def test_a_revoked_key_is_told(make_queue, caplog):
    queue = make_queue(Script(problem(401)))
    for number in range(5):
        queue.save(**question(number))
    assert queue.flush(PATIENCE)
    queue.close()
    assert queue.dropped == {"refused (401 Title)": 5}
    assert "401 Title: Detail." in caplog.text


def test_an_error_of_the_client_ends_nothing(make_queue):
    script = Script(KeyError("x"), all_saved)
    queue = make_queue(script)
    queue.save(**question(0))
    assert queue.flush(PATIENCE)
    queue.save(**question(1))
    assert queue.flush(PATIENCE)
    assert (queue.saved, queue.dropped) == (1, {"error in the client (KeyError)": 1})


def test_closing_ends_in_time_and_counts_what_is_left(make_queue, caplog):
    script = Script(httpx.ConnectError("refused"))
    queue = make_queue(script)
    for number in range(5):
        queue.save(**question(number))
    assert queue.close(timeout=0.05) is False
    assert queue.dropped == {"not confirmed before the end": 5}
    queue.save(**question())
    assert queue.dropped["closed"] == 1
    assert (
        "Interactions not saved: 5 (5 not confirmed before the end; "
        "the last attempt: The store did not answer: ConnectError.)"
    ) in caplog.text
    assert queue.flush(timeout=0) is True
    assert queue.pending == 0


@pytest.mark.parametrize("was_used", [True, False])
def test_what_comes_after_the_end_is_told(make_queue, caplog, was_used):
    """Whoever leaves the `with` block and goes on would lose everything, and hear nothing."""
    queue = make_queue(Script(all_saved))
    if was_used:
        queue.save(**question())
    queue.close(PATIENCE)
    for _ in range(3):
        queue.save(**question())
    queue.leave_out("no user_id")
    assert queue.dropped == {"closed": 3, "no user_id": 1}
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["Interactions not saved: 1 (1 closed)"]


def test_what_the_thread_gives_up_is_counted_once(make_queue, monkeypatch):
    """The thread sees that the time to close is over before `close` does."""
    clock = background.time.monotonic

    def ahead():
        return clock() + 1000 * (threading.current_thread().name == "chat-interaction-store")

    monkeypatch.setattr(background.time, "monotonic", ahead)
    queue = make_queue(Script(httpx.ConnectError("refused")))
    for number in range(5):
        queue.save(**question(number))
    assert queue.close(timeout=PATIENCE) is False
    assert (queue.dropped, queue.pending) == ({"not confirmed before the end": 5}, 0)


def test_what_cannot_be_json_is_the_callers_mistake(make_queue):
    queue = make_queue(Script(all_saved))
    with pytest.raises(TypeError):
        queue.save(**question(message=object()))
    assert queue.dropped == {}


def test_many_threads(make_queue):
    queue = make_queue(Script(all_saved))

    def save():
        for number in range(200):
            queue.save(**question(number))

    threads = [threading.Thread(target=save) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.flush(PATIENCE)
    assert (queue.saved, queue.dropped) == (1600, {})


class Left:
    """Something that was left half-way, and that garbage collection ends, as it does a stream."""

    def __init__(self, queue):
        self.queue, self.itself = queue, self

    def __del__(self):
        self.queue.save(**question())
        self.queue.leave_out("left")


@pytest.mark.parametrize(
    "name", ["_why_not", "_has_thread", "_has_started", "_take", "_drop", "_end", "_news"]
)
def test_garbage_is_collected_while_the_queue_is_changed(make_queue, monkeypatch, name):
    """Python may do so anywhere, and has the thread run what saves the text of a left stream."""
    queue = make_queue(Script(all_saved))
    collecting = getattr(queue, name)
    gc.disable()  # so that what is left stays among the young objects, which are few
    left = [Left(queue)]

    def collect_first(*words, **fields):
        if left:
            left.clear()
            gc.collect(0)
        return collecting(*words, **fields)

    monkeypatch.setattr(queue, name, collect_first)
    saving = threading.Thread(target=lambda: queue.save(**question()), daemon=True)
    saving.start()
    saving.join(PATIENCE)
    gc.enable()
    assert not saving.is_alive()
    assert queue.flush(PATIENCE)
    assert queue.flush(PATIENCE), "what came while the first was ended"
    assert (queue.saved, queue.dropped, queue._bytes) == (2, {"left": 1}, 0)
    targets = [getattr(thread, "_target", None) for thread in threading.enumerate()]
    assert targets.count(queue._work) == 1


def test_an_event_loop_goes_on_meanwhile(server, url, user):
    async def main():
        async with AsyncStore(url, server.key, verify=False) as store:
            queue = store.background()
            queue.save(**question(user_id=user))
            assert await queue.aflush(PATIENCE)
            return [one.message async for one in store.list(user)]

    assert asyncio.run(main()) == ["Secret 0"]


def test_a_forked_child_has_a_queue_of_its_own(server, url, user):
    """The parent's thread is not in the child, and its lock may be locked there."""

    def save_in_child():
        queue.save(**question(1, user_id=user))
        store.save(**question(2, user_id=user))
        assert queue.flush(PATIENCE)
        assert queue.saved == 1

    with Store(url, server.key, verify=False) as store:
        queue = store.background()
        queue.save(**question(0, user_id=user))
        assert queue.flush(PATIENCE)
        with queue._changed:  # as if another thread were just saving
            in_fork(save_in_child)
        queue.save(**question(3, user_id=user))
        assert queue.flush(PATIENCE)
        assert queue.saved == 2
        assert sorted(one.message for one in store.list(user)) == [
            f"Secret {number}" for number in range(4)
        ]


class Connections(http.server.BaseHTTPRequestHandler):
    """Knows nothing, and notes on which connection it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.ports.append(self.client_address[1])
        self.send_response(404)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words):
        pass


def test_a_forked_child_has_connections_of_its_own():
    """Two processes on one connection would read each other's answers."""

    def get_in_child():
        assert store.get("x") is None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Connections) as server:
        server.ports, server.daemon_threads = [], True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Store(f"http://127.0.0.1:{server.server_port}", "some.key", verify=False) as store:
            assert store.get("x") is None
            in_fork(get_in_child)
            assert store.get("x") is None
        server.shutdown()
    first, of_child, last = server.ports
    assert first == last != of_child


def test_the_end_of_a_process_saves_what_is_left(server, url, user):
    program = f"""
from chat_interaction_store import Store
queue = Store({url!r}, {server.key!r}).background()
for number in range(3):
    queue.save(user_id={user!r}, message=str(number), model_used="m")
"""
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    with Store(url, server.key, verify=False) as store:
        assert sorted(one.message for one in store.list(user)) == ["0", "1", "2"]
