"""What `python -m server` does beside serving: commands that end by themselves."""
