"""The transformer with a memory, as pure computation on values."""
