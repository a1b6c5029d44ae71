"""Items as versions up to 0.3 wrote them: long names, plain texts, the time twice."""

import math

from storage import expiry
from storage.dynamodb import items
from storage.dynamodb.items import Item
from storage.models import ChatInteraction
from storage.records.json import format_time


def to_old_item(interaction: ChatInteraction, version: str = "old-version") -> Item:
    """All attributes of an interaction, as `items.to_item` gave them then."""
    item = {
        "interaction_id": {"S": interaction.interaction_id},
        "user_id": {"S": interaction.user_id},
        "message": {"S": interaction.message},
        "response": {"S": interaction.response},
        "model_used": {"S": interaction.model_used},
        "input_tokens": {"N": str(interaction.input_tokens)},
        "output_tokens": {"N": str(interaction.output_tokens)},
        "created_at": {"S": format_time(interaction.created_at)},
        "updated_at": {"S": format_time(interaction.updated_at)},
        "position": {"S": items.position(interaction.created_at, interaction.interaction_id)},
        "shard": {"S": items.shard(interaction.interaction_id, items.FIRST_SHARDS)},
        "expires_at": {
            "N": str(math.ceil(interaction.created_at.timestamp() + expiry.lifetime_seconds()))
        },
        "version": {"S": version},
        "saved_as": {"S": version},
    }
    if interaction.response:
        model = items.model_hash(interaction.model_used)
        item["question"] = {"S": items.question(interaction.user_id, interaction.message)}
        item["answer"] = {"S": f"{model}#{item['position']['S']}"}
    return item


def to_old_stub(interaction: ChatInteraction, segment: str, version: str = "old-version") -> Item:
    """The stub of a cold interaction; before 0.3 it had no model."""
    item = to_old_item(interaction, version)
    kept = ("interaction_id", "created_at", "expires_at", "version", "model_used")
    return {name: item[name] for name in kept} | {"archived_in": {"S": segment}}
