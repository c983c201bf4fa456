"""Stores of all kinds, killed, cut off from power and failed over under load."""
