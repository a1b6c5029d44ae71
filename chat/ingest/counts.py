"""Counts what was kept and left out, for metrics, a line in the log and the admin."""

from chat.ingest.keeping import Taken


def record(source: str, taken: Taken) -> None:
    """Count what has become of one request or import from this source (`otlp`, `litellm`, ...).

    Never raises, and never waits for the database.
    """
    raise NotImplementedError
