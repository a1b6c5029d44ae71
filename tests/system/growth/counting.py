"""What each operation costs on one store, counted: nothing of it depends on the time that it takes.

    python -m tests.system.growth.counting ROWS

makes a store where the environment says, runs the commands in this process, one after another, and
prints the counts as JSON. Each command has been imported before it is counted.
"""

import contextlib
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.system.growth import filling
from tests.system.growth.filling import Content, rare_user, user

AVERAGE = user(7)
ALIKE = user(8)
HEAVY = {"few": 500, "many": 4_000}
INSTRUCTIONS = 1_000
"""Of SQLite, between two calls of the handler that counts them."""

counted: Counter[str] = Counter()


def io_counts() -> Counter[str]:
    """Bytes that this process has read and written."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    counts = {name: int(value) for name, value in (line.split(": ") for line in lines)}
    return Counter(read=counts["rchar"], written=counts["wchar"])


def count_everything(archive: Path) -> None:
    """Count files of the archive, what is decompressed, and the work of SQLite, from now on."""
    from django.db.backends.signals import connection_created

    from storage.compat import zstd

    prefix = str(archive)

    def opened(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(prefix):
            counted["opened"] += 1
            counted["holds opened"] += "/holds/" in str(arguments[0])
        elif event in ("os.scandir", "os.listdir") and str(arguments[0]).startswith(prefix):
            found = entries(str(arguments[0]))
            counted["listed"] += found
            counted["pending listed"] += found * ("/erasures/pending" in str(arguments[0]))

    def unpacked(content: Any, *args: Any, **options: Any) -> bytes:
        found = decompress(content, *args, **options)
        counted["unpacked"] += len(found)
        return found

    def worked() -> int:
        counted["work"] += 1
        return 0

    def connected(connection: Any, **_: Any) -> None:
        connection.connection.set_progress_handler(worked, INSTRUCTIONS)

    is_looking = False

    def entries(folder: str) -> int:
        """How many names a folder has. Looking is itself an event, which does not count."""
        nonlocal is_looking
        if is_looking:
            return 0
        is_looking = True
        try:
            return sum(1 for _ in Path(folder).iterdir())
        except OSError:
            return 0
        finally:
            is_looking = False

    decompress = zstd.decompress
    setattr(zstd, "decompress", unpacked)  # noqa: B010
    sys.addaudithook(opened)
    connection_created.connect(connected, weak=False)


@contextmanager
def counting() -> Iterator[dict[str, Any]]:
    """The counts of what is done in this block."""
    found: dict[str, Any] = {}
    counted.clear()
    before = io_counts()
    yield found
    found |= counted | (io_counts() - before)


def command(*words: str) -> dict[str, Any]:
    """Run a command; its counts, exit status and summary."""
    with counting() as found:
        ended = run(*words)
    return found | ended


def run(*words: str) -> dict[str, Any]:
    """Run a command in this process; its exit status and summary, and what it said of an error."""
    from config.commands import Utility

    printed, errors, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            Utility(["manage.py", *words]).execute()
        except SystemExit as end:
            status = int(end.code or 0)
    lines = printed.getvalue().splitlines()
    said = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return {"status": status, "said": said, "error": errors.getvalue()[-500:]}


def read_cold(content: Content) -> dict[str, Any]:
    """Ten cold rows, each by its id."""
    from storage import get_storage

    storage, most = get_storage(), Counter[str]()
    for number in range(content.cold // 3, content.cold, content.cold // 15):
        with counting() as found:
            assert storage.get_interaction_sync(content.identifier(number)) is not None
        most |= Counter(found)
    return dict(most)


def pages(content: Content, user_id: str | None) -> dict[str, Any]:
    """All of a user's pages of 20 in a month of the archive, or everyone's first one."""
    with counting() as found:
        lengths = page_lengths(content, user_id)
    return found | {"lengths": lengths}


def page_lengths(content: Content, user_id: str | None) -> list[int]:
    """The rows on each of these pages."""
    from storage import get_storage
    from storage.records.pages import PageQuery

    end = content.end - timedelta(days=filling.HOT_DAYS + 1)
    start = end - timedelta(days=31)
    period: Any = {"created_after": start, "created_before": end, "tier": "archive"}
    lengths, cursor = [], None
    while True:
        query = PageQuery(limit=20, cursor=cursor, **period)
        if user_id is None:
            page = get_storage().list_interactions_sync(query)
        else:
            page = get_storage().list_user_interactions_sync(user_id, query)
        lengths.append(len(page.interactions))
        cursor = page.next_cursor
        if cursor is None or user_id is None:
            return lengths


def request_erasures(first: int, last: int) -> dict[str, Any]:
    """Requests to erase users who are not there; the counts are of the last one."""
    from chat.maintenance.erasure import erasing
    from storage import get_storage

    for number in range(first, last):
        with counting() as found:
            erasing.request(get_storage(), f"nobody-{number}", "test")
    return found


def hold(count: int) -> None:
    """Legal holds on others."""
    from chat.maintenance import holds
    from storage import get_storage

    for number in range(count):
        held = holds.Hold("user", f"held-{number}", "test", datetime.now(UTC))
        holds.put(get_storage().archive, held)


def add_heavy(content: Content, name: str, rows: int) -> None:
    """Hot rows of one user."""
    from django.db import connections

    from tests.sqlite import connect

    connections.close_all()
    database = connect(connections.settings["default"]["NAME"])
    numbers = range(content.cold, content.cold + rows)
    template = Content(100_000, content.end)
    for number in numbers:
        _, _, *others = filling.parameters(template, 90_000 + number % 10_000)
        database.execute(filling.INSERT_ROW, (f"{name}-{number}", name, *others))
    database.commit()
    database.close()


def everything(content: Content, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation, in an order in which none changes what another one counts."""
    command("storage_status")
    yield "status", command("storage_status")
    yield "cold read", read_cold(content)
    yield "everyone's page", pages(content, None)
    yield "user's pages", pages(content, AVERAGE)
    command("export_user", rare_user(0), "--output", str(folder / "first"))
    for name, user_id in (("export rare", rare_user(0)), ("export average", AVERAGE)):
        output = folder / name
        found = command("export_user", user_id, "--output", str(output))
        result = sum(file.stat().st_size for file in output.iterdir())
        yield name, found | {"result": result}
    yield "backup", command("backup")
    yield "backup again", command("backup")
    yield "verify_backup", command("verify_backup", "latest")
    command("erase_user", rare_user(2))
    yield "erase rare", command("erase_user", rare_user(1))
    yield "erase average", command("erase_user", AVERAGE)


