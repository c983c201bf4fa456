"""Fault injection: each check injects faults, checks the clients' histories, and counts violations."""
