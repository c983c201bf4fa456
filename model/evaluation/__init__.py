"""Evaluation: how many facts hidden in books a model still answers questions about."""
