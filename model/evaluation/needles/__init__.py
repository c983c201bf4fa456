"""Whether needles in books are found."""
