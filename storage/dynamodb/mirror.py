"""The PynamoDB models: the attributes, keys and indexes of the table. `items` fills them.

`InteractionItem` mirrors `storage.models.ChatInteraction`; a test checks that they agree. All
indexes hold keys only, and a list then reads the rows from the table, consistently. So a change or
deletion shows at once although the index lags, and a change costs no write to an index. See
docs/decisions/0009-index-keys-only.md.
"""

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.constants import PAY_PER_REQUEST_BILLING_MODE
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection
from pynamodb.models import Model

from storage.dynamodb.transport import DirectConnection

CONNECT_SECONDS = 1
READ_SECONDS = 2
RETRIES = 2
"""With these, a call ends after 6 to 9 s if DynamoDB hangs: three attempts with pauses."""


class OfUser(GlobalSecondaryIndex["InteractionItem"]):
    """A user's interactions in the order of their positions."""

    user_id = UnicodeAttribute(hash_key=True)
    position = UnicodeAttribute(range_key=True)

    class Meta:
        index_name = "of_user"
        projection = KeysOnlyProjection()


class Newest(GlobalSecondaryIndex["InteractionItem"]):
    """All users' interactions in the order of their positions, spread over a few shards."""

    shard = UnicodeAttribute(hash_key=True)
    position = UnicodeAttribute(range_key=True)

    class Meta:
        index_name = "newest"
        projection = KeysOnlyProjection()


class Answers(GlobalSecondaryIndex["InteractionItem"]):
    """The answers that a user got to a message: by model, then in the order of positions."""

    question = UnicodeAttribute(hash_key=True)
    answer = UnicodeAttribute(range_key=True)

    class Meta:
        index_name = "answers"
        projection = KeysOnlyProjection()


class InteractionItem(Model):
    """One interaction. The first nine attributes are those of ChatInteraction.

    DynamoDB charges for names. They are short, except those of keys, which would need new indexes,
    and of what only some items have.
    """

    interaction_id = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute()
    message = UnicodeAttribute(null=True)
    """Only where `texts` would not be smaller, and in items of before. So is `response`."""
    response = UnicodeAttribute(null=True)
    model_used = UnicodeAttribute(attr_name="m")
    input_tokens = NumberAttribute(attr_name="i")
    output_tokens = NumberAttribute(attr_name="o")
    created_at = UnicodeAttribute(null=True)
    """Only in stubs and in items of before. `position` begins with it."""
    updated_at = NumberAttribute(attr_name="u")
    """Microseconds since 1970, which take a third of the bytes of a text."""
    # What the store needs in addition.
    texts = BinaryAttribute(attr_name="t", null=True, legacy_encoding=False)
    """The message and the response, compressed: see `texts.py`."""
    position = UnicodeAttribute()
    """`created_at#interaction_id`: sorts as lists do."""
    shard = UnicodeAttribute()
    """Its part of the index of all users' interactions."""
    expires_at = NumberAttribute()
    """The attribute of the table's TTL: seconds since 1970."""
    version = UnicodeAttribute(attr_name="v")
    """Random, and new with every write, for optimistic locking of updates and deletions."""
    saved_as = UnicodeAttribute(attr_name="s")
    """The version from the last save of the whole row. With it, a save or creation recognizes its
    own row, even if that was updated since."""
    question = UnicodeAttribute(null=True)
    """A hash of the user and the message. Missing while there is no response, so that the index of
    answers has only answers."""
    answer = UnicodeAttribute(null=True)
    """A hash of the model, and the position: sorts by model, then by time."""
    text_object = UnicodeAttribute(null=True)
    """Names the object that has large texts, and says which of both: stand-ins are in the item."""
    archived_in = UnicodeAttribute(null=True)
    """The segment of the archive that has the interaction. Only a stub has this attribute, and no
    others than `interaction_id`, `created_at`, `expires_at`, `version` and, since 0.3,
    `model_used`."""

    of_user = OfUser()
    newest = Newest()
    answers = Answers()


class IdempotencyItem(Model):
    """What an idempotency key created. In the same table, under a key that cannot be an id."""

    interaction_id = UnicodeAttribute(hash_key=True)
    """`PREFIX` and the hash of the idempotency key."""
    request = UnicodeAttribute()
    made = UnicodeAttribute()
    expires_at = NumberAttribute()
    user_id = UnicodeAttribute()
    """The user of that interaction. With `position`, it puts the record in the index `of_user`."""
    position = UnicodeAttribute()
    """`POSITION` and a hash. It sorts before all times, so an erasure finds it and no list does."""

    POSITION = "#"
    PREFIX = "\x1fidempotency#"
    """No interaction's id contains a control character."""


def bound(
    table: str, aws_region: str, endpoint_url: str, connections: int
) -> type[InteractionItem]:
    """Returns the model of the interactions in one table."""

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

    table_connection = BoundItem._get_connection()
    meta_table = table_connection.get_meta_table()
    table_connection.connection = DirectConnection(
        region=aws_region,
        host=endpoint_url or None,
        connect_timeout_seconds=CONNECT_SECONDS,
        read_timeout_seconds=READ_SECONDS,
        max_retry_attempts=RETRIES,
        max_pool_connections=connections,
    )
    table_connection.connection.add_meta_table(meta_table)
    return BoundItem
