"""`python -m benchmarks.llama_cpp_server GGUF THREADS FOLDER`: llama.cpp's server, until standard input ends.

It writes its URL as one line. `xllamacpp` is llama.cpp as a package; only `make bench` installs it.
"""

from __future__ import annotations

import sys

SLOT_TOKENS = 2048


def main() -> None:
    import xllamacpp  # type: ignore[import-untyped, import-not-found, unused-ignore]

    model, threads, folder = sys.argv[1:]
    options = xllamacpp.CommonParams()
    options.model.path = model
    options.n_ctx, options.n_parallel = SLOT_TOKENS, 1
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = int(threads)
    options.slot_save_path, options.endpoint_slots = f"{folder}/", True
    options.port, options.verbosity = 0, 0
    server = xllamacpp.Server(options)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
