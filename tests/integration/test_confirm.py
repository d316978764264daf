"""A writing command ends when every live mount shows its change: no open gives the old state then."""

import os
import random
import shutil
import signal
import socket
import statistics
import time
from pathlib import Path

import pytest

from harness import (
    QUICK,
    UNCONFIRMED,
    Store,
    end,
    error_of,
    eventually,
    freeze,
    identity,
    kill_worker,
    one_line,
    run,
    sanitized,
    spawn,
    worker_of,
)
from load import number_of, value

FOLDER = Path("/run/secretfs")


def modes(*paths):
    return [path.stat().st_mode & 0o777 for path in paths]


def test_what_every_command_has_changed_is_seen_at_once_on_every_mount(store, mount, folder):
    store.quick = True
    store.put("dir/a", b"one", "-p")
    (folder / "second").mkdir(mode=0o755)
    other = Store.fresh(folder / "second")
    roots = [mount().path, mount("direct_io").path]
    mount(of=other)
    for number in range(8 if sanitized() else 20):
        store.put("dir/a", b"%d" % number)
        assert [(root / "dir/a").read_bytes() for root in roots] == [b"%d" % number] * 2
        store.ctl("rollback", "dir/a")
        assert [(root / "dir/a").read_bytes() for root in roots] == [
            b"%d" % (number - 1) if number else b"one"
        ] * 2
        store.ctl("rollback", "dir/a", "--to", str(number + 2))
        mode = (0o400, 0o440)[number % 2]
        store.ctl("chmod", "%04o" % mode, "dir/a")
        assert modes(*(root / "dir/a" for root in roots)) == [mode] * 2
        store.ctl("chown", f"{number}:{number}", "dir/a")
        assert [(root / "dir/a").stat().st_uid for root in roots] == [number] * 2
        store.ctl("setfacl", "-m", f"u:{1000 + number}:r", "dir/a")
        assert all(os.getxattr(root / "dir/a", "system.posix_acl_access") for root in roots)
        store.ctl("setfacl", "-b", "dir/a")
        assert [error_of(os.getxattr, root / "dir/a", "system.posix_acl_access") for root in roots] == [
            "ENODATA"
        ] * 2
        store.put("dir/b", b"%d" % number, "--expires", "1h")
        store.ctl("revoke", "dir/b")
        assert [error_of(open, root / "dir/b") for root in roots] == ["EKEYREVOKED"] * 2
        store.put("dir/b", b"%d" % number)
        store.ctl("expire", "dir/b", "0s")
        assert [error_of(open, root / "dir/b") for root in roots] == ["EKEYEXPIRED"] * 2
        store.ctl("expire", "dir/b", "never")
        assert [(root / "dir/b").read_bytes() for root in roots] == [b"%d" % number] * 2
        store.ctl("mkdir", f"d{number}")
        assert all((root / f"d{number}").is_dir() for root in roots)
        store.ctl("mv", "dir/a", f"d{number}/b")
        assert [error_of(os.stat, root / "dir/a") for root in roots] == ["ENOENT"] * 2
        assert [(root / f"d{number}/b").read_bytes() for root in roots] == [b"%d" % number] * 2
        store.ctl("mv", f"d{number}/b", "dir/a")
        store.ctl("rm", "dir/a")
        assert [error_of(open, root / "dir/a") for root in roots] == ["ENOENT"] * 2
        store.ctl("restore", "dir/a")
        assert all((root / "dir/a").exists() for root in roots)
        store.ctl("rm", f"d{number}")
        assert [error_of(os.stat, root / f"d{number}") for root in roots] == ["ENOENT"] * 2


def test_confirming_takes_little(store, mount, measured):
    """A thousand secrets, a hundred of them held open; commands that wait and that don't, in turn."""
    puts = 40 if sanitized() else 200
    store.quick = True
    store.put("warm", b"x")
    for number in range(10):
        store.ctl("mkdir", *(f"d{number}-{i}" for i in range(100)))
    for number in range(100):
        store.put(f"s{number}", value(number))
    served = mount()
    held = [os.open(served.path / f"s{number}", os.O_RDONLY) for number in range(100)]
    times = {"wait": [], "--no-wait": []}
    for number in range(puts):
        for kind, taken in times.items():
            begun = time.monotonic()
            store.put("s1", value(number), *([kind] if kind != "wait" else []))
            taken.append(time.monotonic() - begun)
            if kind == "wait":
                assert number_of((served.path / "s1").read_bytes()) == number
    for fd in held:
        os.close(fd)
    waited, not_waited = (statistics.median(times[kind]) * 1000 for kind in times)
    measured(
        f"a put with its confirmation takes {waited:.1f} ms, without {not_waited:.1f} ms (medians of {puts})"
    )
    assert waited - not_waited < 500, "it waits for no timer"


