"""A program: packs what `make.py` has made, without what is for one machine alone.

    python tests/upgrades/keep.py FOLDER FILE.tar.xz [TABLE ENDPOINT]

With a table its items go along, as DynamoDB shows them.
"""

import json
import sqlite3
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

LEFT_OUT = ("limits", "metrics-of-commands", "in-use", "search", "sqlite3-wal", "sqlite3-shm")


def items_of(table: str, endpoint: str) -> Any:
    from botocore.session import get_session

    given = {"endpoint_url": endpoint, "region_name": "eu-central-1"}
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return get_session().create_client("dynamodb", **given, **keys).scan(TableName=table)["Items"]


def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The entry without who made it, or None if it is left out."""
    if any(word in entry.name for word in LEFT_OUT):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def main() -> None:
    folder, file, *table = sys.argv[1:]
    with closing(sqlite3.connect(Path(folder, "chat.sqlite3"))) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if table:
        Path(folder, "items.json").write_text(
            json.dumps(items_of(*table), indent=1, default=bytes.hex), encoding="utf-8"
        )
    with tarfile.open(file, "w:xz") as archive:
        archive.add(folder, arcname=".", filter=kept)


if __name__ == "__main__":
    main()
