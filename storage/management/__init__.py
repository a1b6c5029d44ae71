"""Management commands that belong to one backend, which `chat` may not name."""
