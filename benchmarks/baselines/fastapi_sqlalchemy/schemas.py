"""What the API takes and gives."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class NewInteraction(BaseModel):
    """An interaction to save."""

    interaction_id: str | None = Field(default=None, min_length=1, max_length=255)
    user_id: str = Field(min_length=1, max_length=255)
    message: str
    response: str
    model_used: str = Field(max_length=255)
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)


class Interaction(BaseModel):
    """An interaction that is saved."""

    model_config = ConfigDict(from_attributes=True)

    interaction_id: str
    user_id: str
    message: str
    response: str
    model_used: str
    input_tokens: int
    output_tokens: int
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    """One page of interactions, newest first, and where the next is."""

    results: list[Interaction]
    next: str | None


class NewInteractions(BaseModel):
    """Interactions to save together."""

    interactions: list[NewInteraction] = Field(min_length=1, max_length=100)


class Saved(BaseModel):
    """The id of an interaction that was saved."""

    model_config = ConfigDict(from_attributes=True)

    interaction_id: str


class SavedInteractions(BaseModel):
    """The ids of interactions that were saved together, in their order."""

    results: list[Saved]
