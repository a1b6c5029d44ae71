#!/usr/bin/env bash
# django-unfold 0.91.0, Django 5.2.9, Python 3.11: its search of the sidebar (names of models) and its command
# search (objects, too) keep what they find for five minutes under one key, of the user and the words. So
# whoever looks for a model in the sidebar, and then for an object by the same word, is told that there is
# none; and after the command search, the sidebar lists objects. A good engineer would expect that what one
# search has kept is not the answer of another.
#
# Output seen:
#   command search: Users, user-bob
#   sidebar, then command search: Users
#   command search, then sidebar: Users, user-bob
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.9 django-unfold==0.91.0

cat > "$folder/search.py" <<'PYTHON'
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of this script alone",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF="addresses",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "unfold",
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    STATIC_URL="/static/",
    UNFOLD={"COMMAND": {"search_models": True}},
)
django.setup()

from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

call_command("migrate", verbosity=0)
User.objects.create(username="user-bob")
client = Client()
client.force_login(User.objects.create_superuser("root"))
COMMAND = {"s": "user", "extended": "1"}
SIDEBAR = {"s": "user"}


def found(query):
    page = client.get("/admin/search/", query).content.decode()
    return ", ".join(name for name in ("Users", "user-bob") if name in page)


def after(first, then):
    cache.clear()
    client.get("/admin/search/", first)
    return found(then)


print("command search:", found(COMMAND))
print("sidebar, then command search:", after(SIDEBAR, COMMAND))
print("command search, then sidebar:", after(COMMAND, SIDEBAR))
PYTHON

cat > "$folder/addresses.py" <<'PYTHON'
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import User
from django.urls import path
from unfold.admin import ModelAdmin

admin.site.unregister(User)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    pass


urlpatterns = [path("admin/", admin.site.urls)]
PYTHON

(cd "$folder" && timeout 120 "$folder/venv/bin/python" search.py) | tee "$folder/output"

diff "$folder/output" - <<'EXPECTED'
command search: Users, user-bob
sidebar, then command search: Users
command search, then sidebar: Users, user-bob
EXPECTED
