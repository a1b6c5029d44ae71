"""What a server process takes on of what tools send."""

import os

import pytest

from chat.ingest import memory
from chat.ingest.bodies import UNPACKED_LIMIT
from config.admission import INGEST_BODIES, LARGE, leave
from config.handler import Handler
from config.middleware import CALLS
from tests.chat.calls import INTERACTIONS
from tests.chat.ingest.otlp import JSON, LANGFUSE, LOGS, TRACES
from tests.config.test_admission import Unread, ask, request_of

PATHS = [TRACES, f"{TRACES}/", LOGS, LANGFUSE, "/api/v1/ingest/litellm/"]


def posted(path, **environ):
    return request_of("POST", path, **environ)


@pytest.fixture(scope="module")
def handler():
    """As a server process has it. What it takes is given back."""
    return Handler()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "size", [{"CONTENT_LENGTH": str(UNPACKED_LIMIT)}, {"HTTP_TRANSFER_ENCODING": "chunked"}]
)
def test_one_body_may_be_huge_and_the_next_sender_is_asked_to_come_back(handler, path, size):
    environ = {"CONTENT_TYPE": JSON, **size}
    taken = handler.admission.rooms(posted(path, **environ))
    assert all(room.enter() for room in taken)
    answer = ask(handler, "POST", path, Unread(), **environ)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    leave(taken)


@pytest.mark.parametrize("path", PATHS)
def test_few_bodies_are_unpacked_at_the_same_time(handler, path):
    assert path.startswith(CALLS)
    places = handler.admission.places_to_work(posted(path))
    for _ in range(INGEST_BODIES):
        assert places[0].enter()
    assert not places[0].enter()
    others = handler.admission.places_to_work(posted(INTERACTIONS))
    assert all(room.enter() for room in others), "others work meanwhile"
    leave(others)
    leave(places[:1] * INGEST_BODIES)


@pytest.mark.parametrize(
    "size",
    [
        {"CONTENT_LENGTH": str(LARGE + 1)},
        {"CONTENT_LENGTH": "500", "HTTP_CONTENT_ENCODING": "gzip"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
    ],
    ids=str,
)
def test_what_is_or_may_become_large_is_taken_in_one_by_one(handler, size):
    places = handler.admission.places_to_work(posted(TRACES, **size))
    assert all(room.enter() for room in places)
    assert not handler.admission.places_to_work(posted(TRACES, **size))[0].enter()
    small = handler.admission.places_to_work(posted(TRACES, CONTENT_LENGTH="500"))
    assert all(room.enter() for room in small)
    leave(small)
    leave(places)


@pytest.mark.parametrize(
    ("limit", "workers", "expected"),
    [
        ("268435456\n", 1, 256 * 2**20),
        ("268435456\n", 2, 128 * 2**20),
        ("max\n", 1, None),
        ("9223372036854771712\n", 1, None),  # none, in version 1
        (None, 1, None),
    ],
)
def test_a_container_tells_how_much_memory_there_is(
    tmp_path, monkeypatch, settings, limit, workers, expected
):
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    monkeypatch.setattr(memory, "_LIMITS", (file,))
    settings.WORKERS = workers
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.memory_of_process() == (expected or machine)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PATHS)
def test_a_body_of_another_method_is_not_read(handler, path):
    answer = ask(handler, "GET", path, Unread(), CONTENT_LENGTH="5")
    assert answer.status == 401
