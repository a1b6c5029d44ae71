"""One chat interaction."""

import uuid

from django.db import models


def new_id() -> str:
    """A random id."""
    return str(uuid.uuid4())


class ChatInteraction(models.Model):
    """One question to a language model and its answer."""

    interaction_id = models.CharField(primary_key=True, max_length=255, default=new_id)
    user_id = models.CharField(max_length=255)
    message = models.TextField()
    response = models.TextField(blank=True)
    model_used = models.CharField(max_length=255)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = [models.Index(fields=["user_id", "created_at"], name="user_created")]

    def __str__(self) -> str:
        return self.interaction_id
