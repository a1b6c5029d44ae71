"""Chromium, and a server for each backend.

Playwright keeps an event loop in the thread of the tests, with which Django refuses to use the
database. So it ends with its module, and these tests reach the data through `site` alone.
"""

import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.browser.checking")

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


@pytest.fixture(scope="session")
def _chromium():
    """Tests are skipped where it is not installed."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"needs Chromium, and there is none at {CHROMIUM}; CHROMIUM names another one")


@pytest.fixture(scope="module")
def browser(_chromium):
    """Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(
    scope="session", params=["sqlite", pytest.param("dynamodb", marks=pytest.mark.exhaustive)]
)
def _server(request, _chromium, tmp_path_factory):
    """A server: SQLite, or DynamoDB and Redis. To start one takes as long as some tests."""
    from tests.browser.site import SECRET, Site
    from tests.chat.processes import run

    folder = tmp_path_factory.mktemp("site")
    values = {
        "ENVIRONMENT": "staging",
        "SECRET_KEY": SECRET,
        "ALLOWED_HOSTS": "127.0.0.1",
        "HTTPS": "false",
        "RATE_LIMIT_PER_ADDRESS": "0",
    }
    if request.param == "dynamodb":
        from tests.clouds import REGION

        valkey = request.getfixturevalue("valkey_server")
        values |= {
            "ENVIRONMENT": "production",
            "AWS_REGION": REGION,
            "DYNAMODB_ENDPOINT_URL": request.getfixturevalue("dynamodb_server").url,
            "DYNAMODB_TABLE": folder.name,
            "REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0",
        }
        made = run(folder, "dynamodb_table", "create", **values)
        assert made.returncode == 0, made.stderr.decode()
    started = Site(folder, values)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def site(_server):
    """A server without interactions. Its module shares it."""
    yield _server
    _server.forget()


@pytest.fixture
def open_page(site, browser):
    """Opens a page: `open_page(path, *permissions)`, of a superuser if no permission is given.

    `groups` are roles, `logged_in=False` leaves out the session, `width` and `dark` are the look.
    """
    from tests.browser.checking import DESKTOP, HEIGHT, watch

    contexts = []

    def open_one(path, *permissions, groups=(), logged_in=True, width=DESKTOP, dark=False):
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        if logged_in:
            superuser = not (permissions or groups)
            session = site.session(*permissions, groups=groups, superuser=superuser)
            context.add_cookies([{"name": "sessionid", "value": session, "url": site.url("/")}])
        page = context.new_page()
        watch(page, site.url(""))
        page.goto(site.url(path))
        return page

    yield open_one
    for context in contexts:
        context.close()
