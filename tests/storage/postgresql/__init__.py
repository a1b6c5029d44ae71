"""The SQL database in PostgreSQL: the pool, errors, migrations, and writers on many machines."""
