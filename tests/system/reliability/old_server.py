"""Stands in for a server of an earlier version: it has the database open, until its input ends."""

import sys

import django

import config  # noqa: F401  (before Django: see config/__init__.py)

django.setup()

from django.db import connection  # noqa: E402

with connection.cursor() as cursor:
    cursor.execute("SELECT count(*) FROM django_migrations")
print("ready", flush=True)
sys.stdin.read()
