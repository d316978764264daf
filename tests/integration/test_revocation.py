"""
Revocation and expiry reach whoever holds a secret: open files, mappings, every way to open one again.

The clock of the machine is not set here, as other tests run by it; the unit tests turn a clock of
their own back and forth.
"""

import datetime
import errno
import faulthandler
import mmap
import os
import signal
import statistics
import time

import pytest

from harness import (
    FAILED,
    NOT_FOUND,
    USAGE,
    Child,
    error_of,
    eventually,
    freeze,
    kill_if_lives,
    run,
    worker_of,
)

LARGE = b"a large value\n" * 50000  # 700 kB: many requests
BOTH = pytest.mark.parametrize("options", [[], ["direct_io"]], ids=["cached", "direct_io"])


class Held:
    """An open file of the mount."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def read(self, at=0):
        return os.pread(self.fd, 1 << 20, at)

    def error(self, at=0):
        return error_of(self.read, at)


class Mapper:
    """
    A process that maps a file and looks at it, and once more when it is told to: end() gives the
    signal or status it ended with. `write` changes the first byte, in a page of its own then.
    """

    def __init__(self, path, flags, write=False, at=0):
        ready, self.go = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            faulthandler.disable()  # SIGBUS is what is expected
            try:
                fd = os.open(path, os.O_RDONLY)
                prot = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
                area = mmap.mmap(fd, 0, flags=flags, prot=prot)
                if write:
                    area[0] = 65
                seen = bytes(area)
                os.write(ready[1], b"r")
                os.read(self.go[0], 1)
                os._exit(0 if area[at] == seen[at] else 2)
            except BaseException:
                os._exit(1)
        os.close(ready[1])
        assert os.read(ready[0], 1) == b"r"
        os.close(ready[0])

    def end(self):
        os.write(self.go[1], b"g")
        _, status = os.waitpid(self.pid, 0)
        for fd in self.go:
            os.close(fd)
        return os.waitstatus_to_exitcode(status)


SHARED, PRIVATE = mmap.MAP_SHARED, mmap.MAP_PRIVATE
BUS = -signal.SIGBUS


def at(seconds):
    """The time that is so many seconds from now, as `expire` takes it and as time.time() has it."""
    when = time.time() + seconds
    text = datetime.datetime.fromtimestamp(when, datetime.timezone.utc).isoformat()
    return text, when


def sleep_until(when):
    time.sleep(max(0, when - time.time()))


# ---- Revocation ----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("warm", [True, False])
def test_a_held_descriptor_is_cut_off(store, mount, options, warm):
    store.put("a", LARGE)
    served = mount(*options)
    path = served.path / "a"
    with Held(path) as held:
        if warm:
            assert held.read() == LARGE
        store.ctl("revoke", "a")
        assert [held.error(place) for place in (0, 4096, 600000)] == ["EKEYREVOKED"] * 3
        assert error_of(open, path) == "EKEYREVOKED"
        assert error_of(open, f"/proc/self/fd/{held.fd}") == "EKEYREVOKED"
        assert os.fstat(held.fd).st_size == path.stat().st_size == len(LARGE)
        assert os.listdir(served.path) == ["a"]
        store.put("a", b"another")
        assert path.read_bytes() == b"another"
        assert held.error() == "EKEYREVOKED"
    assert "revoked" not in served.log.read_text()


@pytest.mark.parametrize("flags", [SHARED, PRIVATE], ids=["shared", "private"])
@pytest.mark.parametrize("place", [0, 4096, len(LARGE) - 1])
def test_a_mapped_page_is_taken_away(store, mount, flags, place):
    store.put("a", LARGE)
    served = mount()
    untouched, revoked = (Mapper(served.path / "a", flags, at=place) for _ in range(2))
    assert untouched.end() == 0
    store.ctl("revoke", "a")
    assert revoked.end() == BUS


def test_a_mapping_of_a_mount_with_direct_io(store, mount):
    store.put("a", LARGE)
    served = mount("direct_io")
    mapper = Mapper(served.path / "a", PRIVATE)
    store.ctl("revoke", "a")
    assert mapper.end() == BUS


def test_a_page_that_its_owner_has_written_to_is_a_copy(store, mount):
    """It is the program's own memory, like what it has read: only the other pages go."""
    store.put("a", LARGE)
    served = mount()
    own, other = (Mapper(served.path / "a", PRIVATE, True, place) for place in (0, 4096))
    store.ctl("revoke", "a")
    assert (own.end(), other.end()) == (0, BUS)


