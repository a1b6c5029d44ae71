"""Simulated power loss: every disk that one may leave behind is built and looked at."""
