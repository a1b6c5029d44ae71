"""The values that callers and backends exchange: JSON records, stubs, pages, cursors, questions."""
