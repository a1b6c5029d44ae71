"""Prometheus metrics: the page, files shared by processes, and measurements of commands."""
