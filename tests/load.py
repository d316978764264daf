"""Readers of every kind, each in a process of its own, while a test rotates what they read."""

import mmap
import os
import random
import time

from harness import Child, eventually, sanitized

# Sanitizers make a worker start slower, and look for leaks where it ends.
LONGEST_CALL_S = 3.0 if sanitized() else 1.0
CONTENT = random.Random(1).randbytes(20000)


def value(number):
    """Tells its number at both ends, and its size by its number."""
    return b"%d %s %d" % (number, b"x" * (number * 7919 % 5000), number)


def number_of(data):
    number = int(data.split(b" ", 1)[0])
    assert data == value(number), data[:40]
    return number


class Reader:
    """Calls `step` again and again in a process of its own; says what went wrong, and the longest call."""

    def __init__(self, step, stop):
        self.child = Child(self._run, step, stop)

    @staticmethod
    def _run(step, stop):
        calls, longest, errors = 0, 0.0, []
        while not stop.exists():
            begun = time.monotonic()
            try:
                step()
            except (OSError, AssertionError) as error:
                errors = [*errors[:2], repr(error)]
            longest = max(longest, time.monotonic() - begun)
            calls += 1
        return calls, longest, errors


def standstills(stop):
    """For how long in all the machine did not let an ordinary process run, and no reader either."""
    total, last = 0.0, time.monotonic()
    while not stop.exists():
        time.sleep(0.001)
        now = time.monotonic()
        total += now - last if now - last > 0.05 else 0
        last = now
    return total


def reading(path):
    """Opens, reads and closes; versions must not go back."""
    last = 0

    def step():
        nonlocal last
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            data = file.readall()
        assert len(data) == size, (len(data), size)
        number = number_of(data)
        assert number >= last, (number, last)
        last = number

    return step


def reading_uncached(path, content):
    def step():
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert file.read(len(content) + 1) == content

    return step


def mapping(path):
    """Maps what the name shows, and reads all of it."""

    def step():
        with open(path, "rb", buffering=0) as file, mmap.mmap(
            file.fileno(), 0, prot=mmap.PROT_READ
        ) as mapped:
            number_of(mapped[:])

    return step


def listing(path, names):
    def step():
        assert sorted(os.listdir(path)) == names

    return step


class Load:
    """
    Readers of a mount that open, read, map, list and stat: with Load(store, mount(), folder) as load.
    The mount shows `rotated` and `fixed`, which Load.fill() has made.
    """

    def __init__(self, served, folder):
        self.served = served
        self.stop = folder / "stop"
        self.number = 1
        self.results = []

    @staticmethod
    def fill(store):
        store.quick = True
        store.put("rotated", value(1))
        store.put("fixed", CONTENT)

    def __enter__(self):
        rotated, fixed = self.served.path / "rotated", self.served.path / "fixed"
        steps = [
            reading(rotated),
            reading_uncached(fixed, CONTENT),
            mapping(rotated),
            listing(self.served.path, ["fixed", "rotated"]),
            lambda: os.stat(fixed),
        ]
        self.readers = [Reader(step, self.stop) for step in steps]
        self.still = Child(standstills, self.stop)
        return self

    def rotate(self, store):
        self.number += 1
        store.put("rotated", value(self.number))

    def settle(self):
        """The mount shows the last rotation in the end."""
        rotated = self.served.path / "rotated"
        eventually(lambda: number_of(rotated.read_bytes()) == self.number, timeout=10)

    def __exit__(self, *_):
        self.stop.touch()
        self.results = [reader.child.result() for reader in self.readers]
        self.stood_still = self.still.result()

    def report(self):
        """No call failed, and none took long; says how many there were, and how long the longest took."""
        for calls, longest, errors in self.results:
            assert errors == []
            assert calls > 10
            assert longest <= LONGEST_CALL_S + self.stood_still, longest
        return (
            f"{self.number} rotations under {sum(calls for calls, _, _ in self.results)} calls: none"
            f" failed, the longest took {max(longest for _, longest, _ in self.results):.2f} s;"
            f" the machine stood still for {self.stood_still:.2f} s"
        )
