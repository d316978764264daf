"""
Nobody who reads the mount waits for whoever holds the store: a process that has it locked, or a
secretctl that was stopped in the middle of a command.
"""

import errno
import fcntl
import os
import random
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from harness import QUICK, Child, end, eventually, sanitized, spawn
from load import LONGEST_CALL_S, standstills

pytestmark = pytest.mark.alone

STOPS = int(os.environ.get("SECRETFS_STOPS", "2" if sanitized() else "5"))  # 200 is the long form
SMALL = random.Random(1).randbytes(5000)
LARGE = random.Random(2).randbytes(600000)
CACHED = b"in the page cache"
WRITING = "fcntl,pwrite64,fdatasync,ftruncate"  # the system calls of SQLite that others notice


def read_uncached(path, content):
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert file.readall() == content  # what fails after some bytes is a short read(2) first


def read_cached(path, content):
    assert path.read_bytes() == content


def list_folder(path, names):
    assert names <= set(os.listdir(path))


class Reader:
    """Calls step(*args) over and over in a process of its own; EIO is counted, nothing else may fail."""

    def __init__(self, stop, step, *args):
        self.step = step
        self.child = Child(self._run, stop, step, *args)

    @staticmethod
    def _run(stop, step, *args):
        calls, failed, longest = 0, 0, 0.0
        while not stop.exists():
            begun = time.monotonic()
            try:
                step(*args)
            except OSError as error:
                assert error.errno == errno.EIO, error
                failed += 1
            longest = max(longest, time.monotonic() - begun)
            calls += 1
            time.sleep(0.01)
        return calls, failed, longest


class Readers:
    """More of them than the daemon has threads, of every kind of call."""

    def __init__(self, served, stop):
        self.stop = stop
        steps = [
            *[(read_uncached, served.path / "small", SMALL)] * 4,
            *[(read_uncached, served.path / "large", LARGE)] * 2,
            (read_cached, served.path / "cached", CACHED),
            (os.stat, served.path / "large"),
            (os.path.exists, served.path / "missing"),
            (list_folder, served.path, {"cached", "large", "small"}),
        ]
        self.started = [Reader(stop, *step) for step in steps]
        self.still = Child(standstills, stop)

    def finish(self):
        """How many calls there were, how many failed, and the longest, which is within the limit."""
        self.stop.touch()
        results = [(reader.step, *reader.child.result()) for reader in self.started]
        limit = LONGEST_CALL_S + self.still.result()
        for step, calls, failed, longest in results:
            assert calls > 2 and longest < limit, results
            assert failed == 0 or step is read_uncached, results
        _, calls, failed, longest = zip(*results)
        return sum(calls), sum(failed), max(longest)


@pytest.fixture
def served(store, mount):
    store.quick = True
    for path, content in (("small", SMALL), ("large", LARGE), ("cached", CACHED), ("rotated", b"")):
        store.put(path, content)
    served = mount()
    read_cached(served.path / "cached", CACHED)
    return served


@pytest.fixture
def readers(served, folder):
    """A function that starts them."""
    stop = folder / "stop"
    yield lambda: Readers(served, stop)
    stop.touch()


# ---- A store that is locked -------------------------------------------------


def transaction(path):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    database.execute("DELETE FROM node")
    return database


def every_byte(path):
    """
    Lock all that can be: in the -shm file SQLite's locks at 120 to 127, while the daemon itself holds
    the next byte; in the store's own file what comes before the bytes that the daemon holds, from
    1 GiB + 2 on. One byte after the other, since readers hold some of them for moments.
    """
    shm, wal, file = files = [open(f"{path}{suffix}", "r+b") for suffix in ("-shm", "-wal", "")]
    for start in range(128):
        fcntl.lockf(shm, fcntl.LOCK_EX, 1, start)
    fcntl.lockf(wal, fcntl.LOCK_EX)
    fcntl.lockf(file, fcntl.LOCK_EX, 0x40000002)
    return files


def half_a_commit(path):
    """
    The state of a writer that was stopped between the two copies of the log's index header, at 0 and
    48 of the -shm file: no reader can trust it, nor mend it while the writer has its lock. It ends
    without the second copy, so that whoever comes next has to mend it.
    """
    shm = open(f"{path}-shm", "r+b", buffering=0)
    fcntl.lockf(shm, fcntl.LOCK_EX, 1, 120)
    changes = int.from_bytes(os.pread(shm.fileno(), 4, 8), "little")
    os.pwrite(shm.fileno(), (changes + 1).to_bytes(4, "little"), 8)
    return shm


def hold(path, lock, held, seconds):
    """To be run in a process of its own: locks belong to processes."""
    kept = lock(path)
    os.utime(f"{path}-wal")  # the daemon takes it for a commit
    held.touch()
    time.sleep(seconds)
    return kept is not None


