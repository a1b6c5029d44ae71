"""Keeping personal data out of the log, and what it has already."""

import logging

REFUSALS = {
    "DisallowedHost": "A request was refused: its header Host is none of ALLOWED_HOSTS.",
    "TooManyFieldsSent": "A request was refused: it has too many fields.",
    "RequestDataTooBig": "A request was refused: its body is too large.",
}
"""What is logged of requests that Django refuses, by the kind of the refusal."""


class RouteInsteadOfPath(logging.Filter):
    """Logs the route of a request instead of its path, which can contain a user id."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the path wherever Django's records have it among their arguments. Keeps all."""
        request = getattr(record, "request", None)
        if request is not None and isinstance(record.args, tuple):
            route = getattr(request.resolver_match, "route", None) or "(no route)"
            shown = route.strip("^$?")
            record.args = tuple(shown if each == request.path else each for each in record.args)
        return True


class OnlyDefects(logging.Filter):
    """Keeps, of Django's records of responses, those of exceptions that nobody has handled.

    All others would say again what the line of the request says: its route and its status.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be logged."""
        return record.levelno >= logging.ERROR and record.exc_info is not None


class OneLine(logging.Filter):
    """Logs a request that Django refuses, and any client can send, as one line: no traceback.

    Django would quote what the client has sent.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the text of the record. Keeps all."""
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        kind = record.name.rpartition(".")[2]
        record.msg, record.args = REFUSALS.get(kind, f"A request was refused: {kind}."), ()
        return True
