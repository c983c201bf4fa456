"""Text becomes memory in the background: one reader per session, leases, checkpoints, the cache of sessions."""
