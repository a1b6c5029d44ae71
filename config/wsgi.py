"""The WSGI entry point: `granian --interface wsgi config.wsgi:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from config.handler import Handler, disconnect_idle_receivers  # noqa: E402  (Django is set up)

disconnect_idle_receivers()
application = Handler()
