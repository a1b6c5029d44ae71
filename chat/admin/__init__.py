"""The admin: interactions, intake, API keys and staff."""

from django.conf import settings
from django.contrib import admin

from chat.admin import access, api_keys, intake, interactions, second_factor

admin.site.site_header = admin.site.site_title = settings.SITE_NAME
admin.site.site_url = None  # there is no other site

__all__ = ["access", "api_keys", "intake", "interactions", "second_factor"]
