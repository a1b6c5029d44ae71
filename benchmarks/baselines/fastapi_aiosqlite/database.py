"""The tables, the statements, and the two connections: one reads, one writes."""

import asyncio
import hashlib
import os
from typing import Any

import aiosqlite

FIELDS = (
    "interaction_id",
    "user_id",
    "message",
    "response",
    "model_used",
    "input_tokens",
    "output_tokens",
    "created_at",
    "updated_at",
)
SCHEMA = """
PRAGMA journal_mode=WAL;
CREATE TABLE chat_interactions (
    interaction_id VARCHAR(255) NOT NULL PRIMARY KEY,
    user_id VARCHAR(255) NOT NULL,
    message TEXT NOT NULL,
    response TEXT NOT NULL,
    model_used VARCHAR(255) NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX of_user ON chat_interactions (user_id, created_at, interaction_id);
CREATE INDEX newest ON chat_interactions (created_at, interaction_id);
CREATE INDEX answer ON chat_interactions (
    user_id, length(message), substr(message, 1, 16), substr(message, -16),
    model_used, created_at, interaction_id
) WHERE response <> '';
CREATE TABLE api_keys (key_hash VARCHAR(64) NOT NULL PRIMARY KEY, name VARCHAR(50) NOT NULL);
"""

_COLUMNS = ", ".join(FIELDS)
_BY_ID = f"SELECT {_COLUMNS} FROM chat_interactions WHERE interaction_id = ?"
_NEWEST = f"""
SELECT {_COLUMNS} FROM chat_interactions WHERE user_id = ?
ORDER BY created_at DESC, interaction_id DESC LIMIT ?
"""
_NEWEST_BEFORE = f"""
SELECT {_COLUMNS} FROM chat_interactions
WHERE user_id = ? AND (created_at, interaction_id) < (?, ?)
ORDER BY created_at DESC, interaction_id DESC LIMIT ?
"""
_INSERT = f"INSERT INTO chat_interactions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"

Row = tuple[Any, ...]
"""The values of FIELDS, in their order."""


def hash_key(key: str) -> str:
    """How a key is kept."""
    return hashlib.sha256(key.encode()).hexdigest()


class Database:
    """Reads do not wait for the disk, as they have a connection, and so a thread, of their own.

    Statements are prepared once: sqlite3 keeps them by their text. Each call is one pass to the
    connection's thread and back where that is possible.
    """

    async def open(self) -> None:
        """Connect. FULL, so that an acknowledged commit survives a power loss."""
        path = os.environ["DATABASE_PATH"]
        self._reader = await aiosqlite.connect(path, isolation_level=None, timeout=20)
        self._writer = await aiosqlite.connect(path, isolation_level=None, timeout=20)
        await self._writer.execute("PRAGMA synchronous=FULL")
        await self._writer.execute("PRAGMA wal_autocheckpoint=4000")
        self._writing = asyncio.Lock()

    async def close(self) -> None:
        """Disconnect."""
        await self._reader.close()
        await self._writer.close()

    async def knows_key(self, key: str) -> bool:
        """Whether this is a key that may call."""
        sql = "SELECT 1 FROM api_keys WHERE key_hash = ?"
        return bool(await self._reader.execute_fetchall(sql, (hash_key(key),)))

    async def by_id(self, interaction_id: str) -> Row | None:
        """One interaction."""
        rows = list(await self._reader.execute_fetchall(_BY_ID, (interaction_id,)))
        return rows[0] if rows else None

    async def newest(self, user_id: str, limit: int, before: tuple[str, str] | None) -> list[Row]:
        """A user's interactions, newest first, older than a time and an id."""
        if before is None:
            found = await self._reader.execute_fetchall(_NEWEST, (user_id, limit))
        else:
            parameters = (user_id, *before, limit)
            found = await self._reader.execute_fetchall(_NEWEST_BEFORE, parameters)
        return list(found)

    async def insert(self, row: Row) -> None:
        """Commit one row."""
        async with self._writing:
            await self._writer.execute(_INSERT, row)

    async def insert_all(self, rows: list[Row]) -> None:
        """Commit all rows, or none."""
        async with self._writing:
            await self._writer.execute("BEGIN IMMEDIATE")
            try:
                await self._writer.executemany(_INSERT, rows)
                await self._writer.execute("COMMIT")
            except BaseException:
                await self._writer.execute("ROLLBACK")
                raise
