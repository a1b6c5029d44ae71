"""Settings of a command that waits for a tenth of the time for DynamoDB."""

from config.settings import *  # noqa: F403
from storage.dynamodb import mirror

vars(mirror).update(READ_SECONDS=0.2)
