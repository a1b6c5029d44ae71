"""The requests to DynamoDB and S3 of each operation, at two sizes: counted, not timed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.grown import Grown
from tests.servers import S3, DynamoDB

SIZES = (5_000, 50_000)
MB = 1_000_000
SAME = {"status", "cold reads", "everyone's page", "export rare", "erase rare"}
"""What asks for the same at both sizes: a read of one row, or a user with three."""


def counts(store: Grown) -> list[dict[str, Any]]:
    """The counts of `tests.system.growth.cloud` at both sizes, on servers of their own."""
    sizes = ",".join(map(str, SIZES))
    program = [sys.executable, "-m", "tests.system.growth.cloud", sizes, "--servers"]
    dynamodb, s3 = DynamoDB(), S3()
    try:
        done = subprocess.run(
            [*program, dynamodb.url, s3.url],
            cwd=Path(__file__).resolve().parent.parent.parent,
            env=store.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        dynamodb.stop()
        s3.stop()
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    return [found[str(rows)] for rows in SIZES]


def table(few: dict[str, Any], many: dict[str, Any]) -> tuple[str, bool]:
    """The lines as Markdown, and whether all conditions hold."""
    lines = [
        "| operation | small | large | requests, bytes: large / small | condition | |",
        "|---|---|---|---:|---|---|",
    ]
    all_hold = True
    for title, small in few.items():
        large = many[title]
        term, holds = condition(title, small, large)
        all_hold &= holds
        ratios = [
            count(large) / count(small) if count(small) else 1
            for count in (_requests, lambda each: each.get("s3 bytes", 0))
        ]
        shown = f"{ratios[0]:.2f}, {ratios[1]:.2f}"
        verdict = "yes" if holds else "NO"
        lines.append(
            f"| {title} | {_cell(small)} | {_cell(large)} | {shown} | {term} | {verdict} |"
        )
    return "\n".join(lines), all_hold


def condition(title: str, small: dict[str, Any], large: dict[str, Any]) -> tuple[str, bool]:
    """What must hold of one operation."""
    if large.get("status"):
        return f"done: {' '.join(large['error'].split())}", False
    if title in SAME:
        is_same = _requests(large) <= 1.1 * _requests(small) + 4
        few_bytes = large.get("s3 bytes", 0) <= 2 * small.get("s3 bytes", 0) + 64 * 1024
        return "as many requests, at most twice the bytes", is_same and few_bytes
    if "lengths" in large:
        full = set(large["lengths"][:-1]) <= {20}
        return f"full pages ({large['lengths']})", full
    if "result" in large:
        most = 20 * large["result"] + 2 * MB
        return "at most 20 x the bytes of its result and 2 MB", large["s3 bytes"] <= most
    return "", True


def _requests(found: dict[str, Any]) -> int:
    return int(found.get("dynamodb", 0) + found.get("s3", 0))


def _cell(found: dict[str, Any]) -> str:
    return (
        f"DynamoDB {found.get('dynamodb', 0)}, S3 {found.get('s3', 0)}, "
        f"{found.get('s3 bytes', 0) / MB:.3g} MB"
    )
