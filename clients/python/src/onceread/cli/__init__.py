"""The command line `onceread`, one file a group of commands.

It knows what is typed and what is shown, and leaves everything between to the client.
"""
