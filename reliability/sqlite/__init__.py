"""The embedded store against power cuts and failing disks."""
