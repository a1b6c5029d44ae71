"""Real servers and processes: killed, out of disk, many at once."""
