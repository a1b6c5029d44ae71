"""The admin: interactions over the Storage interface, and who may get in."""

from chat.admin import access, interactions

__all__ = ["access", "interactions"]
