"""Whether the place of an answer is found."""
