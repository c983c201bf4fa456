"""The HTTP routes: each maps a request to one use case, and its result to a response."""
