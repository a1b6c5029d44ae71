"""Two servers, each with a folder of its own, that share PostgreSQL, DynamoDB, Redis and S3."""
