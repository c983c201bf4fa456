"""Examining weights: how much of what was hidden in books they still know."""
