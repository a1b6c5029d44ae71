"""Production keeps to HTTPS; health checks answer within the machine."""

import json

import pytest
from django.test import Client

from tests.chat.processes import run

PRODUCTION = {
    "ENVIRONMENT": "production",
    "AWS_REGION": "eu-central-1",
    "SECRET_KEY": "0a1b2c3d" * 8,
}
PROBE = """
import json, django
from django.conf import settings
from django.test import Client
django.setup()
settings.ALLOWED_HOSTS = ["chat.example.org"]
plain = Client(headers={"host": "chat.example.org"})
proxied = Client(headers={"host": "chat.example.org", "x-forwarded-proto": "https"})
inside = Client(headers={"host": "10.0.0.7:8000"})
moved, login = plain.get("/admin/login/"), proxied.get("/admin/login/")
health = inside.get("/healthz")
print(json.dumps({
    "moved": [moved.status_code, moved.headers.get("Location")],
    "login": [login.status_code, login.headers.get("Strict-Transport-Security")],
    "cookie": login.cookies["csrftoken"]["secure"],
    "session": settings.SESSION_COOKIE_SECURE,
    "health": health.status_code,
}))
"""


def probe(tmp_path, **values):
    result = run(tmp_path, "shell", "--no-imports", "-c", PROBE, **{**PRODUCTION, **values})
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("value", ["", "true"])
def test_production_keeps_to_https(tmp_path, value):
    assert probe(tmp_path, HTTPS=value) == {
        "moved": [301, "https://chat.example.org/admin/login/"],
        "login": [200, "max-age=3600"],
        "cookie": True,
        "session": True,
        "health": 200,
    }


def test_production_without_https_does_not(tmp_path):
    assert probe(tmp_path, HTTPS="false") == {
        "moved": [200, None],
        "login": [200, None],
        "cookie": "",
        "session": False,
        "health": 200,
    }


def test_check_deploy_has_nothing_to_say_of_djangos_own_settings(tmp_path):
    result = run(tmp_path, "check", "--deploy", **PRODUCTION)
    assert b"security." not in result.stderr


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_under_any_host_name(transactional_db, path):
    assert Client(headers={"host": "10.0.0.7:8000"}).get(path).status_code == 200


def test_a_mistake_in_a_setting_is_one_line(tmp_path):
    result = run(tmp_path, "check", THREADS="many")
    assert (result.returncode, result.stderr.count(b"\n")) == (1, 1)
    assert b"THREADS='many' is not a whole number" in result.stderr
