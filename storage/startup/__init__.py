"""What happens before the first request: backend selection, schema, system checks."""
