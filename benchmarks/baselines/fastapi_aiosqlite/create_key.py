"""Create the tables, and a key that may call. Prints the key: `python create_key.py NAME`."""

import os
import secrets
import sqlite3
import sys
from contextlib import closing

from database import SCHEMA, hash_key

if __name__ == "__main__":
    key = secrets.token_urlsafe(32)
    with closing(sqlite3.connect(os.environ["DATABASE_PATH"])) as connection:
        connection.executescript(SCHEMA)
        connection.execute("INSERT INTO api_keys VALUES (?, ?)", (hash_key(key), sys.argv[1]))
        connection.commit()
    print(key)
