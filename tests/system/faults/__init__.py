"""DynamoDB and Redis behind a proxy that delays, cuts off and repeats."""
