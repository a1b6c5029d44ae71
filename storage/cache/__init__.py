"""The cache in front of the database: Redis, the memory of one process, or none."""
