"""Benchmarks: how fast Onceread reads, answers, acknowledges and restores, and how large its memory is."""
