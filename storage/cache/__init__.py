"""The cache in front of the database."""
