"""The SQLite backend: `ENGINE = "storage.sqlite"` is the pooled database engine."""
