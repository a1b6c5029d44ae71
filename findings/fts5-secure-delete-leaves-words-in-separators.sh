#!/usr/bin/env bash
# SQLite 3.53.4 (pysqlite3 0.6.1), Python 3.11: FTS5's option `secure-delete` is documented to remove what was
# deleted from the index. A word that began a page of the index stays whole in the table `..._idx`, as the
# separator by which that page is found, after every row with the word has been deleted. `integrity-check` passes,
# `PRAGMA secure_delete` is on, and VACUUM copies it. A good engineer would take an index under `secure-delete`
# for free of deleted words.
#
# Output seen:
#   rows that match a deleted word: 0
#   deleted words in separators: some
#   integrity-check passes
#   deleted words in the file after VACUUM: some
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pysqlite3==0.6.1

cd "$folder"
timeout 240 "$folder/venv/bin/python" - > "$folder/output" <<'PYTHON'
import random
from pathlib import Path

from pysqlite3 import dbapi2 as sqlite3

random.seed(1)
database = sqlite3.connect("index.sqlite3", isolation_level=None)
database.execute("PRAGMA secure_delete = ON")
database.execute("CREATE VIRTUAL TABLE texts USING fts5(body, content='', detail=none)")
database.execute("INSERT INTO texts(texts, rank) VALUES ('secure-delete', 1)")
COMMON = [f"common{number}" for number in range(3000)]
# Each row has a word of its own, and those of the rows that stay lie between those of the others.
own = {number: f"own{number:06d}" for number in range(1, 6001)}
rows = {number: " ".join([*random.choices(COMMON, k=20), word]) for number, word in own.items()}
database.execute("BEGIN")
database.executemany("INSERT INTO texts(rowid, body) VALUES (?, ?)", rows.items())
database.execute("COMMIT")
gone = [(number, body) for number, body in rows.items() if number % 3 == 0]
database.execute("BEGIN")
database.executemany("INSERT INTO texts(texts, rowid, body) VALUES ('delete', ?, ?)", gone)
database.execute("COMMIT")

found = sum(
    len(database.execute("SELECT rowid FROM texts WHERE texts MATCH ?", [own[number]]).fetchall())
    for number, _ in gone[:200]
)
print("rows that match a deleted word:", found)


def some(count):
    return "some" if count else "none"


separators = [bytes(term if isinstance(term, bytes) else str(term).encode()) for (term,) in
              database.execute("SELECT term FROM texts_idx")]
whole = {own[number].encode() for number, _ in gone}
print("deleted words in separators:", some(sum(term[1:] in whole for term in separators)))
database.execute("INSERT INTO texts(texts) VALUES ('integrity-check')")
print("integrity-check passes")
database.execute("VACUUM")
database.close()
content = Path("index.sqlite3").read_bytes()
print("deleted words in the file after VACUUM:", some(sum(word in content for word in whole)))
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
rows that match a deleted word: 0
deleted words in separators: some
integrity-check passes
deleted words in the file after VACUUM: some
EXPECTED
