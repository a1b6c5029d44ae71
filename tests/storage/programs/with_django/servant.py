"""A process with a LocalStorage, which does as it is told: one JSON array a line, `[what, ...]`.

Answers each line with JSON. The argument `create` lets it create the tables.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from django.core.cache import caches

from storage import get_storage
from tests.storage.programs.with_django.tables import create_tables, interaction


def save(interaction_id: str, message: str) -> None:
    get_storage().save_interaction_sync(interaction(interaction_id, message=message, response="r"))


def read(interaction_id: str) -> Any:
    found = get_storage().get_interaction_sync(interaction_id)
    return found and found.message


def remove(interaction_id: str) -> Any:
    """The row goes, as in an erasure; nothing else."""
    row = get_storage().get_interaction_sync(interaction_id)
    return get_storage().erase_hot([row], row.user_id)


def remembers(text: str) -> bool:
    """Whether it is anywhere in the memory of the cache, expired or not."""
    memory: Any = caches["default"]
    kept = [
        value if isinstance(value, str) else value[1].json.decode()
        for value in memory._cache.values()
    ]
    return any(text in value for value in kept)


DO: dict[str, Callable[..., Any]] = {
    "save": save,
    "read": read,
    "remove": remove,
    "remembers": remembers,
    "set": lambda key, value: get_storage().cache_set_sync(key, value, 60),
    "get": lambda key: get_storage().cache_get_sync(key),
    "forget": lambda user_id: get_storage().forget_user(user_id),
}


def main() -> None:
    if "create" in sys.argv:
        create_tables()
    print("ready", flush=True)
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        print(json.dumps(DO[what](*arguments)), flush=True)


if __name__ == "__main__":
    main()
