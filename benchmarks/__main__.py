"""`python -m benchmarks`: runs the command.

It knows nothing of what is measured.
"""

import sys

from benchmarks.command import main

if __name__ == "__main__":
    sys.exit(main())
