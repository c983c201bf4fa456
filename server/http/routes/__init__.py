"""The HTTP routes: each turns a request into one use case and its result into an answer."""
