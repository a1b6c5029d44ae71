"""Programs that use Django. Each is given a new database file."""

import django

import config  # noqa: F401  (before Django: it puts pysqlite3 in the place of sqlite3)

django.setup()
