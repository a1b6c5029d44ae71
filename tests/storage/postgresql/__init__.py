"""The SQL database in PostgreSQL: the pool, the errors, migrations, and writers on many machines."""
