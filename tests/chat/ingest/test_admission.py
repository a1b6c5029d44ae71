"""What a server process takes on of what tools send."""

import pytest

from config.admission import HUGE, HUGE_BODIES, INGEST_BODIES, leave
from config.handler import Handler
from config.middleware import CALLS
from tests.chat.ingest.otlp import JSON, LANGFUSE, LOGS, TRACES
from tests.config.test_admission import Unread, ask

PATHS = [TRACES, f"{TRACES}/", LOGS, LANGFUSE, "/api/v1/ingest/litellm/"]


@pytest.fixture(scope="module")
def handler():
    """As a server process has it. What it takes is given back."""
    return Handler()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "size", [{"CONTENT_LENGTH": str(HUGE + 1)}, {"HTTP_TRANSFER_ENCODING": "chunked"}]
)
def test_few_bodies_may_be_huge_and_the_next_sender_is_asked_to_come_back(handler, path, size):
    environ = {"CONTENT_TYPE": JSON, **size}
    rooms = handler.admission.rooms({"PATH_INFO": path, **environ})
    for _ in range(HUGE_BODIES):
        assert all(room.enter() for room in rooms)
    answer = ask(handler, "POST", path, Unread(), **environ)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    for _ in range(HUGE_BODIES):
        leave(rooms)


@pytest.mark.parametrize("path", PATHS)
def test_few_bodies_are_unpacked_at_the_same_time(handler, path):
    assert path.startswith(CALLS)
    places = handler.admission.places_to_work("POST", path)
    for _ in range(INGEST_BODIES):
        assert places[0].enter()
    assert not places[0].enter()
    assert all(room.enter() for room in handler.admission.places_to_work("POST", "/api/v1/")), (
        "others work meanwhile"
    )
    leave(handler.admission.places_to_work("POST", "/api/v1/"))
    leave(places[:1] * INGEST_BODIES)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PATHS)
def test_a_body_of_another_method_is_not_read(handler, path):
    answer = ask(handler, "GET", path, Unread(), CONTENT_LENGTH="5")
    assert answer.status == 401
