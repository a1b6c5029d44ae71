#!/usr/bin/env bash
# SQLite 3.53.4 (pysqlite3 0.6.1), Python 3.11: FTS5 answers `ORDER BY rowid DESC LIMIT 1` for a word at a
# cost that does not depend on how many rows have it. For the beginning of a word (`a*`) it merges the lists
# of all words that begin so before it returns the first row, and neither LIMIT nor a range of the newest ten
# rowids shortens that. A good engineer would expect both to bound the work, as they do for a word.
#
# Output seen (times are compared with wide margins, in one run):
#   a word, four times the rows: about the same
#   a prefix, four times the rows: more than twice the time
#   a prefix within the newest ten rows: more than twice the time, too
#   a prefix beside a word: more than 30 times the time
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

random.seed(1)
WORDS = ["".join(random.choices(string.ascii_lowercase, k=random.randint(3, 9))) for _ in range(20_000)]
database = sqlite3.connect(":memory:", isolation_level=None)
database.execute("CREATE VIRTUAL TABLE texts USING fts5(body)")


def fill(rows):
    database.execute("BEGIN")
    for _ in range(rows):
        body = " ".join([*random.choices(WORDS, k=280), "everywhere"])
        database.execute("INSERT INTO texts(body) VALUES (?)", (body,))
    database.execute("COMMIT")
    database.execute("INSERT INTO texts(texts) VALUES ('optimize')")


def seconds(match, first=0):
    """The best of ten."""
    sql = "SELECT rowid FROM texts WHERE texts MATCH ? AND rowid >= ? ORDER BY rowid DESC LIMIT 1"
    times = []
    for _ in range(10):
        began = time.process_time()
        assert database.execute(sql, (match, first)).fetchall()
        times.append(time.process_time() - began)
    return min(times)


fill(2000)
word, prefix, newest = seconds("everywhere"), seconds("a*"), seconds("a*", 1991)
fill(6000)
word_4, prefix_4, newest_4 = seconds("everywhere"), seconds("a*"), seconds("a*", 7991)


def say(what, holds, told, otherwise):
    print(f"{what}: {told if holds else otherwise}")


say("a word, four times the rows", word_4 < 2 * word, "about the same", "more")
more = "more than twice the time"
say("a prefix, four times the rows", prefix_4 > 2 * prefix, more, "less")
say("a prefix within the newest ten rows", newest_4 > 2 * newest, f"{more}, too", "less")
say("a prefix beside a word", prefix_4 > 30 * word_4, "more than 30 times the time", "less")
PYTHON

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
a word, four times the rows: about the same
a prefix, four times the rows: more than twice the time
a prefix within the newest ten rows: more than twice the time, too
a prefix beside a word: more than 30 times the time
EXPECTED