def test_one_version_is_revoked_and_the_others_are_not_touched(store, mount):
    store.put("a", b"one" + LARGE)
    served = mount("debug")
    path = served.path / "a"
    with Held(path) as one:
        one.read()
        store.put("a", b"two" + LARGE)
        with Held(path) as two:
            mapper = Mapper(path, SHARED)
            assert two.read()[:3] == b"two" and one.read()[:3] == b"one"  # a rotation cuts nothing off
            reads = len([1 for name, *_ in served.requests() if name == "READ"])
            store.ctl("revoke", "a", "--version", 1)
            assert two.read() == path.read_bytes() == b"two" + LARGE
            assert mapper.end() == 0
            assert len([1 for name, *_ in served.requests() if name == "READ"]) == reads
            assert one.error() == "EKEYREVOKED"
            assert "revoked" in store.refuses(FAILED, "rollback", "a")
            assert store.get("a")[:3] == b"two"
            store.refuses(FAILED, "get", "a", "--version", 1)

            store.put("a", b"three")
            store.ctl("revoke", "a", "--version", 3)  # the current one
            assert error_of(path.read_bytes) == "EKEYREVOKED"
            assert two.read()[:3] == b"two"
            assert store.get("a", "--version", 2)[:3] == b"two"
            store.ctl("rollback", "a")
            assert path.read_bytes()[:3] == b"two"


def read_on(path, stop):
    """Read again and again, the file from its start to its end; when the last read began that came
    through, and the errors there were."""
    errors = set()
    last = 0.0
    fd = os.open(path, os.O_RDONLY)
    while not os.path.exists(stop):
        for place in range(0, len(LARGE), 8192):
            begun = time.monotonic()
            try:
                os.pread(fd, 8192, place)
                last = begun
            except OSError as error:
                errors.add(error.errno)
    return last, errors


@BOTH
def test_no_read_that_begins_after_revoke_has_returned_succeeds(store, mount, folder, options, measured):
    served = mount(*options)
    times = []
    store.quick = True
    for number in range(5):
        store.put(f"a{number}", LARGE)
        stop = folder / f"stop{number}"
        readers = [Child(read_on, served.path / f"a{number}", stop) for _ in range(3)]
        time.sleep(0.2)
        begun = time.monotonic()
        store.ctl("revoke", f"a{number}")
        returned = time.monotonic()
        time.sleep(0.1)
        stop.touch()
        for last, errors in [reader.result() for reader in readers]:
            assert 0 < last < returned
            assert errors == {errno.EKEYREVOKED}
        times.append(returned - begun)
    measured(f"a revocation under 3 readers returns after {statistics.median(times) * 1000:.0f} ms")


def test_every_mount_and_bind_mount_is_cut_off(store, mount, folder):
    store.put("dir/a", LARGE, "-p")
    first, second = mount(), mount("direct_io")
    third = mount("subdir=dir")
    single = folder / "single"
    single.touch()
    run(["mount", "--bind", first.path / "dir/a", single])
    try:
        paths = [first.path / "dir/a", second.path / "dir/a", third.path / "a", single]
        holders = [Held(path) for path in paths]
        assert all(held.read() == LARGE for held in holders)
        mapper = Mapper(single, SHARED)
        store.ctl("revoke", "dir/a")
        assert [held.error() for held in holders] == ["EKEYREVOKED"] * 4
        assert [error_of(open, path) for path in paths] == ["EKEYREVOKED"] * 4
        assert mapper.end() == BUS
        for held in holders:
            os.close(held.fd)
    finally:
        run(["umount", "-l", single])


def test_what_is_removed_moved_and_restored_stays_revoked(store, mount):
    store.put("a", LARGE)
    store.put("b", LARGE)
    served = mount()
    with Held(served.path / "a") as a, Held(served.path / "b") as b:
        assert a.read() == b.read() == LARGE
        store.ctl("revoke", "a")
        store.ctl("rm", "a")
        assert a.error() == "EKEYREVOKED"
        store.ctl("restore", "a")
        store.ctl("mv", "a", "c")
        assert error_of(open, served.path / "c") == a.error() == "EKEYREVOKED"

        store.ctl("rm", "b")
        assert b.read() == LARGE  # removal alone is no revocation
        store.refuses(NOT_FOUND, "revoke", "b")
        store.ctl("restore", "b")
        store.ctl("revoke", "b")
        assert b.error() == "EKEYREVOKED"
        store.ctl("check")


