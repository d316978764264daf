"""Deleted means gone: of what was purged no byte is left, whoever reads, writes or dies meanwhile."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from harness import end, eventually, one_line, run, spawn

VALUE = b"canary-value-that-was-purged-" * 400
REMARK = "purged, but what remains of it, encrypted, stays in the write-ahead log"


def mark(store):
    return store.folder / "store.db-purge"


def pieces(store, version):
    """Bytes of a version's row as they stand in the file: its seal, and its box every 512 bytes."""
    with contextlib.closing(sqlite3.connect(store.path)) as database:
        ((seal, box),) = database.execute("SELECT seal, box FROM version WHERE id=?", (version,))
    found = [seal] + [box[at : at + 24] for at in range(0, len(box) - 24, 512)]
    data = store.path.read_bytes()
    whole = [part for part in found if part in data]  # others begin in one page and end in another
    assert len(whole) > 15
    return whole


def left(store, parts):
    """How many of them are in the store's files, and whether a piece of the value itself is."""
    files = [path for path in store.files() if path != mark(store)]
    assert store.path in files
    data = b"".join(path.read_bytes() for path in files)
    assert b"canary" not in data
    return sum(part in data for part in parts)


READ = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN")
print(database.execute("SELECT count(*) FROM version").fetchone()[0], flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def reader(store):
    """
    Somebody in the middle of reading, as the file is now. A process of its own: SQLite's locks go
    with any descriptor of the file that its process closes.
    """
    argv = [sys.executable, "-c", READ, store.path]
    process = spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert int(process.stdout.readline()) > 0
    yield
    process.stdin.close()
    assert end(process) == 0
    process.stdout.close()


@pytest.fixture
def removed(store):
    """A secret of two versions, removed; and one that stays."""
    store.put("kept", os.urandom(9000))
    store.put("a", VALUE)
    store.put("a", VALUE[::-1])
    store.ctl("rm", "a")
    store.parts = pieces(store, 20) + pieces(store, 21)
    store.kept = pieces(store, 18)
    assert left(store, store.parts) == len(store.parts)
    return store


def purge_beside_a_reader(store):
    done = run(store.argv("purge", "a"))
    line = one_line(done.stderr, "secretctl")
    assert REMARK in line
    assert "the next command that writes, or 'secretctl purge', finishes it" in line
    assert mark(store).stat().st_size == 0 and mark(store).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mounted", [False, True])
def test_it_is_gone_at_once(removed, mount, mounted):
    if mounted:
        mount()
        removed.put("kept", os.urandom(9000))  # in the log
    removed.ctl("purge", "a")
    assert left(removed, removed.parts) == 0 and not mark(removed).exists()
    assert left(removed, removed.kept) == len(removed.kept)
    removed.ctl("check")


def time_of_put(store, path):
    """How long a put takes that has nothing to say."""
    begun = time.monotonic()
    assert store.put(path, b"value") == b""
    return time.monotonic() - begun


WRITERS = {
    "put": ("put", "another"),
    "purge --due": ("purge", "--due"),
}


@pytest.mark.parametrize("finish", WRITERS.values(), ids=WRITERS)
def test_a_reader_puts_it_off_until_the_next_command_that_writes(removed, mount, finish):
    mount()
    usual = time_of_put(removed, "before")
    with reader(removed):
        purge_beside_a_reader(removed)
        assert left(removed, removed.parts) > 0
        # Which neither waits for it, for five seconds, nor says so.
        assert time_of_put(removed, "beside") < 4 + 3 * usual
        assert mark(removed).exists()
    for reading in ("check", "status", "ls"):
        removed.ctl(reading)
    assert mark(removed).exists(), "only who may write finishes it"
    removed.ctl(*finish)
    assert not mark(removed).exists()
    assert left(removed, removed.parts) == 0
    assert left(removed, removed.kept) == len(removed.kept)
    removed.ctl("check")


def test_a_purge_that_is_killed_is_finished(removed, mount):
    """Between its commit and the end: it waits there for a reader."""
    mount()
    with reader(removed):
        process = spawn(removed.argv("purge", "a"))

        def committed():
            with contextlib.closing(sqlite3.connect(removed.path)) as database:
                return database.execute("SELECT count(*) FROM version").fetchone()[0] == 1

        eventually(committed)
        process.send_signal(signal.SIGKILL)
        end(process)
    assert mark(removed).exists() and left(removed, removed.parts) > 0
    removed.put("another", b"x")
    assert left(removed, removed.parts) == 0 and not mark(removed).exists()


def test_a_mark_that_is_no_file_does_no_harm(removed):
    target = removed.folder / "target"
    target.write_bytes(b"precious")
    mark(removed).symlink_to(target)
    removed.ctl("purge", "a")
    assert left(removed, removed.parts) == 0
    assert target.read_bytes() == b"precious" and not mark(removed).is_symlink()
