"""The SQL database of production in PostgreSQL, for several machines: accounts, no interactions."""
