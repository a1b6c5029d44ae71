"""Two processes write, and are killed at any moment; then others go on. Is usage what is stored?

Argument: `triggers`, or `afterwards` for a control that counts what it creates after the commit, as
a program does that has no triggers, and is killed in between. Prints what is stored
and what is counted, as JSON.
"""

import itertools
import json
import os
import signal
import sys
from datetime import UTC, datetime

from django.db import connection

from storage import get_storage
from storage.models import ArchivedInteraction, ChatInteraction, UsageOfModel, UsageOfUser
from storage.startup.schema import migrate_under_lock
from tests.storage.programs.with_django.tables import disconnect

PROCESSES = 2
ROUNDS = 2
AT = datetime.now(UTC).replace(hour=12)
SEGMENT = f"{AT:%F}/segment"
MODELS = "a", "b"
KILLED_BEFORE_IT_COUNTS = "0-0"

COUNT = """
    UPDATE storage_usageofmodel SET interactions = interactions + %s, hot = hot + %s
    WHERE model_used = %s
"""


def rows(name: str, count: int) -> list[ChatInteraction]:
    return [
        ChatInteraction(
            interaction_id=f"{name}-{number}",
            user_id=f"user-{number % 3}",
            message="m",
            response="r" * (number % 2),
            model_used=MODELS[number % 2],
            input_tokens=number,
            created_at=AT,
            updated_at=AT,
        )
        for number in range(count)
    ]


def write(name: str, told: int, counts: bool) -> None:
    """For ever: create, complete, archive, make hot again. A byte tells of each step."""
    storage = get_storage()
    for number in itertools.count():
        some = rows(f"{name}-{number}", 20)
        storage.create_interactions_sync(some)
        os.write(told, b".")
        if counts:
            if name == KILLED_BEFORE_IT_COUNTS and number == 1:
                signal.pause()
            with connection.cursor() as cursor:
                for model in MODELS:
                    cursor.execute(COUNT, [10, 10, model])
        storage.update_interaction_sync(some[0].interaction_id, {"input_tokens": number})
        os.write(told, b".")
        storage.move_to_cold(some[1:], SEGMENT)
        os.write(told, b".")
        storage.return_from_cold(some[5:], SEGMENT)
        os.write(told, b".")


def kill_two_writers(turn: int, counts: bool) -> None:
    """Two processes; each is killed when it has told of some steps."""
    children = []
    for process in range(PROCESSES):
        hears, tells = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(hears)
            write(f"{turn}-{process}", tells, counts)
        os.close(tells)
        children.append((child, hears))
    for process, (child, hears) in enumerate(children):
        for _ in range(5 + 5 * turn + process):
            assert os.read(hears, 1), "it has ended by itself"
        os.kill(child, signal.SIGKILL)
        os.close(hears)
    for child, _ in children:
        os.waitpid(child, 0)


def found() -> dict[str, dict[str, list[int]]]:
    """By model: interactions, the same as the sum of all users, hot, cold."""
    stored, counted = {}, {}
    for model in MODELS:
        hot = ChatInteraction.objects.filter(model_used=model)
        cold = ArchivedInteraction.objects.filter(model_used=model)
        stored[model] = [hot.count() + cold.count()] * 2 + [hot.count(), cold.count()]
        usage = UsageOfModel.objects.get(model_used=model)
        users = UsageOfUser.objects.filter(model_used=model)
        of_users = sum(users.values_list("interactions", flat=True))
        counted[model] = [usage.interactions, of_users, usage.hot, usage.cold]
    return {"stored": stored, "counted": counted}


def main() -> None:
    migrate_under_lock()
    afterwards = sys.argv[1] == "afterwards"
    get_storage().create_interactions_sync(rows("first", 2))
    if afterwards:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER usage_created")
    disconnect()
    for turn in range(1 if afterwards else ROUNDS):
        kill_two_writers(turn, afterwards)
    print(json.dumps(found()))


if __name__ == "__main__":
    main()
