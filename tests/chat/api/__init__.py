"""The REST API, as a client sees it."""
