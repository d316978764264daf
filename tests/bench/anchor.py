#!/usr/bin/env python3
"""What the anchor adds to a put: two builds of secretctl in turn, as `anchor.py OLD NEW [RUNS]`."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def made(program, folder):
    folder.mkdir()
    argv = [program, "--store", folder / "store.db", "--key-file", folder / "key"]
    subprocess.run([*argv, "init"], check=True, stdout=subprocess.DEVNULL)
    return [*argv, "put", "a", "--no-wait"]


def timed(argv, number):
    begun = time.perf_counter()
    subprocess.run(argv, input=b"%d" % number, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main():
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    with tempfile.TemporaryDirectory(prefix="secretfs-", dir="/tmp") as name:
        argvs = {
            program: made(program, Path(name) / str(number))
            for number, program in enumerate(sys.argv[1:3])
        }
        taken = {program: [] for program in argvs}
        for number in range(runs):
            for program, argv in sorted(argvs.items(), reverse=number % 2):
                taken[program].append(timed(argv, number))
    for program, times in taken.items():
        print(f"{program}: median {statistics.median(times) * 1000:.2f} ms of {runs}")


if __name__ == "__main__":
    main()
