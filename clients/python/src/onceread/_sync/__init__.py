# Generated from _async/__init__.py by clients/python/tools/generate_sync.py: do not edit.
"""The client: sessions, the transport of their calls, and sources that are streams."""