def in_numbers(content: Content) -> Iterator[tuple[str, dict[str, Any]]]:
    """What depends on other numbers than that of the rows."""
    for name, rows in HEAVY.items():
        add_heavy(content, name, rows)
        yield f"erase {name}", command("erase_user", name)
    yield "request, few pending", request_erasures(0, 10)
    yield "finish few", command("erase_user", "--pending")
    yield "request, many pending", request_erasures(10, 110)
    yield "finish many", command("erase_user", "--pending")
    hold(300)
    yield "erase beside holds", command("erase_user", ALIKE)


def main() -> None:
    """Make the store, count, and print."""
    import config  # noqa: F401  (before Django: see config/__init__.py)

    filling.skip_syncs()
    import django

    django.setup()
    from django.conf import settings
    from django.db import connections

    from storage.sqlite import text_thread

    # Its thread would add what it writes to whatever is counted two seconds later.
    text_thread.PAUSE_SECONDS = 3600
    content = Content(int(sys.argv[1]), datetime.now(UTC))
    filling.fill(content)
    count_everything(Path(settings.STORAGES["archive"]["OPTIONS"]["location"]))
    database = Path(connections.settings["default"]["NAME"])
    found: dict[str, Any] = {"rows": content.rows, "database": database.stat().st_size}
    found |= everything(content, settings.DATA_DIR)
    if len(sys.argv) > 2:
        found |= in_numbers(content)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
