"""The DynamoDB backend: interactions as items of one table, through PynamoDB."""
