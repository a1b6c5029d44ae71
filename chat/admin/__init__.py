"""The admin: interactions, intake, prices, API keys and staff."""

from django.contrib import admin

from chat.admin import access, api_keys, intake, interactions, prices, second_factor

admin.site.site_header = admin.site.site_title = "Chat interaction store"

__all__ = ["access", "api_keys", "intake", "interactions", "prices", "second_factor"]
