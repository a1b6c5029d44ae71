"""The cache in Redis: leases, answers, erasure, audit, poison."""
