"""How chat interactions are kept: one interface, the same behaviour on every backend."""

from storage.startup.selection import get_storage

__all__ = ["get_storage"]
