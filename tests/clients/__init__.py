"""The clients in `clients/`."""
