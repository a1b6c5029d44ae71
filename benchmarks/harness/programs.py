"""What `growth.py` needs inside the application: each is a process of its own.

    python benchmarks/harness/programs.py NAME ARGUMENTS

The last line that one prints is its result in JSON.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import config  # noqa: F401  (before sqlite3)
from tests.sqlite import connect
from tests.system.growth import filling
from tests.system.growth.filling import Content

HEAVY = "heavy"


def unpacked(*ids: str) -> Any:
    """Bytes that are decompressed for one cold read by id: the mean and the most."""
    from storage import get_storage
    from storage.compat import zstd

    lengths: list[int] = []
    decompress = zstd.decompress

    def counting(content: Any, *args: Any, **options: Any) -> bytes:
        found = decompress(content, *args, **options)
        lengths[-1] += len(found)
        return found

    zstd.decompress = counting
    storage = get_storage()
    for identifier in ids:
        lengths.append(0)
        if storage.get_interaction_sync(identifier) is None:
            raise RuntimeError("A cold row cannot be read.")
    if not all(lengths):
        raise RuntimeError("Rows are decompressed in another way: count that.")
    return {"mean": sum(lengths) / len(lengths), "most": max(lengths)}


def hold(first: str, count: str) -> Any:
    """Legal holds on so many users; returns the bytes of their documents."""
    from chat.maintenance import holds
    from storage import get_storage

    os.fsync = lambda descriptor: None
    files = get_storage().archive.files
    for number in range(int(first), int(first) + int(count)):
        found = holds.Hold("user", f"held-{number}", "benchmark", datetime.now(UTC))
        holds.put(get_storage().archive, found)
    return {"bytes": len(files.read(found.name)) * int(count)}


def request(first: str, count: str) -> Any:
    """Pending erasures of so many unknown users; the CPU seconds of one, mean of the last 20."""
    from chat.maintenance.erasure import erasing
    from storage import get_storage

    os.fsync = lambda descriptor: None
    storage, seconds = get_storage(), []
    for number in range(int(first), int(first) + int(count)):
        before = time.process_time()
        erasing.request(storage, f"nobody-{number}", "benchmark")
        seconds.append(time.process_time() - before)
    last = seconds[-20:]
    return {"seconds": sum(last) / len(last)}


def heavy(rows: str) -> Any:
    """Hot rows of one user, as fast as SQLite takes them."""
    content = Content(int(rows), datetime.now(UTC))
    database = _database()
    database.execute("PRAGMA synchronous=OFF")
    database.execute("PRAGMA cache_size=-262144")
    database.execute("BEGIN")
    rows_of_one = (_of_heavy(filling.parameters(content, n)) for n in filling.hot(content))
    database.executemany(filling.INSERT_ROW, rows_of_one)
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return {"rows": len(filling.hot(content))}


def _of_heavy(parameters: tuple[Any, ...]) -> tuple[Any, ...]:
    identifier, _, *others = parameters
    return (f"heavy-{identifier}", HEAVY, *others)


def restored(*users: str) -> Any:
    """What a restored database has of users who were erased, and archived rows that it lacks.

    Each archived row that has not expired has a stub, or is hot again if it was archived since the
    backup.
    """
    from storage import expiry, get_storage

    cutoff = expiry.cutoff()
    archive, database = get_storage().archive, _database()
    manifests = [manifest for day in archive.days() for manifest in archive.manifests(day)]
    newest = filling.to_text(max(manifest.newest for manifest in manifests))
    places = ", ".join("?" * len(users))

    def count(table: str, where: str, *parameters: str) -> int:
        sql = f"SELECT count(*) FROM storage_{table} WHERE {where}"
        return int(database.execute(sql, parameters).fetchone()[0])

    hot_again = count("chatinteraction", "created_at <= ?", newest)
    stubs = count("archivedinteraction", "created_at > ?", filling.to_text(cutoff))
    erased = count("chatinteraction", f"user_id IN ({places})", *users)
    database.close()
    cold = sum(manifest.count - manifest.count_until(cutoff) for manifest in manifests)
    return {"erased": erased, "missing": cold - stubs - hot_again}


def old_version(seconds: str) -> Any:
    """Four writers and four readers of a database that is not migrated yet, and their waits.

    They use the engine as servers of the version before do, until standard input ends.
    """
    from django.db import connection, connections

    waits, ended = {"writers": 0.0, "readers": 0.0}, threading.Event()
    failed: list[str] = []
    content = Content(1_000_000, datetime.now(UTC))

    def go_on(kind: str, execute: Callable[[int], Any]) -> None:
        number = 0
        while not ended.wait(0.1):
            started = time.monotonic()
            try:
                execute(number)
            except Exception as error:
                failed.append(str(error))
            waits[kind] = max(waits[kind], time.monotonic() - started)
            connections.close_all()
            number += 1

    def writer(client: int) -> Callable[[int], Any]:
        def write(number: int) -> None:
            row = _of_heavy(filling.parameters(content, 10_000 * client + number))
            with connection.cursor() as cursor:
                sql = filling.INSERT_ROW.replace("?", "%s")
                cursor.execute(sql, (f"{client}-{number}-{time.time()}", *row[1:]))

        return write

    def read(number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM storage_chatinteraction LIMIT 50").fetchall()

    threads = [threading.Thread(target=go_on, args=("writers", writer(n))) for n in range(4)]
    threads += [threading.Thread(target=go_on, args=("readers", read)) for _ in range(4)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    return waits | {"failed": failed[:3]}


def _database() -> Any:
    from django.db import connections

    return connect(connections.settings["default"]["NAME"], isolation_level=None, timeout=60)


PROGRAMS: dict[str, Callable[..., Any]] = {
    each.__name__: each for each in (unpacked, hold, request, heavy, restored, old_version)
}

if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(PROGRAMS[sys.argv[1]](*sys.argv[2:])))
