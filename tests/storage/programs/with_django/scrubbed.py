"""Scrubs a database again and again while processes with small caches write to it and read it.

Arguments: the number of passes, and a seed. Each row has a token of its own. After each pass the
files are searched for the tokens of what was deleted, and acknowledged, before it began. Prints
what was found as JSON.
"""

import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from django.db import connection, connections

from storage.archive.archive import configured_archive
from storage.large.texts import LargeTexts
from storage.models import ChatInteraction, Lock
from storage.sqlite import scrubbed_database, scrubbing, space
from storage.sqlite.database import SqliteDatabase
from storage.sqlite.statements import Statements
from tests.storage.programs.with_django.tables import create_tables, disconnect

WRITERS = 3
READERS = 2
ROWS = 150
"""Of each writer; so few that pages are often divided and merged."""

TOKEN = re.compile(rb"token[0-9a-f]{16}")


def token(choose: random.Random) -> str:
    return f"token{choose.getrandbits(64):016x}"


def row(choose: random.Random, name: str) -> ChatInteraction:
    now = datetime.now(UTC)
    text = f"{name} " * choose.randrange(1, 80)
    if choose.random() < 0.02:
        text *= 8  # overflow pages
    return ChatInteraction(
        interaction_id=f"{name}-{'i' * choose.randrange(150)}",
        user_id=f"{name}-{'u' * choose.randrange(150)}",
        message=text,
        response=text[: choose.randrange(1, len(text))],
        model_used="model",
        created_at=now,
        updated_at=now,
    )


def write(seed: int, log: Path) -> None:
    """Until it is stopped; then makes sure that all that was acknowledged is there."""
    choose = random.Random(seed)
    database = SqliteDatabase("default", LargeTexts(configured_archive().files))
    kept: dict[str, ChatInteraction] = {}
    changes = 0
    with log.open("w") as deleted:
        while not (log.parent / "stop").exists():
            changes += 1
            what = choose.random()
            if len(kept) < ROWS or what < 0.4:
                rows = [row(choose, token(choose)) for _ in range(choose.randrange(1, 9))]
                database.create_many(rows)
                kept |= {each.interaction_id: each for each in rows}
            elif what < 0.6:
                changed = kept[choose.choice(list(kept))]
                changed.response = changed.message * choose.randrange(3)
                database.update(
                    changed.interaction_id, {"response": changed.response}, None, lambda _: None
                )
            else:
                ids = choose.sample(list(kept), k=choose.randrange(1, 20))
                for interaction_id in ids[:3]:
                    assert database.delete(interaction_id, None)
                users = {kept[interaction_id].user_id for interaction_id in ids[3:]}
                for user_id in users:
                    rows = [each for each in kept.values() if each.user_id == user_id]
                    assert database.remove_of_user(rows, user_id) == len(rows)
                for interaction_id in ids:
                    deleted.write(f"{kept.pop(interaction_id).user_id[:21]}\n")
                deleted.flush()
            if choose.random() < 0.3:
                connection.close()  # as at the end of a request
    for interaction_id, expected in kept.items():
        found = database.read(interaction_id)
        assert found is not None, "a row was lost"
        assert found.same_content(expected), "a row was changed"
    log.with_suffix(".changes").write_text(str(changes))


def read(seed: int, folder: Path) -> None:
    """Snapshots of all kinds: short, long, of a whole index."""
    choose = random.Random(seed)
    statements = Statements("default")
    while not (folder / "stop").exists():
        with statements.snapshot():
            statements.rows(
                "SELECT count(*), sum(length(message)) FROM storage_chatinteraction", {}
            )
            time.sleep(choose.random() * 0.1)
            statements.rows("SELECT max(user_id) FROM storage_chatinteraction", {})
        if choose.random() < 0.3:
            connection.close()
        time.sleep(choose.random() * 0.02)


def kill_another_scrubber(choose: random.Random) -> None:
    """One that is killed somewhere in its pass; the next one goes on with it, or begins anew."""
    disconnect()
    child = os.fork()
    if not child:
        scrubbing.PAGES_AT_ONCE = 10
        scrubbing.CHUNK_BYTES = 16 * 4096
        scrubbing.CHUNKS_AT_ONCE = 1
        while True:
            scrubbed_database.scrub(Statements("default"), datetime.now(UTC), lambda: None)
    time.sleep(choose.random() * 0.5)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def found_in_files() -> set[str]:
    database = str(connections["default"].settings_dict["NAME"])
    found: set[bytes] = set()
    for suffix in ("-wal", ""):  # in this order: what is copied meanwhile is found
        found |= set(TOKEN.findall(Path(f"{database}{suffix}").read_bytes()))
    return {each.decode() for each in found}


def deleted(folder: Path) -> Iterator[str]:
    for log in folder.glob("*.deleted"):
        yield from log.read_text().split()


def main() -> None:
    passes, seed = int(sys.argv[1]), int(sys.argv[2])
    options = connections.settings["default"]["OPTIONS"]
    options["init_command"] += ";PRAGMA cache_size = 30;PRAGMA synchronous = OFF"
    space.prepare(Statements("default"))
    create_tables()
    with connection.schema_editor() as editor:
        editor.create_model(Lock)
    folder = Path(connections["default"].settings_dict["NAME"]).parent / "stress"
    folder.mkdir()
    disconnect()
    children = []
    for number in range(WRITERS + READERS):
        child = os.fork()
        if not child:
            if number < WRITERS:
                write(seed * 100 + number, folder / f"{number}.deleted")
            else:
                read(seed * 100 + number, folder)
            os._exit(0)
        children.append(child)
    statements = Statements("default")
    before, after, gone = 0, 0, set()
    for _ in range(passes):
        time.sleep(0.1)
        gone = set(deleted(folder))
        before += len(found_in_files() & gone)
        kill_another_scrubber(random.Random(seed))
        scrubbed_database.scrub(statements, datetime.now(UTC), lambda: None)
        after += len(found_in_files() & gone)
    (folder / "stop").touch()
    statuses = [os.waitpid(child, 0)[1] for child in children]
    ((integrity,),) = statements.rows("PRAGMA integrity_check", {})
    changes = sum(int(each.read_text()) for each in folder.glob("*.changes"))
    print(
        json.dumps(
            {
                "statuses": statuses,
                "integrity": integrity,
                "changes": changes,
                "deleted": len(gone),
                "before": before,
                "after": after,
            }
        )
    )


if __name__ == "__main__":
    main()
