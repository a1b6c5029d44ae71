"""Connections past Django, as other programs have them."""

import sqlite3
from typing import Any


def connect(database: Any, **options: Any) -> Any:
    """As `sqlite3.connect`, of the library that the application uses."""
    return sqlite3.connect(database, **options)
