"""The ways in for what other tools report: the rules for all formats, and each format."""
