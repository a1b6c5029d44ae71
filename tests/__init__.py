"""The tests; `python -m tests` runs them after every other check."""
