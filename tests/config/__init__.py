"""Settings, the environment and HTTPS."""
