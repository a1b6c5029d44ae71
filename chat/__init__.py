"""What people do with interactions: the API, the admin, the management commands."""
