"""The protocol without its connections: which requests make a call, what replies mean, what is sent again from where.

Pure: nothing here opens, reads, waits or looks at a clock, so the synchronous and the asynchronous client share it all.
"""
