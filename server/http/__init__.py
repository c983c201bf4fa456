"""HTTP: what every request passes before a route (protocol limits, keys, quotas), errors as responses, and schemas."""
