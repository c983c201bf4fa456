"""The protocol without I/O: the requests of each call, the meaning of replies, and what is sent again after a failure.

Nothing here opens a connection, waits or reads a clock, so the synchronous and the asynchronous client share it.
"""
