"""Several segments of a text at once, each in another layer (2506.05229)."""
