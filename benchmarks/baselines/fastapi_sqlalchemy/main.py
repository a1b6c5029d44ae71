"""The API."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

from database import ApiKey, ChatInteraction, hash_key, new_session
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, status
from schemas import Interaction, NewInteraction, NewInteractions, Page, SavedInteractions
from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession


async def get_session() -> AsyncIterator[AsyncSession]:
    """A session for one request."""
    async with new_session() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def check_key(session: Session, authorization: Annotated[str, Header()] = "") -> None:
    """Refuse a caller without a known key."""
    scheme, _, key = authorization.partition(" ")
    known = scheme == "Bearer" and await session.scalar(
        select(ApiKey.name).where(ApiKey.key_hash == hash_key(key))
    )
    if not known:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Unknown API key.")


app = FastAPI(dependencies=[Depends(check_key)])


@app.get("/api/v1/interactions/{interaction_id}", response_model=Interaction)
async def get_interaction(interaction_id: str, session: Session) -> ChatInteraction:
    """One interaction by id."""
    interaction = await session.get(ChatInteraction, interaction_id)
    if interaction is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such interaction.")
    return interaction


@app.get("/api/v1/users/{user_id}/interactions", response_model=Page)
async def list_interactions(
    request: Request,
    user_id: str,
    session: Session,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before_time: datetime | None = None,
    before_id: str = "",
) -> dict[str, object]:
    """A user's interactions, newest first."""
    position = tuple_(ChatInteraction.created_at, ChatInteraction.interaction_id)
    newest = (
        select(ChatInteraction)
        .where(ChatInteraction.user_id == user_id)
        .order_by(ChatInteraction.created_at.desc(), ChatInteraction.interaction_id.desc())
        .limit(limit + 1)
    )
    if before_time is not None:
        newest = newest.where(position < (before_time, before_id))
    found = (await session.scalars(newest)).all()
    results, next_page = found[:limit], None
    if len(found) > limit:
        last = results[-1]
        next_page = str(
            request.url.include_query_params(
                before_time=last.created_at.isoformat(), before_id=last.interaction_id
            )
        )
    return {"results": results, "next": next_page}


@app.post("/api/v1/interactions", status_code=201, response_model=Interaction)
async def save_interaction(new: NewInteraction, session: Session) -> ChatInteraction:
    """Save one interaction."""
    interaction = ChatInteraction(**new.model_dump(exclude_none=True))
    session.add(interaction)
    await session.commit()
    return interaction


@app.post("/api/v1/interactions/batch", status_code=201, response_model=SavedInteractions)
async def save_interactions(new: NewInteractions, session: Session) -> dict[str, object]:
    """Save many interactions, all or none."""
    interactions = [
        ChatInteraction(**item.model_dump(exclude_none=True)) for item in new.interactions
    ]
    session.add_all(interactions)
    await session.commit()
    return {"results": interactions}
