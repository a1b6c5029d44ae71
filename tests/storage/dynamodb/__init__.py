"""The DynamoDB backend: items, the table and its command."""
