"""Soak test: servers and their store under load and faults; their memory, descriptors and keys must not grow."""
