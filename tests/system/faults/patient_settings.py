"""Settings of a server that waits for DynamoDB for as long as a test wants it to hang."""

from config.settings import *  # noqa: F403
from storage.dynamodb import client, mirror

mirror.READ_SECONDS = 3600
vars(client).update(READ_SECONDS=3600, WAIT_SECONDS=3600.0)  # where they were imported by name
