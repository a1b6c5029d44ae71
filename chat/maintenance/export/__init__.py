"""Export all that is kept about a user, as a stream or a folder."""
