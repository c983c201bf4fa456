"""Memories of megabytes in parts, shared by forks, while the store's process is killed."""
