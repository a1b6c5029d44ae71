"""What tools send, and what becomes of it."""
