#!/usr/bin/env python3
"""Opens, rotations and dying workers for a long time: no call fails, and no process grows.

    tests/soak.py                                                 a million opens: the long form
    tests/soak.py --opens 20000 --rotations 200 --restarts 5      the short one, in tests/run.sh

As root, with the programs of build-caged/ or of SECRETFS_BUILD; sanitizers would keep freed memory.
The work is divided among the lives of the workers: readers and a rotating writer at once, twice a
life, with a quiet moment after each in which the processes are measured. Then the worker is killed
while the readers of the next life are at work already.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

os.environ.setdefault(
    "SECRETFS_BUILD", str(Path(__file__).resolve().parent.parent / "build-caged")
)

from harness import (  # noqa: E402
    Child,
    Mount,
    Store,
    eventually,
    fresh_folder,
    remove_folder,
    processes_of,
    worker_of,
)

SIZES = (64, 1000, 5000, 20000)  # of the secrets, each with a hundred versions
READERS = 3
GROWTH_MAX_KIB = 1024


def content(secret, number):
    return (b"%d.%d " % (secret, number)).ljust(SIZES[secret], b"%d" % (number % 10))


def read_always(folder, count):
    """Returns the calls that failed, with the first error."""
    failed, first = 0, None
    for turn in range(count):
        secret = turn % len(SIZES)
        try:
            with open(folder / str(secret), "rb", buffering=0) as file:
                if turn % 10 == 0:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                data = file.read(SIZES[secret] + 1)
            number = int(data.partition(b" ")[0].partition(b".")[2])
            if data != content(secret, number):
                raise ValueError(f"a torn value: {data[:20]!r}")
        except (OSError, ValueError) as error:
            failed, first = failed + 1, first or repr(error)
    return failed, first


def is_kept(link):
    """Whether a descriptor is one of the bounded number by which a worker knows who calls."""
    try:
        return os.readlink(link).endswith("/comm")
    except FileNotFoundError:
        return True


def descriptors(pid, before):
    """How many there are but for those, once there are no more than `before`: what was under way is closed soon."""
    deadline = time.monotonic() + 5
    while True:
        count = sum(not is_kept(link) for link in Path(f"/proc/{pid}/fd").iterdir())
        if count <= before or time.monotonic() > deadline:
            return count
        time.sleep(0.005)


def measure(pid, before):
    """
    Resident, proportional and private dirty memory in KiB, and the number of descriptors; `before`
    are the measures that there are, the first of which comes after a longer rest.
    """
    if not before:
        time.sleep(0.5)
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value, _ = line.split()
        fields[name.rstrip(":")] = int(value)
    return {
        "Rss": fields["Rss"],
        "Pss": fields["Pss"],
        "private": fields["Private_Dirty"],
        "fds": descriptors(pid, before[0]["fds"] if before else 1 << 20),
    }


class Soak:
    def __init__(self, store, served, options):
        self.store, self.served, self.options = store, served, options
        self.number = 0
        self.opens = self.rotations = self.restarts = self.failed = 0
        self.first_error = None
        self.lasting = {"supervisor": [], "notifier": []}  # a measure for each half of a worker's life
        self.workers = []  # and the same of each worker

    def rotate(self, count):
        """Every rotation is of the next secret; a number belongs to one value."""
        for _ in range(count):
            secret = self.number % len(SIZES)
            self.number += 1
            self.store.put(str(secret), content(secret, self.number))
            self.rotations += 1

    def warm_up(self):
        """Until no version is added without another going."""
        self.rotate(100 * len(SIZES))
        self.rotations = 0
        self.settle()

    def settle(self):
        """Until the mount shows the newest values, and nothing is under way."""
        last = self.number
        secret = (last - 1) % len(SIZES)
        eventually(lambda: (self.served.path / str(secret)).read_bytes() == content(secret, last))
        time.sleep(0.02)

    def read(self, count):
        return [Child(read_always, self.served.path, count // READERS) for _ in range(READERS)]

    def finish(self, readers, count):
        for reader in readers:
            failed, first = reader.result()
            self.failed += failed
            self.first_error = self.first_error or first
        self.opens += count // READERS * READERS
        self.settle()

    def half(self, opens, rotations, worker=None):
        """Half a life; `worker` is killed while its readers are at work."""
        readers = self.read(opens)
        if worker:
            os.kill(worker, signal.SIGKILL)
            self.restarts += 1
        self.rotate(rotations)
        self.finish(readers, opens)
        pids = processes_of(self.served)
        self.workers[-1].append(measure(pids["secretfs-worker"], self.workers[0]))
        for name, process in (("supervisor", "secretfs"), ("notifier", "secretfs-notify")):
            self.lasting[name].append(measure(pids[process], self.lasting[name]))

    def run(self):
        """True where all was done in time."""
        lives = self.options.restarts + 1
        opens = -(-self.options.opens // (2 * lives * READERS)) * READERS
        rotations = -(-self.options.rotations // (2 * lives))
        deadline = time.monotonic() + self.options.minutes * 60
        self.warm_up()
        worker = None
        for _ in range(lives):
            if time.monotonic() > deadline:
                return False
            self.workers.append([])
            self.half(opens, rotations, worker)
            worker = worker_of(self.served)
            self.half(opens, rotations)
        return True

    def growth(self):
        """What has grown: pairs of measures, the earlier one first."""
        for name, measures in self.lasting.items():
            yield f"{name}, the first life to the last", measures[1], measures[-1]
        reference = self.workers[0][1]
        for number, (first, last) in enumerate(self.workers):
            yield f"worker {number + 1}, the first half of its life to the last", first, last
            yield f"worker 1 to worker {number + 1}, the ends of their lives", reference, last


def report(soak, finished):
    """Prints what came of it; returns the lines that say what was wrong."""
    wrong = [] if finished else [f"not done within {soak.options.minutes} minutes"]
    worst = {}
    for what, first, last in soak.growth():
        for kind in ("Rss", "private"):
            grown = last[kind] - first[kind]
            if grown > GROWTH_MAX_KIB:
                wrong.append(f"{what}: {kind} grew by {grown} KiB")
            role = what.partition(",")[0] if what.partition(",")[0] in soak.lasting else "workers"
            worst[role, kind] = max(worst.get((role, kind), grown), grown)
        if first["fds"] != last["fds"]:
            wrong.append(f"{what}: {first['fds']} descriptors became {last['fds']}")
    if soak.failed:
        wrong.append(f"{soak.failed} calls failed: {soak.first_error}")
    print(
        f"{soak.opens} opens, {soak.rotations} rotations, {soak.restarts} restarts:"
        f" {soak.failed} calls failed"
    )
    for name, first, last in (
        *((name, measures[1], measures[-1]) for name, measures in soak.lasting.items()),
        ("worker", soak.workers[0][0], soak.workers[-1][-1]),
    ):
        print(f"{name}, KiB:", ", ".join(f"{kind} {first[kind]} -> {last[kind]}" for kind in first))
    for (role, kind), grown in worst.items():
        print(f"most growth of {role}, {kind}: {grown} KiB")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30, help="give up after that long")
    parser.add_argument("--opens", type=int, default=1_000_000)
    parser.add_argument("--rotations", type=int, default=10_000)
    parser.add_argument("--restarts", type=int, default=100)
    options = parser.parse_args()
    begun = time.monotonic()
    folder = fresh_folder()
    try:
        store = Store.fresh(folder)
        for secret in range(len(SIZES)):
            store.put(str(secret), content(secret, 0))
        served = Mount(store, folder / "mnt")
        try:
            soak = Soak(store, served, options)
            wrong = report(soak, soak.run())
        finally:
            served.close()
    finally:
        remove_folder(folder)
    for line in wrong:
        print("wrong:", line)
    print(f"{time.monotonic() - begun:.0f} s, {'failed' if wrong else 'passed'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
