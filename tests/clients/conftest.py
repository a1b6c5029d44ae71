"""A real server, and stores that reach it."""

import asyncio
import re
import uuid

import httpx
import pytest
from chat_interaction_store import AsyncStore, Store, retries

from tests.chat import processes


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A real server, for all tests of a process: they use users of their own."""
    started = processes.Server(tmp_path_factory.mktemp("server"))
    try:
        yield started.wait_until_it_answers()
    finally:
        started.stop()


@pytest.fixture(scope="session")
def url(server):
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="session")
def key_of_ada(server):
    """A key that is bound to a user."""
    made = processes.run(server.folder, "create_api_key", "Ada's", "--user", "ada")
    return re.search(r"\w+\.\w{30,}", made.stdout.decode())[0]


@pytest.fixture
def user():
    return f"user-{uuid.uuid4().hex}"


class Awaited:
    """An AsyncStore whose calls are waited for, so that tests can treat it as a Store."""

    def __init__(self, store, loop):
        self._store = store
        self._loop = loop

    def __getattr__(self, name):
        method = getattr(self._store, name)
        return lambda *words, **fields: self._loop.run_until_complete(method(*words, **fields))

    def list(self, *words, **fields):
        return self._collected(self._store.list(*words, **fields))

    def search(self, *words, **fields):
        return self._collected(self._store.search(*words, **fields))

    def _collected(self, found):
        async def collect():
            return [interaction async for interaction in found]

        return iter(self._loop.run_until_complete(collect()))

    def background(self):
        return self._store.background()

    def __repr__(self):
        return repr(self._store)


@pytest.fixture(params=["sync", "async"])
def make_store(request):
    """Makes a Store, or an AsyncStore that looks like one."""
    made = []
    loop = asyncio.new_event_loop()

    def make(url="http://store.test", key="some.key", **options):
        options = {"verify": False} | options  # to load certificates takes 50 ms
        if request.param == "sync":
            made.append(Store(url, key, **options).close)
            return made[-1].__self__
        store = Awaited(AsyncStore(url, key, **options), loop)
        made.append(store.aclose)
        return store

    yield make
    for close in made:
        close(timeout=0.0)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture
def store(make_store, server, url):
    """A store with a service-wide key."""
    return make_store(url, server.key)


@pytest.fixture
def no_pauses(monkeypatch):
    """Nobody sleeps. Gives the seconds that they would have slept."""
    slept = []

    async def asleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr("chat_interaction_store.store.time.sleep", slept.append)
    monkeypatch.setattr("chat_interaction_store.async_store.asyncio.sleep", asleep)
    monkeypatch.setattr(retries, "FIRST_DELAY", 0.0)
    return slept


class Script:
    """A transport that answers as it is told to, in turn; the last answer for ever.

    An answer is a response, or an error to raise. It keeps the requests.
    """

    def __init__(self, *answers):
        self._answers = list(answers)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    @property
    def transport(self):
        return httpx.MockTransport(self)
