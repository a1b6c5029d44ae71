"""The admin: interactions, API keys and staff."""

from django.contrib import admin

from chat.admin import access, interactions

admin.site.site_header = admin.site.site_title = "Chat interaction store"

__all__ = ["access", "interactions"]
