"""The Django admin, as staff see it."""