def test_killed_workers_and_new_daemons_cut_off_as_well(store, mount):
    store.quick = True
    served = mount()
    for number in range(10):
        store.put(f"a{number}", LARGE)
        with Held(served.path / f"a{number}") as held:
            assert held.read() == LARGE
            mapper = Mapper(served.path / f"a{number}", SHARED)
            worker = worker_of(served)
            if number % 2:
                os.kill(worker, signal.SIGKILL)
            store.ctl("revoke", f"a{number}")
            if number % 2 == 0:
                os.kill(worker, signal.SIGKILL)
            assert held.error() == error_of(open, served.path / f"a{number}") == "EKEYREVOKED"
            assert mapper.end() == BUS
            worker_of(served, after=worker)
    served.stop()
    assert error_of(open, mount().path / "a1") == "EKEYREVOKED"


def test_a_change_that_no_worker_saw_is_not_lost(store, mount):
    """Committed without waiting while the worker is dead or about to be."""
    store.quick, store.wait = True, False
    served = mount()
    for number in range(10):
        store.put(f"a{number}", b"value")
        held = Held(eventually(lambda n=number: (served.path / f"a{n}").exists() and served.path / f"a{n}"))
        assert held.read() == b"value"
        worker = worker_of(served)
        freeze(worker)
        store.ctl("revoke", f"a{number}")
        kill_if_lives(worker)  # one that stands still for long is killed by the supervisor
        eventually(lambda held=held: held.error() == "EKEYREVOKED")
        os.close(held.fd)
        worker_of(served, after=worker)


# ---- Expiry --------------------------------------------------------------------------------------


@BOTH
def test_a_secret_expires_to_the_second(store, mount, options, measured):
    """Not before its time, and right after it, without anybody asking the daemon."""
    served = mount(*options)
    lates = []
    store.quick = True
    for number in range(4):
        store.put("a", LARGE, "--force")
        text, when = at(1.8)
        store.ctl("expire", "a", text)
        with Held(served.path / "a") as held:
            mapper = Mapper(served.path / "a", PRIVATE)
            while True:
                begun = time.time()
                error = held.error(number * 4096)
                if error:
                    break
            assert error == "EKEYEXPIRED"
            assert time.time() >= when
            lates.append(begun - when)
            time.sleep(0.05)
            assert error_of(open, served.path / "a") == "EKEYEXPIRED"
            assert mapper.end() == BUS
            store.ctl("expire", "a", "never")
            assert held.read() == (served.path / "a").read_bytes() == LARGE
    measured(f"the last read that succeeded ended {max(lates) * 1000:.1f} ms after the time at most")
    assert max(lates) < 1
    assert "expired" not in served.log.read_text()


def test_an_expiry_that_is_changed_before_it_is_due(store, mount):
    store.quick = True
    text, due = at(3.5)
    later, _ = at(6.5)
    for name in "abcd":
        store.put(name, b"value", "--expires", text)
    served = mount()
    holders = {name: Held(served.path / name) for name in "abcd"}
    for name, when in zip("abc", ("never", "1h", later)):
        store.ctl("expire", name, when)
    assert [held.read() for held in holders.values()] == [b"value"] * 4
    for name in "dc":
        eventually(lambda held=holders[name]: held.error() == "EKEYEXPIRED")
        assert time.time() >= (due if name == "d" else due + 3)
        left = [held.error() for held in holders.values()].count(None)
        assert left == (3 if name == "d" else 2)
    store.ctl("expire", "b", "0s")  # at once
    assert [holders[name].error() for name in "ab"] == [None, "EKEYEXPIRED"]
    store.ctl("expire", "d", "1h")  # and back
    assert holders["d"].read() == b"value"
    for held in holders.values():
        os.close(held.fd)


def test_expiry_is_the_secrets_not_the_versions(store, mount):
    store.put("a", b"one", "--expires", "1h")
    served = mount()
    with Held(served.path / "a") as one:
        assert one.read() == b"one"
        store.put("a", b"two")
        assert store.json("show", "a")["expires"]
        store.ctl("expire", "a", "0s")
        assert one.error() == error_of(open, served.path / "a") == "EKEYEXPIRED"
        line = store.refuses(FAILED, "put", "a", input=b"three")
        assert "--expires" in line
        store.refuses(FAILED, "put", "a", "--expires", "2020-01-01T00:00:00Z", input=b"three")
        assert store.json("show", "a")["version"] == 2
        store.put("a", b"three", "--expires", "1h")
        assert (served.path / "a").read_bytes() == b"three"
        assert one.read() == b"one"


