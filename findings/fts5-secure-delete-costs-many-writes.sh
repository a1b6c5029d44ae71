#!/usr/bin/env bash
# SQLite 3.53.4 (pysqlite3 0.6.1), Python 3.11: with FTS5's option `secure-delete`, deleting a row of 280
# words costs some 30 times what writing it cost, because each word's list is edited in place. The manual
# says that it adds overhead. A good engineer would expect a small factor: without the option, deleting a row
# costs about what writing one does.
#
# Output seen (times are compared with wide margins, in one run):
#   deleting a row: less than 5 times what writing one costs
#   deleting a row under secure-delete: more than 10 times
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pysqlite3==0.6.1

timeout 240 "$folder/venv/bin/python" - > "$folder/output" <<'PYTHON'
import random
import string
import time

from pysqlite3 import dbapi2 as sqlite3

ROWS, DELETED = 3000, 50
random.seed(1)
WORDS = ["".join(random.choices(string.ascii_lowercase, k=random.randint(3, 9))) for _ in range(20_000)]
bodies = [" ".join(random.choices(WORDS, k=280)) for _ in range(ROWS)]


def ratio(*, secure):
    """What deleting a row costs, in times of what writing one has cost."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute("CREATE VIRTUAL TABLE texts USING fts5(body)")
    if secure:
        database.execute("INSERT INTO texts(texts, rank) VALUES ('secure-delete', 1)")
    began = time.process_time()
    database.execute("BEGIN")
    database.executemany("INSERT INTO texts(body) VALUES (?)", [(body,) for body in bodies])
    database.execute("COMMIT")
    written = time.process_time()
    database.execute("BEGIN")
    database.executemany(
        "DELETE FROM texts WHERE rowid = ?", [(number * 31 + 7,) for number in range(DELETED)]
    )
    database.execute("COMMIT")
    deleted = time.process_time()
    return (deleted - written) / DELETED / ((written - began) / ROWS)


plain, secure = ratio(secure=False), ratio(secure=True)
print(f"deleting a row: {'less' if plain < 5 else 'more'} than 5 times what writing one costs")
print(f"deleting a row under secure-delete: {'more' if secure > 10 else 'less'} than 10 times")
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
deleting a row: less than 5 times what writing one costs
deleting a row under secure-delete: more than 10 times
EXPECTED
