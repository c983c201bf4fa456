"""`python -m onceread.cli.extractors SUFFIX MEMORY_BYTES SECONDS`: the text of the seekable file on standard input.

For a server: what parses the files of others may crash, hang or need any memory, so it does that in a process of its
own, under limits that the kernel enforces. They hold where the server is gone, too. Standard output, a pipe, gets the
text as UTF-8, or with exit code 2 the sentence that says why there is none. It calls the file "the file", so that no
list of processes shows its name.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from onceread.cli.exit_codes import ExitCode, UsageError
from onceread.cli.extractors import extractor
from onceread.cli.file_kinds import WrongEncoding

NAME = "the file"


def main(suffix: str, memory_bytes: int, seconds: int) -> ExitCode:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    # It writes no file, and leaves none behind where it crashes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    exhausted = f"{NAME} needs more than {memory_bytes >> 20} MiB of memory; send its text"
    try:
        extracted = extractor(Path(f"file{suffix}"))
        if extracted is None:
            raise UsageError(f"there is no extractor for {suffix} files")
        said, code = extracted(sys.stdin.buffer, NAME, "utf-8"), ExitCode.DONE
    except WrongEncoding as error:
        said, code = f"{error.what}; convert it to UTF-8, perhaps from {error.proposed}", ExitCode.USAGE
    except MemoryError:
        # Nothing is made here: what fills the memory is freed only after this block.
        said, code = exhausted, ExitCode.USAGE
    except (UsageError, OSError) as error:
        said, code = str(error), ExitCode.USAGE
    # A PDF file may have half of a surrogate pair.
    sys.stdout.buffer.write(said.encode(errors="replace"))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
