"""The SQLite backend: engine, statements, write-ahead log, memory cache."""
