"""How interactions are kept, part by part. What all backends owe is in `tests.contract`."""
