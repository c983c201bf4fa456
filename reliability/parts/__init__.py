"""Memories in parts, shared by forks: stores killed among them, and their values damaged."""
