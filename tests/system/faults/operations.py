"""Each operation of the store, and what it must tell and leave when it is done once."""

from dataclasses import dataclass
from typing import Any

from storage.interface import Storage
from storage.models import ChatInteraction
from storage.models.idempotency import Idempotency
from storage.records.outcomes import Outcome
from storage.records.pages import PageQuery
from tests.contract.calls import at, fields

KEY = Idempotency("k" * 64, "r" * 64)
BATCH = [f"i{number:02}" for number in range(30)]
"""More than fit in one request."""

MESSAGE, RESPONSE = "the-message-of-a-user", "the-answer-of-a-model"


def new(interaction_id: str = "i", **values: Any) -> Any:
    defaults = {
        "user_id": "ada",
        "message": MESSAGE,
        "response": RESPONSE,
        "model_used": "m",
        "input_tokens": 5,
        "created_at": at(),
        "updated_at": at(),
    }
    return ChatInteraction(interaction_id=interaction_id, **(defaults | values))


def batch() -> list[Any]:
    return [new(name) for name in BATCH]


def everything(storage: Storage) -> dict[str, Any]:
    """All that is stored, by id, without the times that the store sets."""
    rows = storage.list_interactions_sync(PageQuery(limit=100)).interactions
    return {
        row.interaction_id: {k: v for k, v in fields(row).items() if k != "updated_at"}
        for row in rows
    }


def holding(*interactions: Any) -> dict[str, Any]:
    return {
        each.interaction_id: {k: v for k, v in fields(each).items() if k != "updated_at"}
        for each in interactions
    }


@dataclass(frozen=True)
class Operation:
    """`call` does it. It must tell `told` and leave `left`, by `effects` requests of `wire`."""

    name: str
    wire: str
    call: object
    told: object
    left: dict
    before: tuple = ()
    """What is stored already."""
    effects: int = 1

    def prepare(self, storage: Storage) -> None:
        for interaction in self.before:
            storage.save_interaction_sync(interaction)

    def __str__(self) -> Any:
        return self.name


def _create(storage: Storage, idempotency: Any = None) -> tuple[Any, ...]:
    stored, created = storage.create_interaction_sync(new(), idempotency)
    return stored.interaction_id, created


def _update(storage: Storage) -> Any:
    found = storage.update_interaction_sync("i", {"output_tokens": 9})
    return found and found.output_tokens


def _replace(storage: Storage, **values: Any) -> Any:
    given = new(message="new", **values)
    storage.save_interaction_sync(given)
    return given.created_at


WRITES = [
    Operation("save", "UpdateItem", lambda s: s.save_interaction_sync(new()), None, holding(new())),
    Operation(
        "replace", "UpdateItem", _replace, at(), holding(new(message="new")), before=(new(),)
    ),
    Operation(
        "replace a later one",
        "UpdateItem",
        lambda s: _replace(s, created_at=at(hours=1)),
        at(),
        holding(new(message="new")),
        before=(new(),),
    ),
    Operation("create", "PutItem", _create, ("i", True), holding(new())),
    Operation(
        "create once",
        "TransactWriteItems",
        lambda s: _create(s, KEY),
        ("i", True),
        holding(new()),
    ),
    Operation(
        "create many",
        "BatchExecuteStatement",
        lambda s: s.create_interactions_sync(batch()),
        [Outcome.CREATED] * len(BATCH),
        holding(*batch()),
        effects=len(BATCH),
    ),
    Operation(
        "update",
        "UpdateItem",
        _update,
        9,
        holding(new(output_tokens=9)),
        before=(new(),),
    ),
    Operation(
        "delete",
        "DeleteItem",
        lambda s: s.delete_interaction_sync("i"),
        True,
        {},
        before=(new(),),
    ),
]


def _get(storage: Storage) -> Any:
    return storage.get_interaction_sync("i").message


def _list(storage: Storage) -> tuple[Any, ...]:
    page = storage.list_user_interactions_sync("ada", PageQuery(limit=20))
    return len(page.interactions), page.next_cursor is not None


READS = [
    Operation("get", "GetItem", _get, MESSAGE, holding(new()), before=(new(),)),
    Operation("list", "Query", _list, (20, True), holding(*batch()), before=tuple(batch())),
    Operation(
        "list's rows", "BatchGetItem", _list, (20, True), holding(*batch()), before=tuple(batch())
    ),
]
