#!/usr/bin/env bash
# SQLite 3.53.4 (pysqlite3 0.6.1), Python 3.11: the wheel is compiled with TEMP_STORE=3, so temporary files are
# always in memory, and `PRAGMA temp_store = FILE` changes nothing. The journal of a statement is such a file:
# within a transaction and with secure_delete, DROP TABLE of a table of 60 MB takes as much memory, though the
# page cache is 2 MB and the pages themselves go to the write-ahead log. The same rows deleted 500 at a time
# take none, and neither does the drop after that. With Python's own sqlite3, where the default is FILE, a good
# engineer has never seen a DROP TABLE cost memory.
#
# Output seen (memory is the peak above what was there before, compared with wide margins):
#   compiled with TEMP_STORE=3: yes
#   one DROP TABLE: more than half of the table
#   one DROP TABLE, temp_store = FILE: more than half of the table
#   500 rows at a time, then DROP TABLE: less than a tenth of the table
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pysqlite3==0.6.1

cat > "$folder/measure.py" <<'PYTHON'
import os
import sys
from pathlib import Path

from pysqlite3 import dbapi2 as sqlite3

ROWS, BYTES = 30_000, 2_000
path, way = sys.argv[1:]


def peak():
    """The most memory since the last call, in bytes."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


database = sqlite3.connect(path, isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, content BLOB)")
database.execute("BEGIN")
database.executemany("INSERT INTO entry VALUES (?, ?)", ((n, os.urandom(BYTES)) for n in range(ROWS)))
database.execute("COMMIT")
database.close()

database = sqlite3.connect(path, isolation_level=None)
database.execute("PRAGMA secure_delete = ON")
if way == "file":
    database.execute("PRAGMA temp_store = FILE")
options = [option for (option,) in database.execute("PRAGMA compile_options")]
if way == "options":
    print("yes" if "TEMP_STORE=3" in options else "no")
    sys.exit()
peak()
before = peak()
database.execute("BEGIN")
if way == "portions":
    some = "SELECT id FROM entry LIMIT 500"
    while database.execute(f"DELETE FROM entry WHERE id IN ({some})").rowcount:
        pass
database.execute("DROP TABLE entry")
share = (peak() - before) / (ROWS * BYTES)
database.execute("COMMIT")
print("more than half of the table" if share > 0.5 else f"less than a {'tenth' if share < 0.1 else 'half'} of the table")
PYTHON

measure() { timeout 60 "$folder/venv/bin/python" "$folder/measure.py" "$folder/$1.sqlite3" "$1"; }
{
  echo "compiled with TEMP_STORE=3: $(measure options)"
  echo "one DROP TABLE: $(measure plain)"
  echo "one DROP TABLE, temp_store = FILE: $(measure file)"
  echo "500 rows at a time, then DROP TABLE: $(measure portions)"
} > "$folder/output"

cat "$folder/output"
diff "$folder/output" - <<'EXPECTED'
compiled with TEMP_STORE=3: yes
one DROP TABLE: more than half of the table
one DROP TABLE, temp_store = FILE: more than half of the table
500 rows at a time, then DROP TABLE: less than a tenth of the table
EXPECTED
