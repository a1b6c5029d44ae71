"""Backups of the SQL database and of the DynamoDB table: take, verify, restore."""
