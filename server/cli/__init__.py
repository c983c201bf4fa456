"""The command line: serving, the other commands, and the settings' flags."""
