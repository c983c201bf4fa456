"""Says as JSON on standard error how its process was started; then it waits, or ends with the given status."""

import json
import os
import resource
import signal
import sys

if __name__ == "__main__":
    seen = {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": sys.path,
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "interrupts": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "terminates": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
    }
    print(json.dumps(seen), file=sys.stderr, flush=True)
    if sys.argv[1] == "wait":
        signal.pause()
    sys.exit(int(sys.argv[1]))
