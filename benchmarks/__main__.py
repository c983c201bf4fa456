"""`python -m benchmarks`: sets how waiting threads behave, then runs the command.

It knows nothing of what is measured.
"""

import os
import sys

# Torch's threads spin while they wait, unless told otherwise. On a machine that does anything else besides, two
# that spin for one core read 60 times slower. Torch looks at this when it is imported; the server inherits it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if __name__ == "__main__":
    from benchmarks.command import main

    sys.exit(main())
