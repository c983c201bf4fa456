"""The memory mechanisms, one file each, behind one contract."""
