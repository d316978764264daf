#!/usr/bin/env python3
"""
What audit_sync=open costs: opens in a second by several readers at once, and how many of them share
an fdatasync(2). The rate is taken first, the count then under strace(1), which slows the worker down.

    tests/bench/group_commit.py --folder /var/tmp          where the record is: on a disk, not a tmpfs

As root, with the programs of build-caged/ or of SECRETFS_BUILD, without sanitizers.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault(
    "SECRETFS_BUILD", str(Path(__file__).resolve().parents[2] / "build-caged")
)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import Child, Mount, Store, fresh_folder, remove_folder, spawn, worker_of  # noqa: E402


def open_for(path, seconds):
    """Open and read it again and again. Returns how often, and how long each took."""
    times = []
    end = time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        with open(path, "rb", buffering=0) as file:
            file.read()
        times.append(time.monotonic() - begun)
    return times


def measure(served, readers, seconds):
    """The times of all opens of `readers` processes at once."""
    children = [Child(open_for, served.path / "a", seconds) for _ in range(readers)]
    return sorted(t for child in children for t in child.result())


def count_syncs(served, readers, seconds):
    """How many opens there were, and how many fdatasync(2) of the worker."""
    trace = served.path.with_name("trace")
    argv = ["strace", "-f", "-e", "trace=fdatasync", "-o", trace, "-p", worker_of(served)]
    strace = spawn(argv, stderr=subprocess.PIPE)
    strace.stderr.readline()
    opens = len(measure(served, readers, seconds))
    strace.send_signal(signal.SIGINT)
    strace.wait()
    return opens, len(re.findall(r"fdatasync\(\d+ *(?:\)|<unfinished)", trace.read_text()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--readers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--workers", type=int, nargs="+", default=[3, 16])
    parser.add_argument("--folder", help="where the record is; else beside the store")
    arguments = parser.parse_args()
    folder = fresh_folder()
    try:
        store = Store.fresh(folder)
        store.put("a", b"value" * 10, "--mode", "0444")
        record = Path(arguments.folder or folder) / f"audit-{os.getpid()}.jsonl"
        for workers in arguments.workers:
            served = Mount(store, folder / "mnt", f"audit={record},audit_sync=open,workers={workers}")
            try:
                for readers in arguments.readers:
                    times = measure(served, readers, arguments.seconds)
                    opens, syncs = count_syncs(served, readers, arguments.seconds)
                    print(
                        f"{workers:2} threads, {readers:2} readers: {len(times) / arguments.seconds:6.0f} opens/s,"
                        f" each {times[len(times) // 2] * 1e3:.2f} ms (median);"
                        f" {syncs / opens:.2f} fdatasync(2) an open, of {opens}",
                        flush=True,
                    )
            finally:
                served.close()
        record.unlink()
    finally:
        remove_folder(folder)


if __name__ == "__main__":
    main()
