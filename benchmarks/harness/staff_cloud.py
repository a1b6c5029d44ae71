"""What each page of staff asks of DynamoDB: counted, not timed.

    python -m harness.staff_cloud ROWS DYNAMODB_URL FOLDER

fills a table of a ministack and prints the operations of each page as JSON. There is no Redis.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.local import set_up  # isort: split

from harness import ratios
from harness.calls import MESSAGE, RESPONSE
from harness.staff import LIST, Pages, client_of_staff

MODELS = 4
USERS = 50
DAYS = 20
AT_ONCE = 100

Asked = dict[str, dict[str, int]]
"""The operations of each page, and how often."""


def table(sizes: list[int]) -> tuple[str, bool]:
    """As Markdown, and whether each page asks for the same at all sizes."""
    found = [_counted(size) for size in sizes]
    rows, all_same = [], True
    for name in found[0]:
        asked = [_cell(each[name]) for each in found]
        is_same = len({*asked}) == 1
        all_same &= is_same
        rows.append([name, *asked, "yes" if is_same else "NO"])
    titles = [f"{size:,} rows" for size in sizes]
    return ratios.table("calls of DynamoDB", [*titles, "the same"], rows), all_same


def _counted(rows: int) -> Asked:
    from tests.servers import DynamoDB

    dynamodb = DynamoDB()
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-m", "harness.staff_cloud", str(rows), dynamodb.url, folder],
                cwd=Path(__file__).resolve().parent.parent,
                capture_output=True,
                text=True,
                check=False,
            )
    finally:
        dynamodb.stop()
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: Asked = json.loads(done.stdout.splitlines()[-1])
    return found


def _cell(asked: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(asked.items())) or "-"


def pages(now: datetime, identifier: str) -> dict[str, str]:
    """By name; a text is searched for within days."""
    day = (now - timedelta(days=2)).date()
    days = f"first_day={day}&last_day={day}"
    return {
        "first page": "/admin/",
        "list": LIST,
        "filtered list": f"{LIST}?model_used=model-2&{days}",
        "search": f"{LIST}?q=sorted&{days}",
        "search of a user": f"{LIST}?q=sorted&user_id=user-7",
        "conversation": f"{LIST}{identifier}/change/",
    }


def _fill(storage: Any, rows: int, now: datetime) -> str:
    """Store so many interactions; returns the id of one."""
    from storage.models import ChatInteraction

    apart = timedelta(days=DAYS) / rows
    for first in range(0, rows, AT_ONCE):
        storage.create_interactions_sync(
            [
                ChatInteraction(
                    user_id=f"user-{number % USERS}",
                    message=MESSAGE,
                    response=RESPONSE[:200],
                    model_used=f"model-{number // USERS % MODELS}",
                    input_tokens=40,
                    output_tokens=450,
                    created_at=now - apart * number,
                )
                for number in range(first, min(first + AT_ONCE, rows))
            ]
        )
    found = storage.get_user_interactions_sync("user-7", 1)
    return str(found[0].interaction_id)


def _asked_of(client: Any) -> Counter[str]:
    """Counts what a client asks for from now on, of the table and of its stream."""
    asked: Counter[str] = Counter()
    for name in ("request", "manage", "read_stream"):
        call = getattr(client, name)

        def counted(operation: str, *given: Any, call: Any = call, **named: Any) -> Any:
            asked[operation] += 1
            return call(operation, *given, **named)

        setattr(client, name, counted)
    return asked


def main() -> None:
    """Fill, ask for each page twice, and count the second time."""
    rows, url, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    os.environ |= {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    set_up(folder / "benchmark.sqlite3", 90)
    from django.core.cache.backends.dummy import DummyCache

    from storage.dynamodb import mirror
    from storage.startup import selection
    from tests import clouds

    model = mirror.bound("unused", clouds.REGION, url, clouds.CONNECTIONS)
    storage = clouds.make_storage(model, DummyCache("", {}))
    setattr(selection, "_storage_of", lambda process_id: storage)  # noqa: B010
    now = datetime.now(UTC)
    identifier = _fill(storage, rows, now)
    while storage.database.count_usage(60) is None:
        pass
    asked = _asked_of(storage.database.client)
    staff = Pages(client_of_staff())
    found = {}
    for name, address in pages(now, identifier).items():
        staff.get(address)
        asked.clear()
        staff.get(address)
        found[name] = dict(asked)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
