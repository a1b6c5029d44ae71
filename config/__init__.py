"""Settings, URLs and server entry points.

Every entry point imports this package first. Where there is a wheel of pysqlite3, it replaces the
module `sqlite3` by it before Django imports that, because the SQLite library of Debian and others
can corrupt a database in WAL mode (see storage/sqlite/library.py). The replacement is for the whole
process: two SQLite libraries with the same file open in one process can corrupt it as well.

It also lets nobody but the user of the process read the files that the process makes: the database,
its log, exports and metrics (docs/decisions/0028-who-may-read-files.md).
"""

import contextlib
import os
import sys

with contextlib.suppress(ModuleNotFoundError):  # see storage/sqlite/write_lock.py
    import pysqlite3
    import pysqlite3.dbapi2

    sys.modules["sqlite3"] = pysqlite3
    sys.modules["sqlite3.dbapi2"] = pysqlite3.dbapi2

os.umask(0o077)
