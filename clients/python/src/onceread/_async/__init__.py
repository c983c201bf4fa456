"""The client: sessions, the connection that carries their calls out, and sources that are streams."""
