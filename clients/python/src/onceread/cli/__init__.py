"""The command line `onceread`."""
