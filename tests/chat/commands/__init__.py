"""The management commands, as an operator runs them."""
