"""Tables and rows for the programs."""

from typing import Any

from django.db import connection

from storage.models import ArchivedInteraction, ChatInteraction, IdempotencyRecord, TextChange
from storage.sqlite import base


def create_tables() -> None:
    """Faster than migrations. Leaves nothing connected, so that a fork may follow."""
    with connection.schema_editor() as editor:
        editor.create_model(ChatInteraction)
        editor.create_model(IdempotencyRecord)
        editor.create_model(ArchivedInteraction)
        editor.create_model(TextChange)
    disconnect()


def disconnect() -> None:
    connection.close()
    base.close_pool(connection.settings_dict["NAME"])


def interaction(interaction_id: str, **fields: Any) -> ChatInteraction:
    defaults = {"user_id": "ada", "message": "m", "model_used": "x"}
    return ChatInteraction(interaction_id=interaction_id, **(defaults | fields))
