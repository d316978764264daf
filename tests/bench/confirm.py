#!/usr/bin/env python3
"""From a durable commit to its confirmation by the mount: DESIGN.md section 9 asks for a median of
2 ms, and 10 ms for 99 of 100.

    tests/bench/confirm.py --bars                          fails where it takes longer
    tests/bench/confirm.py --puts 200 --bars 100 1000      the short form, in tests/run.sh

As root, with the programs of build-caged/ or of SECRETFS_BUILD, which have to be optimized and without
sanitizers. Of 1,000 secrets, 100 are held open, and every one has been read, so that the kernel knows it.
The line "wake-ups" is what the machine itself takes for as many turns of two processes as a confirmation
has: on a busy one, that much of the other line is nobody's.
"""

import argparse
import subprocess
import sys

from common import MS, filled, measured
from harness import BUILD, Mount, fresh_folder, remove_folder, sanitized

FOLDER = 100
SECRETS = 1000
HELD = 100


def measure(folder, puts):
    """The figures of each line that the program prints: {"confirmed": {"p50": 500000, ...}, ...}"""
    store, paths = filled(folder, SECRETS, per_folder=FOLDER)
    served = Mount(store, folder / "mnt")
    held = []
    try:
        for i, path in enumerate(paths):
            file = open(served.path / path, "rb", buffering=0)
            file.read()
            if i % (SECRETS // HELD) == 0:
                held.append(file)
            else:
                file.close()
        return measured("confirm", store.path, store.key, puts, *paths)
    finally:
        for file in held:
            file.close()
        served.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--puts", type=int, default=1000)
    parser.add_argument("--bars", type=float, nargs="*", metavar="MS", help="for p50 and p99")
    options = parser.parse_args()
    p50, p99 = options.bars or (2.0, 10.0)
    if sanitized():
        sys.exit(f"{BUILD} has sanitizers, which make everything slower")
    folder = fresh_folder()
    try:
        lines = measure(folder, options.puts)
    except (AssertionError, subprocess.SubprocessError) as error:
        sys.exit(str(error))
    finally:
        remove_folder(folder)
    for name, times in lines.items():
        shown = ((key, times[key] / MS) for key in ("p50", "p99", "max"))
        print(f"{name}: " + ", ".join(f"{key} {ms:.3f} ms" for key, ms in shown))
    reached = lines["confirmed"]
    if options.bars is not None and (reached["p50"] > p50 * MS or reached["p99"] > p99 * MS):
        sys.exit(f"slower than p50 {p50} ms, p99 {p99} ms")


if __name__ == "__main__":
    main()
