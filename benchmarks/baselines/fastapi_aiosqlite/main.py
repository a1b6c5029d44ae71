"""The API: FastAPI without what costs time. Bodies are read by msgspec and written by orjson."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import orjson
from aiosqlite import IntegrityError
from database import FIELDS, Database, Row
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from msgspec import Meta
from uuid_utils import uuid7

KEY_SECONDS = 30
CACHED_SECONDS = 300
CACHED_MAX = 20_000
LIMIT_MAX = 200

database = Database()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """The connections are open while the server runs."""
    await database.open()
    yield
    await database.close()


known_until: dict[str, float] = {}
"""Until when the header of a known key is accepted without a query."""

cached: dict[str, tuple[float, bytes]] = {}
"""The JSON of interactions by id, and until when. Nothing changes one."""


async def check_key(request: Request) -> None:
    """Refuse a caller without a known key."""
    header = request.headers.get("authorization", "")
    if known_until.get(header, 0) > time.monotonic():
        return
    scheme, _, key = header.partition(" ")
    if scheme != "Bearer" or not await database.knows_key(key):
        raise HTTPException(401, "Unknown API key.")
    known_until[header] = time.monotonic() + KEY_SECONDS


app = FastAPI(lifespan=lifespan, dependencies=[Depends(check_key)], openapi_url=None)


class NewInteraction(msgspec.Struct):
    """An interaction to save."""

    user_id: Annotated[str, Meta(min_length=1, max_length=255)]
    message: str
    response: str
    model_used: Annotated[str, Meta(max_length=255)]
    input_tokens: Annotated[int, Meta(ge=0)] = 0
    output_tokens: Annotated[int, Meta(ge=0)] = 0
    interaction_id: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class NewInteractions(msgspec.Struct):
    """Interactions to save together."""

    interactions: Annotated[list[NewInteraction], Meta(min_length=1, max_length=1000)]


decode_one = msgspec.json.Decoder(NewInteraction).decode
decode_many = msgspec.json.Decoder(NewInteractions).decode


@app.get("/api/v1/interactions/{interaction_id}")
async def get_interaction(interaction_id: str) -> Response:
    """One interaction by id."""
    until, content = cached.get(interaction_id, (0.0, b""))
    if until < time.monotonic():
        row = await database.by_id(interaction_id)
        if row is None:
            raise HTTPException(404, "There is no such interaction.")
        content = orjson.dumps(to_dict(row))
        if len(cached) >= CACHED_MAX:
            cached.clear()
        cached[interaction_id] = time.monotonic() + CACHED_SECONDS, content
    return to_json(content)


@app.get("/api/v1/users/{user_id}/interactions")
async def list_interactions(
    request: Request, user_id: str, limit: int = 50, before_time: str = "", before_id: str = ""
) -> Response:
    """A user's interactions, newest first."""
    if not 1 <= limit <= LIMIT_MAX:
        raise HTTPException(422, f"limit must be a whole number from 1 to {LIMIT_MAX}.")
    before = (before_time, before_id) if before_time else None
    rows = await database.newest(user_id, limit + 1, before)
    next_page = None
    if len(rows) > limit:
        last = rows[limit - 1]
        position = {"before_time": last[7], "before_id": last[0]}
        next_page = str(request.url.include_query_params(**position))
    results = [to_dict(row) for row in rows[:limit]]
    return to_json(orjson.dumps({"results": results, "next": next_page}))


@app.post("/api/v1/interactions")
async def save_interaction(request: Request) -> Response:
    """Save one interaction."""
    row = to_row(decoded(decode_one, await request.body()), now())
    await database.insert(row)
    return to_json(orjson.dumps(to_dict(row)), 201)


@app.post("/api/v1/interactions/batch")
async def save_interactions(request: Request) -> Response:
    """Save many interactions, all or none."""
    new, time_text = decoded(decode_many, await request.body()).interactions, now()
    rows = [to_row(interaction, time_text) for interaction in new]
    await database.insert_all(rows)
    return to_json(orjson.dumps({"results": [{"interaction_id": row[0]} for row in rows]}), 201)


@app.exception_handler(IntegrityError)
async def id_taken(_request: Request, _error: Exception) -> Response:
    """An id that a client chose is there already."""
    return to_json(b'{"detail":"An interaction with this id exists."}', 409)


def decoded(decode: Any, body: bytes) -> Any:
    """The body, or a 422 that says what is wrong with it."""
    try:
        return decode(body)
    except msgspec.MsgspecError as error:
        raise HTTPException(422, str(error)) from error


def now() -> str:
    """The time as SQLite keeps it, and sorts it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def to_row(new: NewInteraction, time_text: str) -> Row:
    """What is inserted."""
    return (
        new.interaction_id or str(uuid7()),
        new.user_id,
        new.message,
        new.response,
        new.model_used,
        new.input_tokens,
        new.output_tokens,
        time_text,
        time_text,
    )


def to_dict(row: Row) -> dict[str, Any]:
    """What is sent; times are UTC."""
    found = dict(zip(FIELDS, row, strict=True))
    found["created_at"] = f"{row[7][:10]}T{row[7][11:]}Z"
    found["updated_at"] = f"{row[8][:10]}T{row[8][11:]}Z"
    return found


def to_json(content: bytes, status: int = 200) -> Response:
    """The answer."""
    return Response(content, status, media_type="application/json")
