"""Where journals, checkpoints and session records are kept, behind one contract."""

from server.store.address import open_store

__all__ = ["open_store"]
