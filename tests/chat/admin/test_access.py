"""API keys and staff in the admin."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from storage.accounts import api_keys
from storage.models import ApiKey

KEYS = "/admin/storage/apikey/"


@pytest.fixture
def superuser(transactional_db):
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def make_key(superuser, **fields):
    form = {"name": "billing", "user_id": "", "expiry_date_0": "", "expiry_date_1": ""} | fields
    return superuser.post(f"{KEYS}add/", form, follow=True)


def test_new_key_is_shown_once_and_works(superuser):
    page = make_key(superuser, user_id="ada").content.decode()
    key = re.search(r"The API key for billing is: (\S+)\. ", page).group(1)
    assert api_keys.find(key).user_id == "ada"
    assert key not in superuser.get(KEYS).content.decode()


def test_impossible_user_is_refused(superuser):
    page = make_key(superuser, user_id="a\x7fb").content.decode()
    assert "must not contain control characters" in page
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("user_id", ["..", "ada/../bobby"])
def test_user_with_a_dot_segment_is_refused(superuser, user_id):
    assert "dot segment" in make_key(superuser, user_id=user_id).content.decode()
    assert not ApiKey.objects.exists()


def test_one_that_is_bound_to_such_a_user_can_be_revoked(superuser):
    api_key, _ = ApiKey.objects.create_key(name="billing", user_id="ada/../bobby")
    form = {"name": "billing", "revoked": "on", "expiry_date_0": "", "expiry_date_1": ""}
    superuser.post(f"{KEYS}{api_key.pk}/change/", form)
    api_key.refresh_from_db()
    assert api_key.revoked


def test_key_never_changes_hands(superuser):
    api_key, _ = ApiKey.objects.create_key(name="billing", user_id="ada")
    superuser.post(f"{KEYS}{api_key.pk}/change/", {"name": "billing", "user_id": "eve"})
    api_key.refresh_from_db()
    assert api_key.user_id == "ada"


def test_revoked_in_the_admin_stops_working(superuser):
    api_key, key = ApiKey.objects.create_key(name="billing")
    form = {"name": "billing", "revoked": "on", "expiry_date_0": "", "expiry_date_1": ""}
    superuser.post(f"{KEYS}{api_key.pk}/change/", form)
    api_keys.forget()
    assert api_keys.find(key) is None


def test_the_key_that_cannot_be_bound_is_not_offered(superuser):
    assert superuser.get("/admin/rest_framework_api_key/").status_code == 404


@pytest.mark.parametrize("page", ["/admin/", "/admin/auth/user/", "/admin/auth/user/add/", KEYS])
def test_pages_are_served(superuser, page):
    assert superuser.get(page).status_code == 200
