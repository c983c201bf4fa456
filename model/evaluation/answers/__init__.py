"""Whether answers are right, and of the wrong ones why."""
