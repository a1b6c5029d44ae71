"""The admin: interactions over the Storage interface, and who may get in."""

from django.contrib import admin

from chat.admin import access, interactions

admin.site.site_header = admin.site.site_title = "Chat interaction store"

__all__ = ["access", "interactions"]
