"""`python -m onceread`: the command line."""

from onceread.cli.app import app

if __name__ == "__main__":
    app(prog_name="onceread")
