"""The admin: interactions, intake, API keys, staff, and the audit log of what staff do."""

from django.contrib import admin

from chat.admin import access, api_keys, audit, intake, interactions, second_factor

admin.site.site_header = admin.site.site_title = "Chat interaction store"

__all__ = ["access", "api_keys", "audit", "intake", "interactions", "second_factor"]
