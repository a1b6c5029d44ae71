"""Create the tables, and a key that may call. Prints the key: `python create_key.py NAME`."""

import asyncio
import secrets
import sys

from database import ApiKey, Base, engine, hash_key, new_session


async def create_key(name: str) -> str:
    """A new key, which is known from now on."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    key = secrets.token_urlsafe(32)
    async with new_session() as session:
        session.add(ApiKey(key_hash=hash_key(key), name=name))
        await session.commit()
    await engine.dispose()
    return key


if __name__ == "__main__":
    print(asyncio.run(create_key(sys.argv[1])))
