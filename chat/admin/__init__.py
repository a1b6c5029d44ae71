"""The admin: interactions, intake, prices, API keys, staff, and the log of what staff do."""

from django.conf import settings
from django.contrib import admin

from chat.admin import access, api_keys, audit, intake, interactions, prices, second_factor

admin.site.site_header = admin.site.site_title = settings.SITE_NAME
admin.site.site_url = None  # there is no other site

__all__ = ["access", "api_keys", "audit", "intake", "interactions", "prices", "second_factor"]
