"""Prometheus metrics: the page, the files that processes share, what commands leave."""
