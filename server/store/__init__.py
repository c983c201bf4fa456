"""Stores of journals, checkpoints and session records, behind one contract."""

from server.store.open import StoreOptions, open_store

__all__ = ["StoreOptions", "open_store"]
