"""What runs before the first request: backend selection, migrations, system checks."""
