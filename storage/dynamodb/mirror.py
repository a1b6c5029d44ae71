"""The PynamoDB models: what the table holds, and its keys and indexes. `items` fills them.

`InteractionItem` mirrors `storage.models.ChatInteraction`, and a test holds the two together.
All indexes hold keys only. A list reads the rows themselves from the table, consistently:
what was changed or deleted shows at once, whatever the index still says, and a change of an
interaction costs no write to an index. See docs/decisions.
"""

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.constants import PAY_PER_REQUEST_BILLING_MODE
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection
from pynamodb.models import Model

CONNECT_SECONDS = 1
READ_SECONDS = 2
RETRIES = 2
"""A call to a DynamoDB that hangs ends after 6 to 9 s: three attempts and the pauses between."""


class OfUser(GlobalSecondaryIndex["InteractionItem"]):
    """A user's interactions in the order of their positions."""

    user_id = UnicodeAttribute(hash_key=True)
    position = UnicodeAttribute(range_key=True)

    class Meta:
        index_name = "of_user"
        projection = KeysOnlyProjection()


class Newest(GlobalSecondaryIndex["InteractionItem"]):
    """Everyone's interactions in the order of their positions, spread over a few shards."""

    shard = UnicodeAttribute(hash_key=True)
    position = UnicodeAttribute(range_key=True)

    class Meta:
        index_name = "newest"
        projection = KeysOnlyProjection()


class Answers(GlobalSecondaryIndex["InteractionItem"]):
    """The answers that a user got to one message: by model, then in the order of positions."""

    question = UnicodeAttribute(hash_key=True)
    answer = UnicodeAttribute(range_key=True)

    class Meta:
        index_name = "answers"
        projection = KeysOnlyProjection()


class InteractionItem(Model):
    """One interaction. The first nine attributes are those of ChatInteraction."""

    interaction_id = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute()
    message = UnicodeAttribute()
    response = UnicodeAttribute()
    model_used = UnicodeAttribute()
    input_tokens = NumberAttribute()
    output_tokens = NumberAttribute()
    created_at = UnicodeAttribute()
    updated_at = UnicodeAttribute()
    # What the store needs besides.
    position = UnicodeAttribute()
    """`created_at#interaction_id`: sorts as lists are sorted."""
    shard = UnicodeAttribute()
    """Which part of the index of everyone's interactions it is in."""
    expires_at = NumberAttribute()
    """The attribute of the table's TTL: seconds since 1970."""
    version = UnicodeAttribute()
    """Random, new with each write: tells an update or a deletion that nobody came between."""
    saved_as = UnicodeAttribute()
    """The version that the last save of the whole row gave it: tells a save or a creation its own,
    though the row was completed since."""
    question = UnicodeAttribute(null=True)
    """A hash of the user and the message. Not there while there is no response, so that the
    index of answers has only answers."""
    answer = UnicodeAttribute(null=True)
    """A hash of the model and the position: sorts as answers are looked for."""
    archived_in = UnicodeAttribute(null=True)
    """The segment of the archive that has the interaction. Only a stub has it, and nothing besides
    `interaction_id`, `created_at`, `expires_at` and `version`."""

    of_user = OfUser()
    newest = Newest()
    answers = Answers()


class IdempotencyItem(Model):
    """What an idempotency key has made. Lies in the same table, under a key that is no id."""

    interaction_id = UnicodeAttribute(hash_key=True)
    """`PREFIX` and the hash of the idempotency key."""
    request = UnicodeAttribute()
    made = UnicodeAttribute()
    expires_at = NumberAttribute()
    user_id = UnicodeAttribute()
    """Of what was made; with `position`, it puts the record in the index `of_user`."""
    position = UnicodeAttribute()
    """`POSITION` and a hash: before all times, where no list looks, and erasure does."""

    POSITION = "#"
    PREFIX = "\x1fidempotency#"
    """An interaction's id has no control character, so the two never meet."""


def bound(
    table: str, aws_region: str, endpoint_url: str, connections: int
) -> type[InteractionItem]:
    """The model of the interactions in one table."""

    class BoundItem(InteractionItem):
        class Meta:
            table_name = table
            region = aws_region
            host = endpoint_url or None
            billing_mode = PAY_PER_REQUEST_BILLING_MODE
            connect_timeout_seconds = CONNECT_SECONDS
            read_timeout_seconds = READ_SECONDS
            max_retry_attempts = RETRIES
            max_pool_connections = connections

    return BoundItem
