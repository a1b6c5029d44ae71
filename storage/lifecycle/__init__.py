"""The life of interactions: archive, purge, restore, erase, export, move. For commands and API."""
