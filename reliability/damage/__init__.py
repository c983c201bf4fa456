"""Stored values, damaged in every way, and what is answered then."""
