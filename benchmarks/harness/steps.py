"""The operations that `growth.py` measures. Each step returns its figures by the line's title."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from harness.conditions import RESTORE_SECONDS, ratio_of
from harness.contestants import PROJECT
from harness.cost import Cost, size_of
from harness.grown import Figure, Figures, Grown, asked
from harness.processes import free_port
from tests.system.growth.filling import rare_user, user

AVERAGE = user(7)
LIMIT = 150.0
"""Seconds that an operation may take which should be done in a few."""

HOLDS = 5_000
PENDING = 1_000
CRONTAB = PROJECT / "docs" / "how-to" / "retention.md"


def status(store: Grown) -> Figures:
    return {"`storage_status`": store.beside("storage_status")}


def cold_read(store: Grown) -> Figures:
    apart = store.content.cold // 21
    first = store.content.rows * 3 // 91  # what is nearly expired may be gone soon
    ids = [store.content.identifier(first + n * apart) for n in range(20)]
    figure = store.program("unpacked", *ids)
    port = free_port()
    with store.server(port) as server, store.traffic() as traffic, asked(server) as found:
        for identifier in ids:
            store.get(port, f"/api/v1/interactions/{identifier}/")
    each = _divided(found[0], len(ids))
    seen = {"unpacked": figure.cost.said["most"]}
    return {"cold read by id": Figure(each, traffic.writers, traffic.readers, seen)}


def lists(store: Grown) -> Figures:
    """Pages of the archive, asked of a second server."""
    end = store.content.end - timedelta(days=32)
    period = {
        "tier": "archive",
        "created_after": (end - timedelta(days=31)).isoformat().replace("+00:00", "Z"),
        "created_before": end.isoformat().replace("+00:00", "Z"),
        "limit": 50,
    }
    query = urlencode(period)
    of_user = f"/api/v1/users/{AVERAGE}/interactions/?{query}"
    found: Figures = {}
    port = free_port()
    with store.server(port) as server:
        store.get(port, of_user)  # the first request imports what it needs
        for title, path, most in (
            ("tier=archive, everyone, a page of 50", f"/api/v1/interactions/?{query}", 1),
            ("tier=archive, a user, a page of 50", of_user, 1),
            ("tier=archive, a user, 31 days", of_user, 1_000),
        ):
            with store.traffic() as traffic, asked(server) as costs:
                pages = list(_pages(store, port, path, most))
            short = sum(len(rows) < 50 for rows, more in pages if more)
            seen = {
                "rows": sum(len(rows) for rows, _ in pages),
                "pages": len(pages),
                "short": short,
            }
            found[title] = Figure(costs[0], traffic.writers, traffic.readers, seen)
    return found


def _pages(store: Grown, port: int, path: str, most: int) -> Iterator[tuple[list[Any], bool]]:
    for _ in range(most):
        answer = store.get(port, path)
        yield answer["results"], answer["next"] is not None
        if answer["next"] is None:
            return
        following = urlsplit(answer["next"])
        path = f"{following.path}?{following.query}"


def exports(store: Grown) -> Figures:
    found = {}
    for title, name in (("3 cold rows", rare_user(0)), ("average", AVERAGE)):
        folder = store.folder / f"export-{name}"
        figure = store.beside("export_user", name, "--output", str(folder))
        seen = {"result": size_of(folder)}
        found[f"`export_user`, {title}"] = replace(figure, seen=seen)
        shutil.rmtree(folder, ignore_errors=True)
    return found


def backups(store: Grown) -> Figures:
    first = store.beside("backup", writers=0)
    unchanged = store.beside("backup", writers=0)
    found = {
        "`backup`, the first": first,
        "`backup`, nothing changed": unchanged,
        "`backup`, something changed": store.beside("backup"),
        "`verify_backup latest`": store.beside("verify_backup", "latest"),
    }
    return found


def erasures(store: Grown) -> Figures:
    limit = ("--max-seconds", str(int(LIMIT)), "--wait", "60")
    found = {}
    for title, name in (("3 cold rows", rare_user(1)), ("average", AVERAGE)):
        figure = store.beside("erase_user", name, *limit, limit=2 * LIMIT)
        seen = {"receipt": figure.cost.status == 0 and bool(figure.cost.said.get("erasures"))}
        found[f"`erase_user`, {title}"] = replace(figure, seen=seen)
    second = store.beside("erase_user", "--pending", *limit, limit=2 * LIMIT)
    found["`erase_user --pending` after both"] = second
    return found


def heavy(store: Grown) -> Figures:
    """A user with very many hot rows."""
    limit = ("--max-seconds", str(int(LIMIT)), "--wait", "60")
    figure = store.beside("erase_user", "heavy", *limit, limit=2 * LIMIT)
    said = figure.cost.said
    rate = said.get("counts", {}).get("hot", 0) / max(said.get("seconds", 0.0), 0.001)
    return {"`erase_user`, very many hot rows": replace(figure, seen={"rate": rate})}


def holds(store: Grown) -> Figures:
    """On the small store alone: what 5,000 holds cost an erasure, beside ten."""
    store.program("hold", "0", "10")
    few = store.manage("erase_user", user(11), "--wait", "60")
    made = store.program("hold", "10", str(HOLDS - 10))
    many = store.manage("erase_user", user(12), "--wait", "60")
    extra = many.cost.beyond(few.cost)
    seen = {"few": few.cost.cpu, "documents": made.cost.said["bytes"], "extra": extra.read}
    return {f"erase, {HOLDS:,} legal holds": replace(many, seen=seen)}


def pending(store: Grown) -> Figures:
    """On the small store alone: a request, and finishing one, with ten pending and with 1,000."""
    few = store.program("request", "0", "10").cost.said["seconds"]
    first = store.manage("erase_user", "--pending", "--wait", "60")
    store.program("request", "10", str(PENDING - 20))
    many = store.program("request", str(PENDING - 10), "20").cost.said["seconds"]
    limit = ("--max-seconds", str(int(LIMIT)), "--wait", "60")
    last = store.manage("erase_user", "--pending", *limit, limit=2 * LIMIT)
    counts = [max(len(figure.cost.said.get("erasures", ())), 1) for figure in (first, last)]
    seen = {
        "request": ratio_of(many, few),
        "each": ratio_of(last.cost.cpu / counts[1], first.cost.cpu / counts[0]),
        "finished": counts[1],
    }
    return {f"{PENDING:,} pending erasures": replace(last, seen=seen)}


def night(store: Grown) -> Figures:
    """The crontab of retention.md, each line once, and all of it."""
    found = {}
    for words in crontab():
        name = f"nightly: `{' '.join(words)}`"
        found[name] = store.beside(*words, limit=3 * LIMIT)
    costs = [figure.cost for figure in found.values()]
    total = Cost(
        seconds=sum(cost.seconds for cost in costs),
        cpu=sum(cost.cpu for cost in costs),
        read=sum(cost.read for cost in costs),
        written=sum(cost.written for cost in costs),
        memory=max(cost.memory for cost in costs),
        disk=max(cost.disk for cost in costs),
        status=max(9 if cost.status is None else cost.status for cost in costs),
    )
    worst = max(found.values(), key=lambda figure: figure.longest)
    found["the night in all"] = Figure(total, worst.writers, worst.readers)
    return found


def crontab() -> list[list[str]]:
    """The commands of the first crontab on the page, in its order."""
    block = re.search(r"```crontab\n(.*?)```", CRONTAB.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    _, *commands = block[1].split("manage.py ")
    return [command.splitlines()[0].split() for command in commands]


def restore(store: Grown, backup: str) -> Figures:
    """The first backup, which is older than all erasures. No server runs."""
    limit = RESTORE_SECONDS * 1.1
    figure = store.manage("restore", backup, "--yes", limit=limit)
    seen: dict[str, Any] = {"true": False}
    if figure.cost.status == 0:
        found = store.program("restored", rare_user(1), AVERAGE, "heavy").cost.said
        seen = found | {"true": found["erased"] == 0 and found["missing"] == 0}
    return {"`restore`": replace(figure, seen=seen)}


def migration(store: Grown, rows: int) -> Figures:
    """An older version's database, with its processes at work, gets an index."""
    migrated = store.manage("migrate", "storage", "0001")
    if migrated.cost.status:
        raise RuntimeError(migrated.cost.error)
    store.program("heavy", str(rows))
    program = str(Path(__file__).parent / "programs.py")
    old = subprocess.Popen(
        [sys.executable, program, "old_version", "0"],
        env=store.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert old.stdout is not None
    old.stdout.readline()
    time.sleep(1)
    beside = store.manage("storage_status")
    printed = json.loads(old.communicate("")[0].splitlines()[-1])
    alone = store.manage("storage_status")
    said = "stop" in beside.cost.error.lower()
    longest = max(printed["writers"], printed["readers"])
    seen = {
        "said": said and beside.cost.status != 0,
        "longest": longest,
        "failed": printed["failed"],
    }
    return {"a migration that builds an index": replace(alone, seen=seen)}


def _divided(cost: Cost, count: int) -> Cost:
    return Cost(cost.seconds / count, cost.cpu / count, cost.read // count, cost.written // count)
