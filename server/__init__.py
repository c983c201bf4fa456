"""The server: sessions over HTTP, their texts kept, read and asked."""
