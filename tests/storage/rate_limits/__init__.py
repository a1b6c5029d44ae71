"""Limits of calls and lock-outs: exact between processes and threads, whatever Redis does."""
