"""How segments are read fastest: skipped, batched, or in the wavefront."""
