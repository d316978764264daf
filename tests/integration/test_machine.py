"""What a machine does to a daemon: it is frozen and thawed, its disk fills."""

import os
import signal
import subprocess
import time

import pytest

from harness import FAILED, Store, eventually, freeze, processes_of


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
    os.kill(processes_of(served)["secretfs-worker"], signal.SIGKILL)
    assert (served.path / "b").read_bytes() == b"other"
    (small_disk / "ballast").unlink()
    store.put("a", b"rotated")
    eventually(lambda: (served.path / "a").read_bytes() == b"rotated")
    assert store.get("a") == b"rotated"
