"""A run on disk: its directory, checkpoints, result, and how it is read again."""
