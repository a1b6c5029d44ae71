"""What is written into `.env` is read as it stands, or refused with the number of its line."""

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured

from config import dotenv, environment
from tests.chat.processes import ROOT

KNOWN = {variable.name for variable in environment.VARIABLES}


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Gives the variables that a `.env` with this content sets."""

    def read(content, **before):
        path = tmp_path / ".env"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setattr(environ.Env, "ENVIRON", dict(before))
        dotenv.read(path, KNOWN)
        return environ.Env.ENVIRON

    return read


@pytest.mark.parametrize(
    "content",
    [
        "PORT=8123",
        "PORT = 8123\n",
        "\tPORT= 8123 \r\n",
        "export PORT=8123",
        "\ufeffPORT=8123\nHOST=::\n",
        "# the port\n\n  # and more\nPORT='8123'",
        'PORT = "8123"',
    ],
    ids=ascii,
)
def test_a_line_is_read_whatever_stands_around_it(read, content):
    assert read(content)["PORT"] == "8123"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("SECRET_KEY=$q9eo-c7u", "$q9eo-c7u"),
        ("SECRET_KEY=abc#def", "abc#def"),
        ("SECRET_KEY='abc # def'", "abc # def"),
        ("SECRET_KEY=a=b==", "a=b=="),
        ("SECRET_KEY=", ""),
        (r"SECRET_KEY=a\b", r"a\b"),
        (r"SECRET_KEY='a\b'", r"a\b"),
        (r'SECRET_KEY="a\\b\"c"', r'a\b"c'),
        ("SECRET_KEY=a'b", "a'b"),
        ("AWS_ACCESS_KEY_ID=AKID", "AKID"),
    ],
)
def test_a_value_is_read_as_it_stands(read, line, value):
    name = line.partition("=")[0]
    assert read(line)[name] == value


def test_the_environment_goes_before(read):
    assert read("PORT=1\nHOST=::", PORT="2") == {"PORT": "2", "HOST": "::"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("PORT 8123", "line 1: Write NAME=value"),
        ("HOST=::\n8PORT=1", "line 2: Write NAME=value"),
        ("PORT=8123 # the port", "line 1: PORT has a # after a space"),
        ('SECRET_KEY="abc', "line 1: The quotes of SECRET_KEY are not closed"),
        ("SECRET_KEY='abc' # new", "line 1: The quotes of SECRET_KEY"),
        ("SECRET_KEY='\"abc\"'", "line 1: The quotes of SECRET_KEY"),
        (r'SECRET_KEY="C:\data"', "line 1: The quotes of SECRET_KEY"),
        ("SECRET_KEY=abc\x0bPORT=8123", "line 1: The value of SECRET_KEY has a control character"),
        ("SECRET_KEY=abc\u2028def", "line 1: The value of SECRET_KEY has a control character"),
        ("SECRET_KEY=abc\0def", "line 1: The value of SECRET_KEY has a control character"),
        ("PORT=1\nPORT=2", "line 2: PORT is in line 1 already"),
        ("DATABSE_URL=sqlite:///x", "line 1: DATABSE_URL is no setting. Did you mean DATABASE_URL"),
        ("port=8123", "line 1: port is no setting. Did you mean PORT?"),
        (b"SECRET_KEY=\xff", "is not in UTF-8"),
        ("PORT=8123".encode("utf-16"), "is not in UTF-8"),
    ],
    ids=ascii,
)
def test_what_cannot_be_read_is_refused_in_one_line_without_its_value(read, content, words):
    with pytest.raises(ImproperlyConfigured) as refused:
        read(content)
    said = str(refused.value)
    assert words in said
    assert "\n" not in said
    assert "abc" not in said


def test_every_mistake_has_its_line(read):
    with pytest.raises(ImproperlyConfigured, match=r"(?s)line 1: .*\n.*line 3: "):
        read("PORT\nHOST=::\nDEBUG yes")


def test_no_file_is_no_variables(tmp_path):
    dotenv.read(tmp_path / "missing", KNOWN)


def test_a_folder_in_its_place_is_refused(tmp_path):
    with pytest.raises(ImproperlyConfigured, match="cannot be read: Is a directory"):
        dotenv.read(tmp_path, KNOWN)


def test_names_of_others_are_not_taken_for_mistakes(read):
    others = ["AWS_PROFILE", "HOSTNAME", "COMPOSE_PROJECT_NAME", "POSTGRES_PASSWORD", "LANG"]
    assert set(read("".join(f"{name}=x\n" for name in others))) == set(others)


def test_this_folder_s_own_is_what_is_read():
    assert environment.BASE_DIR == ROOT


@pytest.mark.parametrize("value", ["$", "$HOME", "$$x", r"\$x", "a$b", "a\\", r"\\$"])
def test_a_dollar_is_a_dollar(monkeypatch, value):
    monkeypatch.setenv("SECRET_KEY", value)
    assert environment.SECRET_KEY.value == value
    monkeypatch.setenv("SECRET_KEY_FALLBACKS", f"{value}, other")
    assert environment.SECRET_KEY_FALLBACKS.value == [value, "other"]


def test_a_browser_may_be_told_to_keep_to_https_for_years(monkeypatch):
    monkeypatch.setenv("HSTS_SECONDS", "63072000")  # what lists of HSTS sites like best
    assert environment.HSTS_SECONDS.value == 63072000


def test_hosts_and_origins_are_those_that_a_browser_sends(monkeypatch):
    monkeypatch.setenv("ALLOWED_HOSTS", "a_b.example ,.example.org,, 10.0.0.7,[::1]")
    assert environment.ALLOWED_HOSTS.value == ["a_b.example", ".example.org", "10.0.0.7", "[::1]"]
    monkeypatch.setenv("CSRF_TRUSTED_ORIGINS", "https://a.example/, http://[::1]:8000")
    assert environment.CSRF_TRUSTED_ORIGINS.value == ["https://a.example", "http://[::1]:8000"]


def test_a_collector_may_have_a_path(monkeypatch):
    url = "https://otlp.example.org/otlp"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    assert environment.OTEL_EXPORTER_OTLP_ENDPOINT.value == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://cache",
        "redis://127.0.0.1:6379/2",
        "rediss://chat:a%2Fb@c:d@cache.example.org:6379/0?ssl_cert_reqs=none",
        "redis://:secret@[::1]:6379/",
        "rediss+cluster://chat:secret@cache:6379/0",
        "redis://cache:6379/2/",
        "redis+cluster://cache:6379/0/",
        "",
    ],
)
def test_urls_of_redis(monkeypatch, url):
    monkeypatch.setenv("REDIS_URL", url)
    assert environment.REDIS_URL.value == url


@pytest.mark.parametrize(
    "url",
    [
        *(f"rediss://chat:hunter{sign}2@cache:6379/0" for sign in "/?#["),
        *(f"redis://chat:12{sign}hunter@cache:6379/0" for sign in "/?#"),
        *("redis://cache:99999/0", "redis://cache:0", "redis://cache/one", "redis://[::1/0"),
        *("redis:///0", "redis+cluster://cache:6379/1", "redis://cache/1/2"),
    ],
)
def test_a_url_of_redis_that_leads_elsewhere_is_refused_without_its_password(monkeypatch, url):
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL is not a URL that begins") as error:
        assert environment.REDIS_URL.value
    assert "hunter" not in str(error.value)
