"""Roll-ups of usage in SQLite. Triggers keep them, in the transaction of each change.

They are in migration 0010 and decision 0039. Here is what they cannot know.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from storage.models import ArchivedInteraction, ChatInteraction, UsageRebuild
from storage.models.usage import UsageOfModel, UsageOfUser
from storage.sqlite.statements import Statements

_STUBS = ArchivedInteraction._meta.db_table

_LESS = """
    interactions = interactions - 1, unanswered = unanswered - (:response = ''),
    input_tokens = input_tokens - :input_tokens, output_tokens = output_tokens - :output_tokens
"""

_UNCOUNT_OF_MODEL = f"""
    UPDATE {UsageOfModel._meta.db_table} SET {_LESS}
    WHERE day = substr(:created_at, 1, 10) AND model_used = :model_used
"""  # noqa: S608  (names)

_UNCOUNT_OF_USER = f"""
    UPDATE {UsageOfUser._meta.db_table} SET {_LESS}
    WHERE day = substr(:created_at, 1, 10) AND user_id = :user_id AND model_used = :model_used
"""  # noqa: S608  (names)

_COMPLETE_STUB = f"""
    UPDATE {_STUBS} SET model_used = :model_used
    WHERE interaction_id = :interaction_id AND segment = :segment AND model_used IS NULL
"""  # noqa: S608  (names)

_INCOMPLETE = f"""
    SELECT interaction_id FROM {_STUBS} WHERE model_used IS NULL AND segment = :segment
    AND interaction_id IN (SELECT value FROM json_each(:ids))
"""  # noqa: S608  (names)


def complete_until(alias: str) -> datetime | None:
    """See `Database.count_usage`."""
    now = datetime.now(UTC)
    return None if UsageRebuild.objects.using(alias).exists() else now


def uncount_returned(statements: Statements, rows: Sequence[dict[str, Any]]) -> None:
    """Take back that these rows were counted as new. Call it in the transaction of a return."""
    statements.many(_UNCOUNT_OF_MODEL, rows)
    statements.many(_UNCOUNT_OF_USER, rows)


def complete_stubs(
    statements: Statements, interactions: Sequence[ChatInteraction], segment: str
) -> None:
    """See `Database.complete_stubs`. Takes the write lock only if there is something to do."""
    models = {row.interaction_id: row.model_used for row in interactions}
    found = statements.rows(_INCOMPLETE, {"segment": segment, "ids": json.dumps(list(models))})
    if found:
        rows = [
            {"interaction_id": key, "segment": segment, "model_used": models[key]}
            for (key,) in found
        ]
        statements.transaction(lambda: statements.many(_COMPLETE_STUB, rows))
