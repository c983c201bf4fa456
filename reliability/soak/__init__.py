"""Servers and their store under load and faults for as long as wanted; what they hold must not grow."""
