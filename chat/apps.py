"""The Django application for people and services that use interactions."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    """It has no models: the data belongs to `storage`."""

    name = "chat"
