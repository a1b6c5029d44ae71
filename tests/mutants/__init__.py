"""A gate: with a protection removed, the tests that are named for it fail (`make mutants`)."""
