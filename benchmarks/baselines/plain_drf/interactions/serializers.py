"""Interactions as JSON."""

from rest_framework import serializers

from interactions.models import ChatInteraction


class ChatInteractionSerializer(serializers.ModelSerializer):
    """All fields; the times are set by the server."""

    class Meta:
        model = ChatInteraction
        fields = "__all__"