def test_many_expire_at_once(store, mount):
    """As many as could be made by then."""
    store.quick = True
    served = mount()
    text, when = at(4)
    names = []
    while time.time() < when - 1.5:
        names.append(f"s{len(names)}")
        store.put(names[-1], b"value", "--expires", text)
    assert len(names) > 4
    holders = [Held(served.path / name) for name in names]
    assert all(held.read() == b"value" for held in holders)
    sleep_until(when)
    eventually(lambda: {held.error() for held in holders} == {"EKEYEXPIRED"})
    for held in holders:
        os.close(held.fd)


@pytest.mark.parametrize("before", [0.3, 0.02, 0.0])
def test_a_worker_that_is_killed_around_an_expiry(store, mount, before):
    store.quick = True
    served = mount()
    for number in range(3):
        store.put(f"a{number}", LARGE)
        text, when = at(1.3)
        store.ctl("expire", f"a{number}", text)
        with Held(served.path / f"a{number}") as held:
            assert held.read() == LARGE
            mapper = Mapper(served.path / f"a{number}", SHARED)
            worker = worker_of(served)
            sleep_until(when - before)
            os.kill(worker, signal.SIGKILL)
            worker_of(served, after=worker)
            sleep_until(when)
            eventually(lambda held=held: held.error() == "EKEYEXPIRED")
            assert mapper.end() == BUS


def test_an_expiry_while_no_worker_runs(store, mount):
    """A worker that stands still over the time is replaced; the new one finds what is cached."""
    store.quick = True
    store.put("a", LARGE)
    served = mount()
    with Held(served.path / "a") as held:
        assert held.read() == LARGE
        worker = worker_of(served)
        text, when = at(2)
        store.ctl("expire", "a", text)
        freeze(worker)
        sleep_until(when + 0.2)
        assert os.pread(held.fd, 4096, 0) == LARGE[:4096]  # the kernel's; nobody could tell it
        kill_if_lives(worker)
        eventually(lambda: held.error() == "EKEYEXPIRED")
        served.stop()
    assert error_of(open, mount().path / "a") == "EKEYEXPIRED"


# ---- The tool ------------------------------------------------------------------------------------


def test_the_tool_gives_out_nothing_either(store):
    store.put("a", b"one")
    store.put("a", b"two")
    store.ctl("revoke", "a")
    line = store.refuses(FAILED, "get", "a")
    assert "revoked" in line
    store.refuses(FAILED, "get", "a", "--version", 1)
    store.refuses(FAILED, "get", "a", "--label", "previous")
    store.ctl("revoke", "a")  # again: nothing to do
    store.put("a", b"two")  # the same value, and usable
    assert store.get("a") == b"two" and store.json("show", "a")["version"] == 3
    store.ctl("expire", "a", "0s")
    assert "expired" in store.refuses(FAILED, "get", "a")
    store.ctl("check")
    assert store.refuses(NOT_FOUND, "revoke", "a", "--version", 9)
    store.refuses(NOT_FOUND, "revoke", "b")
    store.ctl("mkdir", "d")
    store.refuses(FAILED, "revoke", "d")
    store.refuses(FAILED, "expire", "d", "1d")


def test_what_is_revoked_or_expires_is_shown(store):
    store.put("a", b"one")
    store.put("b", b"two", "--expires", "2100-01-01T01:00:00+01:00")
    shown = store.json("show", "b")
    assert (shown["revoked"], shown["expires"]) == (False, "2100-01-01T00:00:00Z")
    assert b"expires:" in store.ctl("show", "b") and b"expires:" not in store.ctl("show", "a")
    store.ctl("revoke", "a")
    assert store.json("show", "a")["revoked"] is True
    assert b"(revoked)" in store.ctl("show", "a")
    store.put("a", b"three")
    assert [bool(version["revoked"]) for version in store.json("versions", "a")] == [False, True]
    assert store.ctl("versions", "a").splitlines()[1].endswith(b"previous revoked")
    store.ctl("revoke", "a")
    store.ctl("expire", "b", "0s")
    lines = [line.split() for line in store.ctl("ls", "-l").splitlines()]
    assert [words[-2] for words in lines] == [b"v2,revoked", b"v1,expired"]
    store.ctl("expire", "b", "never")
    assert store.json("show", "b")["expires"] is None
    store.ctl("mkdir", "d")
    assert store.json("show", "d")["expires"] is None


@pytest.mark.parametrize("when", ["", "soon", "30", "-1d", "2027-02-30T00:00:00Z", "2027-01-01"])
def test_a_time_that_is_none_is_a_usage_error(store, when):
    store.put("a", b"value")
    store.refuses(USAGE, "expire", "a", when)
    store.refuses(USAGE, "put", "a", "--expires", when, input=b"other")
    assert store.get("a") == b"value"
