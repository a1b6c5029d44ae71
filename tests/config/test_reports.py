"""Error pages show no password and no key, with DEBUG or without."""

import pytest
from django.test import Client, RequestFactory
from django.views.debug import ExceptionReporter

from config.reports import ReportFilter
from storage.cache.redis import redis_cache

PASSWORD = "hunter/2"
QUOTED = "hunter%2F2"
URL = f"rediss://chat:{QUOTED}@cache.example.org:6379/0"


@pytest.fixture(autouse=True)
def with_redis(settings):
    settings.REDIS_URL = URL
    settings.DYNAMODB_ENDPOINT_URL = "http://someone:hunter2@127.0.0.1:8001"
    settings.CACHES = {**settings.CACHES, "shared": redis_cache(URL, max_connections=1)}
    settings.SECRET_KEY_FALLBACKS = ["an earlier key of this test"]


def assert_no_secrets(page):
    assert "hunter" not in page
    assert "an earlier key" not in page


@pytest.mark.parametrize("debug", [True, False])
def test_a_request_with_a_wrong_host_is_not_shown_a_password(settings, debug):
    settings.DEBUG = debug
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    client = Client(raise_request_exception=False, headers={"host": "evil.example"})
    page = client.get("/admin/login/").content.decode()
    assert debug is ("REDIS_URL" in page)
    assert_no_secrets(page)


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("kind", ["html", "text"])
def test_a_report_shows_none_in_settings_requests_and_variables(settings, debug, kind):
    settings.DEBUG = debug

    def fail(url, options, harmless):
        raise ZeroDivisionError

    try:
        fail(URL, {"password": PASSWORD, "keys": settings.SECRET_KEY_FALLBACKS}, "plain to see")
    except ZeroDivisionError as error:
        request = RequestFactory().get("/", headers={"x-cache": URL})
        reporter = ExceptionReporter(request, type(error), error, error.__traceback__)
    page = reporter.get_traceback_html() if kind == "html" else reporter.get_traceback_text()
    assert "ZeroDivisionError" in page
    assert "DYNAMODB_TABLE" in page
    assert kind == "text" or "plain to see" in page
    assert_no_secrets(page)


def test_what_is_no_secret_is_shown(settings):
    settings.REDIS_URL = "redis://127.0.0.1:6379/0"
    shown = ReportFilter().get_safe_settings()
    assert shown["REDIS_URL"] == "redis://127.0.0.1:6379/0"
    assert shown["ALLOWED_HOSTS"] == settings.ALLOWED_HOSTS
