"""Settings of servers that tests start: the real ones, with a cheap hash for new passwords.

Each server with a new database makes a login, whose real hash takes a third of a second.
"""

from django.conf import global_settings

from config.settings import *  # noqa: F403

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    *global_settings.PASSWORD_HASHERS,
]
