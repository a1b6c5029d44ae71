"""Backend selection, schema migrations and system checks."""
