"""What error pages show of the settings and of variables: no password of a server, no key."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.template.defaultfilters import pprint
from django.views.debug import SafeExceptionReporterFilter

CREDENTIALS = re.compile(r"://\S*@")
"""A user, and maybe a password, in a URL."""


class ReportFilter(SafeExceptionReporterFilter):
    """Django's filter goes by names, and shows URLs with their passwords."""

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        """Hide also what has a user in a URL, or one of the secrets."""
        if isinstance(value, str) and self._is_secret(value):
            return self.cleansed_substitute
        return super().cleanse_setting(key, value)

    def get_traceback_frame_variables(self, request: HttpRequest, tb_frame: Any) -> Any:
        """Hide the same in variables, which pages show with DEBUG only."""
        found = super().get_traceback_frame_variables(request, tb_frame)
        return [
            (name, self.cleansed_substitute if self._is_secret(pprint(value)) else value)
            for name, value in found
        ]

    def _is_secret(self, text: str) -> bool:
        return bool(CREDENTIALS.search(text)) or any(secret in text for secret in _secrets())


def _secrets() -> Iterator[str]:
    password = urlsplit(settings.REDIS_URL).password
    yield from filter(None, (password, unquote(password or "")))
    yield from filter(None, [settings.DATABASES["default"].get("PASSWORD")])
    yield from filter(None, (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))
