"""Real tools against the live server; `make test-tools` runs them, and no other test does."""
