"""The proof that nothing is lost: each check makes faults, reads the histories back, and counts what it found."""
