"""The front: what every request passes before a route sees it, from the connection's bounds to keys and quotas."""
