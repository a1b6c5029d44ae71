"""Settings, URLs and server entry points.

Importing this package, which every entry point does first, puts pysqlite3 in the place of
`sqlite3` before Django imports it: the SQLite that Debian and others ship can corrupt a
database in WAL mode (see storage/sqlite/library.py). Two SQLite libraries on one file in
one process would be as bad, so the replacement is for everyone in the process.
"""

import sys

import pysqlite3
import pysqlite3.dbapi2

sys.modules["sqlite3"] = pysqlite3
sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2
