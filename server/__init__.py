"""The server: sessions over HTTP, their texts kept, read and asked."""

VERSION = "0.1.0"