def committed(store, path, **options):
    """Run a put that is committed but not confirmed; returns its line and how long it took."""
    begun = time.monotonic()
    done = run(store.argv("put", path), status=UNCONFIRMED, input=b"rotated", env=QUICK, **options)
    return one_line(done.stderr, "secretctl"), time.monotonic() - begun


def test_a_daemon_that_says_nothing_is_named_after_five_seconds(store, mount):
    store.put("a", b"value")
    stopped, live = mount(), mount()
    freeze(stopped.process.pid)
    freeze(worker_of(stopped))
    line, taken = committed(store, "a")
    assert str(stopped.path) in line and str(live.path) not in line and "committed" in line
    assert 4.9 < taken < 10
    assert (live.path / "a").read_bytes() == b"rotated"
    store.put("a", b"not waited for", "--no-wait")
    os.kill(worker_of(stopped), signal.SIGCONT)
    os.kill(stopped.process.pid, signal.SIGCONT)
    eventually(lambda: (stopped.path / "a").read_bytes() == b"not waited for")
    store.put("a", b"confirmed")
    assert (stopped.path / "a").read_bytes() == b"confirmed"


def test_a_copy_of_the_store_is_not_waited_for(store, mount, folder):
    """It has the same uuid; what is committed there, the daemon of the other never shows."""
    store.put("a", b"value")
    served = mount()
    copy = Store(folder / "copy")
    copy.folder.mkdir()
    for path in [store.key, *store.files(), *store.records()]:
        shutil.copy2(path, copy.folder)
    begun = time.monotonic()
    for number in range(3):
        copy.put("a", b"of the copy %d" % number)
    assert time.monotonic() - begun < 5
    assert (served.path / "a").read_bytes() == b"value"
    assert copy.json("status")["daemons"] == []


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_daemon_of_a_copy_that_may_not_be_asked_is_not_waited_for(store, mount, folder, mode):
    original = Store(folder / "original")
    original.folder.mkdir(mode)
    for path in [store.key, *store.files(), *store.records()]:
        shutil.copy2(path, original.folder)
    mount(of=original)
    for path in store.possessions():
        os.chown(path, 4242, 4242)
    store.ctl("put", "a", input=b"of the copy", **identity(4242))
    # The daemon of the same file can't be left out.
    for path in original.possessions():
        os.chown(path, 4242, 4242)
    original.refuses(UNCONFIRMED, "put", "a", input=b"another", **identity(4242))


def waiting_put(store, content):
    """A put that has committed, or is about to."""
    process = spawn(store.argv("put", "a"), stdin=-1, stderr=-1, env=QUICK)
    process.stdin.write(content)
    process.stdin.close()
    return process


def test_daemons_and_workers_that_die_meanwhile(store, mount):
    """A daemon that ends has no mount any more; for a worker, the next one confirms."""
    store.put("a", b"value")
    chance = random.Random(1)
    served = mount()
    for number in range(20):
        process = waiting_put(store, b"%d" % number)
        time.sleep(chance.random() * 0.02)
        kill_worker(served)
        assert end(process) == 0
        process.stderr.close()
        assert (served.path / "a").read_bytes() == b"%d" % number
    for number, signum in enumerate([signal.SIGKILL, signal.SIGTERM] * 4):
        process = waiting_put(store, b"again %d" % number)
        time.sleep(chance.random() * 0.02)
        os.kill(served.process.pid, signum)
        assert end(process) == 0, process.stderr.read()
        process.stderr.close()
        end(served.process)
        served.close()
        assert store.get("a") == b"again %d" % number
        served = mount()


def test_without_its_socket_a_daemon_learns_of_changes_all_the_same(store, mount):
    store.put("a", b"value")
    served = mount()
    for path in FOLDER.glob(f"*.{served.process.pid}*"):
        path.unlink()
    store.put("a", b"rotated")
    eventually(lambda: (served.path / "a").read_bytes() == b"rotated")


def test_commands_that_are_killed_or_stopped_while_they_wait_take_no_place(store, mount):
    """More of them than the daemon has places for."""
    store.quick = True
    store.put("a", b"value")
    served = mount()
    at = str(next(FOLDER.glob(f"*.{served.process.pid}")))
    freeze(worker_of(served))
    waiting = [waiting_put(store, b"%d" % number) for number in range(40)]
    time.sleep(1)
    for process in waiting[:20]:
        process.kill()
    os.kill(worker_of(served), signal.SIGCONT)
    statuses = [end(process) for process in waiting]
    for process in waiting:
        process.stderr.close()
    assert statuses == [-signal.SIGKILL] * 20 + [0] * 20
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(33)]
    for one in silent:
        one.connect(at)
    store.put("a", b"and one more")
    assert (served.path / "a").read_bytes() == b"and one more"
    for one in silent:
        one.close()


@pytest.mark.parametrize("command", [["get", "a"], ["ls"], ["show", "a"], ["check"]])
def test_commands_that_change_nothing_have_no_such_option(store, command):
    store.put("a", b"value")
    assert "--no-wait" in store.refuses(2, *command, "--no-wait")
