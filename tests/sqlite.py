"""Connections past Django: an index of interactions needs a function that SQLite lacks."""

import hashlib
import sqlite3
from typing import Any


def sha256(text: Any) -> Any:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def connect(database: Any, **options: Any) -> Any:
    """As `sqlite3.connect`, with the function that the index of answers calls."""
    connection = sqlite3.connect(database, **options)
    connection.create_function("SHA256", 1, sha256, deterministic=True)
    return connection
