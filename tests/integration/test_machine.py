"""What a machine does to a daemon: it is frozen and thawed, its disk fills."""

import os
import signal
import subprocess
import time

import pytest

from harness import FAILED, Store, eventually, freeze, kill_worker, one_line, processes_of


def test_a_machine_that_was_suspended_goes_on(store, mount):
    """All processes stand still for longer than a worker may stay silent."""
    store.wait = False
    store.put("a", b"value")
    served = mount()
    daemon = processes_of(served)
    for pid in daemon.values():
        freeze(pid)
    time.sleep(6)
    store.put("a", b"rotated")
    for pid in daemon.values():
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: (served.path / "a").read_bytes() == b"rotated")
    time.sleep(1.5)
    assert processes_of(served) == daemon
    assert len(served.log.read_text().splitlines()) == 1


@pytest.fixture
def small_disk(folder):
    """A filesystem of 4 MiB."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def version_of(store, path):
    return store.json("show", path)["version"]


def fill(path):
    """Take all the room that is left."""
    with open(path, "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def test_a_full_disk_stops_writers_and_no_reader(small_disk, mount):
    store = Store.fresh(small_disk)
    store.put("a", b"value")
    store.put("b", b"other")
    served = mount(of=store)
    assert (served.path / "a").read_bytes() == b"value"
    fill(small_disk / "ballast")
    line = store.refuses(FAILED, "put", "a", input=b"x" * 100_000)
    assert "space" in line or "full" in line
    assert (served.path / "a").read_bytes() == b"value"
    kill_worker(served)
    assert (served.path / "b").read_bytes() == b"other"
    (small_disk / "ballast").unlink()
    store.put("a", b"rotated")
    eventually(lambda: (served.path / "a").read_bytes() == b"rotated")
    assert store.get("a") == b"rotated"


@pytest.mark.parametrize(
    "command", [("put", "a", "--file"), ("rotate", "b")], ids=lambda command: command[0]
)
def test_what_a_disk_with_little_room_takes_is_kept_and_the_rest_refused(
    small_disk, folder, command
):
    """From no room at all, not even for the log, to enough; nobody else has the store open."""
    store = Store.fresh(small_disk)
    store.put("a", b"value")
    store.put("b", b"other")
    store.ctl("rotation", "b", "--generate", "alnum:40")
    big = folder / "big"
    statuses, ballast = [], small_disk / "ballast"
    for room in (0, 28, 40, 100, 300):  # KiB
        before = {path: (version_of(store, path), store.get(path)) for path in "ab"}
        big.write_bytes(b"%d" % room * 30_000)
        fill(ballast)
        os.truncate(ballast, ballast.stat().st_size - room * 1024)
        argv = command if command[0] == "rotate" else (*command, big)
        process = subprocess.run(store.argv(*argv), capture_output=True, check=False)
        ballast.unlink()
        statuses.append(process.returncode)
        changed = argv[1]
        for path, (version, value) in before.items():
            if path == changed and process.returncode == 0:
                assert version_of(store, path) == version + 1
                assert path == "b" or store.get(path) == big.read_bytes()
            else:
                assert (version_of(store, path), store.get(path)) == (version, value), room
        if process.returncode != 0:
            line = one_line(process.stderr, "secretctl")
            assert process.returncode == FAILED and ("space" in line or "full" in line), line
    store.ctl("check")
    assert statuses[0] == FAILED and statuses[-1] == 0, statuses