@pytest.mark.parametrize(
    "lock, seconds, bites",
    [(transaction, 2, False), (half_a_commit, 2, True), (every_byte, 3, True)],
    ids=["transaction", "half_a_commit", "every_byte"],
)
def test_no_reader_waits_for_a_locked_store(
    store, served, readers, folder, measured, lock, seconds, bites
):
    read = readers()
    holder = Child(hold, store.path, lock, folder / "held", seconds)
    eventually((folder / "held").exists)
    waiting = spawn(store.argv("put", "rotated", "--generate", "hex:8"), env=QUICK)
    assert holder.result()
    freed = time.monotonic()
    assert end(waiting) == 0, "secretctl waits 5 s for others"
    eventually(lambda: len((served.path / "rotated").read_bytes()) == 8)
    store.put("rotated", b"again")
    eventually(lambda: (served.path / "rotated").read_bytes() == b"again")
    followed = time.monotonic() - freed
    for path, content in (("small", SMALL), ("large", LARGE)):
        read_uncached(served.path / path, content)
    calls, failed, longest = read.finish()
    assert (failed > 0) == bites
    log = served.log.read_text()
    assert ("cannot read the inode" in log) == bites
    assert log.count("cannot follow; serving the last verified state of") == bites
    assert log.count("is verified again") == bites
    assert log.count("the store is locked by another process") == log.count("cannot ") <= 2 + seconds
    measured(
        f"{calls} calls, the longest took {longest:.2f} s; {failed} uncached reads failed, no other;"
        f" two commits were served {followed:.2f} s after {seconds} s of lock"
    )


@pytest.mark.parametrize("mode", ["locking_mode=EXCLUSIVE", "journal_mode=DELETE"])
def test_a_served_store_is_never_one_process_s_alone(store, served, mode):
    with closing(sqlite3.connect(store.path, timeout=0)) as database:
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            database.execute(f"PRAGMA {mode}")
            database.execute("SELECT * FROM node").fetchall()
    read_uncached(served.path / "small", SMALL)


# ---- A secretctl that is stopped, or killed -----------------------------------


def commands(store):
    """Commands that write, over and over; a purge empties the log."""
    while True:
        yield store.argv("put", "rotated", "--generate", "hex:8")
        yield store.argv("put", "rotated", "--file", store.folder / "value")
        yield store.argv("rm", "rotated")
        yield store.argv("purge", "rotated")


@pytest.fixture
def running(store, served):
    (store.folder / "value").write_bytes(LARGE)
    return commands(store)


def succeeds(process):
    assert end(process) == 0, process.args


def test_no_reader_waits_for_a_stopped_secretctl(readers, running, measured):
    begun = time.monotonic()
    for _ in range(4):
        succeeds(spawn(next(running), env=QUICK))
    duration = (time.monotonic() - begun) / 4
    read = readers()
    stopped = 0
    while stopped < STOPS:
        process = spawn(next(running), env=QUICK)
        time.sleep(random.random() * duration)
        process.send_signal(signal.SIGSTOP)
        if process.poll() is None:
            time.sleep(1.2 * LONGEST_CALL_S)
            stopped += 1
        process.send_signal(signal.SIGCONT)
        succeeds(process)
    calls, failed, longest = read.finish()
    assert failed == 0
    measured(f"{STOPS} stops under {calls} calls: none failed, the longest took {longest:.2f} s")


def strace(argv, calls, signal_sent, stderr):
    """Run it under strace, which sends it a signal in the midst of some system calls."""
    words = ["strace", "-e", f"trace={calls}", "-e", f"inject={calls}:signal={signal_sent}"]
    return spawn([*words, *argv], env=QUICK, stderr=stderr)


def child_of(process):
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(pids[-1])


def test_no_reader_waits_wherever_secretctl_is_stopped(served, running, measured):
    """After each call that locks, unlocks, writes, syncs or truncates one of the store's files."""
    stops, longest = 0, 0.0
    for _ in range(4):
        process = strace(next(running), WRITING, "SIGSTOP", subprocess.PIPE)
        for line in process.stderr:
            if line != b"--- stopped by SIGSTOP ---\n":
                continue
            begun = time.monotonic()
            read_uncached(served.path / "small", SMALL)
            assert len(os.listdir(served.path)) >= 3
            longest = max(longest, time.monotonic() - begun)
            stops += 1
            os.kill(child_of(process), signal.SIGCONT)
        succeeds(process)
    assert stops > 100 and longest < LONGEST_CALL_S
    measured(f"{stops} stops: no read failed, the longest took {longest:.3f} s")


def test_a_killed_secretctl_leaves_nothing_locked(store, served, running, measured):
    kills = 0
    for call, last in (("fcntl", 60), ("pwrite64", 12), ("fdatasync", 4), ("ftruncate", 2)):
        for when in range(1, last, max(1, last // 12)):
            process = strace(next(running), call, f"SIGKILL:when={when}", subprocess.DEVNULL)
            kills += end(process) == -signal.SIGKILL
            with closing(sqlite3.connect(store.path, isolation_level=None, timeout=0)) as database:
                database.execute("BEGIN IMMEDIATE")
                read_uncached(served.path / "small", SMALL)
            store.put("rotated", b"after %d" % kills)
            eventually(lambda: (served.path / "rotated").read_bytes() == b"after %d" % kills)
    assert kills > 15
    measured(f"{kills} kills: the next command and the next read were served at once")
