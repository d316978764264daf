"""A daemon that meets a bad change serves what it has verified, says so, and no longer when it is over."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

import database
from harness import (
    FAILED,
    INTEGRITY,
    LOCKED,
    QUICK,
    SECRETFS,
    end,
    error_of,
    eventually,
    kill_worker,
    one_line,
    run,
    signal_worker,
    spawn,
)

DAMAGED = "the store is damaged or was tampered with"
OLDER = f"{DAMAGED} (the store: an older state was put in its place)"
BROKEN = f"{DAMAGED} (root 1: its seal is broken)"


def status(store, *options):
    """The exit status, what is printed, and what is said on standard error."""
    done = run(store.argv("status", *options), status=None, env=QUICK)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def daemon(store):
    """What the one daemon says once it answers, whatever the store itself is like."""

    def answers():
        daemons = json.loads(status(store, "--json")[1])["daemons"]
        assert len(daemons) <= 1
        return [said for said in daemons if "error" not in said]

    (said,) = eventually(answers)
    return said


def degraded(store):
    found = daemon(store)["degraded"]
    return found and found["reason"]


def touch_log(store):
    """Have whoever follows the store look, as a commit of secretctl's does."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(f"{store.path}-wal")


def replay(store, source):
    """Put all rows of another file in the place of the store's, in one commit."""
    with contextlib.closing(database.sqlite3.connect(store.path)) as connection:
        connection.execute("ATTACH ? AS other", (str(source),))
        for table in ("node", "version", "slot", "root"):
            connection.execute(f"DELETE FROM {table}")
            connection.execute(f"INSERT INTO {table} SELECT * FROM other.{table}")
        connection.commit()
    touch_log(store)


def copy_rows(store, path):
    """A file with the rows of the store, which a daemon may have open."""
    with contextlib.closing(database.sqlite3.connect(store.path)) as connection:
        connection.execute("VACUUM INTO ?", (str(path),))
    return path


@pytest.fixture
def broken(store):
    """Break the root record, or mend it."""
    store.put("a", b"value")
    (box,) = database.row(store.path, "root", 1, "box")

    def set_broken(on):
        cell = bytes(len(box)) if on else box
        database.execute(store.path, ("UPDATE root SET box=?", (cell,)))
        touch_log(store)

    return set_broken


def test_a_bad_change_is_told_until_it_is_over(store, broken, mount):
    served = mount()
    assert daemon(store)["degraded"] is None
    before = int(time.time())
    broken(True)
    eventually(lambda: degraded(store) == BROKEN)
    assert (served.path / "a").read_bytes() == b"value"

    code, printed, said = status(store)
    assert code == INTEGRITY
    assert one_line(said.encode(), "secretctl").startswith("secretctl: cannot load the store")
    found = re.search(r"^ +degraded: (.*), since (\S+Z)$", printed, re.MULTILINE)
    assert found.group(1) == BROKEN
    since = daemon(store)["degraded"]["since"]
    assert since == found.group(2)
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(before)) <= since
    assert str(served.path) in printed and "secrets:" not in printed
    assert json.loads(status(store, "--json")[1])["ok"] is False

    broken(False)
    eventually(lambda: degraded(store) is None)
    code, printed, said = status(store)
    assert (code, said) == (0, "") and "degraded" not in printed
    store.put("a", b"newer")
    assert (served.path / "a").read_bytes() == b"newer"
    assert served.log.read_text().count("serving the last verified state") == 1


def test_an_older_state_is_refused_by_the_daemon_and_the_anchor(store, mount):
    """The file is good by itself; both know better."""
    store.put("a", b"older")
    older = copy_rows(store, store.folder / "older.db")
    served = mount()
    store.put("a", b"newer")
    newer = copy_rows(store, store.folder / "newer.db")
    replay(store, older)
    eventually(lambda: degraded(store) == OLDER)
    assert error_of((served.path / "a").read_bytes) == "EIO"  # that value is gone; not the older one
    code, printed, said = status(store)
    assert code == INTEGRITY and "an older state was put in its place" in said
    assert "degraded: " in printed
    replay(store, newer)
    eventually(lambda: degraded(store) is None)
    assert status(store)[0] == 0
    assert (served.path / "a").read_bytes() == b"newer"


def test_a_worker_that_can_not_load_the_store_is_told(store, broken, mount):
    served = mount()
    broken(True)
    eventually(lambda: degraded(store) == BROKEN)
    since = daemon(store)["degraded"]["since"]
    signal_worker(served, signal.SIGKILL)
    eventually(lambda: daemon(store)["restarts"] >= 2)
    assert daemon(store)["degraded"] == {"reason": BROKEN, "since": since}
    broken(False)
    eventually(lambda: degraded(store) is None)
    assert (served.path / "a").read_bytes() == b"value"
    kill_worker(served)
    assert degraded(store) is None


def test_another_file_in_its_place_is_told(store, mount):
    store.put("a", b"value")
    served = mount()
    daemon(store)
    shutil.copy(store.path, store.folder / "other")
    (store.folder / "other").rename(store.path)
    touch_log(store)
    wanted = f"{DAMAGED} (the store's file: it was removed or another is in its place)"
    eventually(lambda: degraded(store) == wanted)
    assert (served.path / "a").read_bytes() == b"value"


def test_a_store_that_can_not_be_opened_has_its_daemons_told(store, mount):
    store.put("a", b"value")
    served = mount()
    daemon(store)
    database.execute(store.path, "CREATE TABLE extra(x)")
    code, printed, said = status(store)
    assert code == INTEGRITY and "extra: it is not of a secretfs store" in said
    assert str(served.path) in printed
    database.execute(store.path, "DROP TABLE extra", "PRAGMA user_version=7")
    code, printed, said = status(store)
    assert code == FAILED and str(served.path) in printed
    assert (served.path / "a").read_bytes() == b"value"
    served.stop()
    assert status(store)[:2] == (FAILED, "")


def test_without_the_key_there_is_no_report(store, mount):
    mount()
    store.unlock = ["--key-file", store.folder / "no-key"]
    assert status(store)[:2] == (LOCKED, "")


def test_a_locked_store_is_no_bad_one(store, mount):
    """It is followed again as soon as the lock is gone; a command that waits says so itself."""
    store.put("a", b"value")
    mount()
    daemon(store)
    with contextlib.closing(database.sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        touch_log(store)
        time.sleep(0.3)
        assert degraded(store) is None


def test_the_service_manager_is_told(store, broken, folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(30)
        process = spawn(
            [SECRETFS, "-o", f"key_file={store.key}", store.path, folder / "mnt"],
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
            stderr=subprocess.DEVNULL,
        )
        try:
            assert manager.recv(4096) == b"READY=1\nSTATUS=serving"
            broken(True)
            assert manager.recv(4096) == f"STATUS=degraded: {BROKEN}".encode()
            broken(False)
            assert manager.recv(4096) == b"STATUS=serving"
        finally:
            process.terminate()
            ended = end(process)
        assert ended == 0
