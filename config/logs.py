"""What may stand in the log."""

import logging


class RouteInsteadOfPath(logging.Filter):
    """Names the route of a request and not its path, which can hold a user's id."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Django logs `(reason, path)`; the path goes."""
        request = getattr(record, "request", None)
        if request is not None and isinstance(record.args, tuple) and len(record.args) == 2:
            route = getattr(request.resolver_match, "route", None) or "(no route)"
            record.args = (record.args[0], route)
        return True
