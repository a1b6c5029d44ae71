"""Records as JSON, cursors and limits, by themselves."""
