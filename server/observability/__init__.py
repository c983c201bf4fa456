"""What an operator sees: metrics, traces, logs, and the store's calls counted."""
