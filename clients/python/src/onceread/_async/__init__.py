"""The client: sessions, the transport of their calls, and sources that are streams."""
