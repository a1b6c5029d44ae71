"""The tables, and the engine that reaches them."""

import hashlib
import os
import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Index, String, Text, event
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """SQLite keeps no offset: kept in UTC, read as UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """As SQLite keeps it."""
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """As Python uses it."""
        return value and value.replace(tzinfo=UTC)


def new_id() -> str:
    """A random id."""
    return str(uuid.uuid4())


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """What the tables share."""


class ChatInteraction(Base):
    """One question to a language model and its answer."""

    __tablename__ = "chat_interactions"

    interaction_id: Mapped[str] = mapped_column(String(255), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(String(255))
    message: Mapped[str] = mapped_column(Text)
    response: Mapped[str] = mapped_column(Text)
    model_used: Mapped[str] = mapped_column(String(255))
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, onupdate=now)

    __table_args__ = (Index("user_created", "user_id", "created_at", "interaction_id"),)


class ApiKey(Base):
    """Who may call. The key itself is not kept."""

    __tablename__ = "api_keys"

    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


def hash_key(key: str) -> str:
    """How a key is kept."""
    return hashlib.sha256(key.encode()).hexdigest()


engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ.get('DATABASE_PATH', 'db.sqlite3')}")
new_session = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def configure(connection: Any, record: Any) -> None:
    """WAL for concurrency; FULL so that an acknowledged commit survives a power loss."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
