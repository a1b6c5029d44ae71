"""The DynamoDB backend: interactions are items of one table, reached through PynamoDB."""
