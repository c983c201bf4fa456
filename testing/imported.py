"""What a server imports, imported once: the process from which `forked` servers are forked preloads this module."""

import gc
import os

# As `python -m server` sets it before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import server.cli.serve  # noqa: F401

# The collections of a forked server need not look at what it shares.
gc.collect()
gc.freeze()
