"""
Superseded versions, as a single file that is mounted elsewhere shows them: watchers are told, and
opens give the current version.
"""

import ctypes
import faulthandler
import mmap
import os
import random
import signal
import subprocess
import time

import pytest

from harness import (
    READING,
    Child,
    Watch,
    children_of,
    error_of,
    eventually,
    kill_if_lives,
    kill_worker,
    sanitized,
)

TOLD = ["OPEN", "MODIFY", "CLOSE_WRITE"]
ALL = sorted({*TOLD, *READING, "DELETE_SELF", "MOVE_SELF"})


@pytest.fixture
def bind(folder):
    """Mount a single file somewhere else, as into a container."""
    made = []

    def mount_file(path):
        place = folder / f"bound-{len(made)}"
        place.touch()
        subprocess.run(["mount", "--bind", path, place], check=True)
        made.append(place)
        return place

    yield mount_file
    for place in made:
        subprocess.run(["umount", "-l", place], check=True)


# Sanitizers make a process start slower, and one that is killed before it has begun gets nothing done.
PAUSE_S = 0.3 if sanitized() else 0.03
ROTATIONS = 30 if sanitized() else 90  # no more, as the newest 100 versions are kept


def kill_some(served, stop, names):
    """
    Kill the daemon's children of these names at random until stopped; says how many. There is an
    answer between any two kills and the next.
    """
    chance = random.Random(1)
    last, count = {}, 0
    while not stop.exists():
        name = chance.choice(names)
        pid = children_of(served.process.pid).get(name)
        if pid and pid != last.get(name):
            kill_if_lives(pid)
            last[name] = pid
            count += 1
        if count % 2:
            os.statvfs(served.path)  # always a request
        time.sleep(chance.random() * PAUSE_S)
    return count


def flags_of(events, path):
    return [event.flags for event in events if event.path == path]


# ---- Watchers ------------------------------------------------------------------------------------


def test_the_watcher_of_a_bound_file_is_told_of_every_rotation(store, mount, bind):
    store.put("dir/a", b"0", "-p")
    path = mount().path / "dir/a"
    bound = bind(path)
    with Watch(bound, flags=ALL) as watch:
        for number in range(1, 6):
            store.put("dir/a", b"%d" % number)
            assert flags_of(watch.collect(3), bound) == TOLD


def test_watchers_of_versions_superseded_long_ago_are_told_once_each(store, mount, bind):
    store.quick = True
    store.put("a", b"0")
    served = mount().path
    places = []
    with Watch(served) as folder, Watch() as watch:
        for number in range(1, 9):
            places.append(bind(served / "a"))
            watch.add(places[-1], ALL)
            store.put("a", b"%d" % number)
            events = watch.collect(3 * len(places))
            assert [flags_of(events, place) for place in places] == [TOLD] * len(places)
            assert folder.names(1) == [("MOVED_TO", "a")]


def test_a_rollback_tells_the_version_that_comes_back_too(store, mount, bind):
    """It has two names in the kernel then, and is taken for deleted when one of them goes again."""
    store.put("a", b"one")
    served = mount().path
    one = bind(served / "a")
    store.put("a", b"two")
    two = bind(served / "a")
    with Watch(one, two, flags=[*TOLD, "DELETE_SELF"]) as watch, Watch(served) as folder:
        store.ctl("rollback", "a")
        events = watch.collect(6)
        assert [flags_of(events, place) for place in (one, two)] == [TOLD, TOLD]
        assert folder.names(1) == [("MOVED_TO", "a")]
        store.ctl("rollback", "a", "--to", "2")
        events = watch.collect(5)
        assert flags_of(events, two) == TOLD
        assert flags_of(events, one) == ["DELETE_SELF", "IGNORED"]
        assert folder.names(1) == [("MOVED_TO", "a")]


def test_watchers_of_the_folder_hear_of_the_name_and_of_nothing_else(store, mount, bind):
    store.put("dir/a", b"one", "-p")
    served = mount().path
    bind(served / "dir/a")
    handle = os.open(served / "dir/a", os.O_RDONLY)
    with Watch(served, served / "dir", flags=[*ALL, "MOVED_TO", "CREATE", "DELETE"]) as watch:
        store.put("dir/a", b"two")
        store.ctl("chmod", "0444", "dir/a")
        assert watch.names(1, quiet=0.3) == [("MOVED_TO", "a")]
    os.close(handle)


def test_what_is_neither_held_nor_mounted_costs_nothing(store, mount, measured):
    store.quick = True
    served = mount("debug")
    for number in range(100):
        store.put("a", b"%d" % number)
        assert (served.path / "a").read_bytes() == b"%d" % number
    eventually(lambda: served.counted("RELEASE") == served.counted("OPEN"))  # it comes after close(2)
    before = len(served.requests())
    begun = time.monotonic()
    store.put("a", b"the last")
    took = time.monotonic() - begun
    assert [one for one in served.requests()[before:] if one[0] in ("OPEN", "FALLOCATE")] == []
    measured(f"a rotation with 99 superseded versions that nobody holds: {1000 * took:.1f} ms")


def test_as_many_held_versions_as_are_kept(store, mount, bind, measured):
    store.quick = True
    store.put("a", b"0")
    served = mount()
    with Watch() as watch:
        for number in range(1, 99):
            watch.add(bind(served.path / "a"), ["MODIFY", "CLOSE_WRITE"])
            store.put("a", b"%d" % number)
            watch.collect(2 * number, quiet=0)
        begun = time.monotonic()
        store.put("a", b"the last")
        took = time.monotonic() - begun
        events = watch.collect(196)
        assert [event.flags for event in events] == ["MODIFY", "CLOSE_WRITE"] * 98
        assert len({event.path for event in events}) == 98
    measured(f"a rotation that tells the watchers of 98 superseded versions: {1000 * took:.1f} ms")


# ---- Opened again --------------------------------------------------------------------------------


def see(path):
    """What stat(2), fstat(2) and reading to the end give; they must agree."""
    size = os.stat(path).st_size
    fd = os.open(path, os.O_RDONLY)
    try:
        held = os.fstat(fd)
        value = b""
        while part := os.read(fd, 7000):
            value += part
    finally:
        os.close(fd)
    assert size == held.st_size == len(value)
    return value


def test_a_bound_file_shows_every_rotation(store, mount, bind):
    store.put("dir/a", b"0", "-p")
    path = mount().path / "dir/a"
    bound = bind(path)
    assert see(bound) == b"0"
    number = bound.stat().st_ino
    for value in (b"longer" * 5000, b"", b"1", b"x" * 4096):
        store.put("dir/a", value)
        assert see(bound) == see(bound) == see(path) == value
        assert bound.stat().st_ino == number != path.stat().st_ino
        assert bound.stat().st_mtime_ns == path.stat().st_mtime_ns
    store.ctl("rollback", "dir/a", "--to", "1")
    assert see(bound) == b"0" and bound.stat().st_ino == path.stat().st_ino
    store.ctl("revoke", "dir/a", "--version", "1")
    assert error_of(open, bound) == "EKEYREVOKED"
    store.put("dir/a", b"good")
    assert see(bound) == b"good"
    store.ctl("rm", "dir/a")
    assert error_of(open, bound) == "ENOENT"


def test_who_holds_the_old_version_keeps_it_and_its_size(store, mount, bind):
    old, new = b"old " * 30000, b"new"
    store.put("a", old)
    served = mount()
    bound = bind(served.path / "a")
    held = os.open(bound, os.O_RDONLY)
    mapped = mmap.mmap(held, 0, prot=mmap.PROT_READ)
    store.put("a", new)
    assert bound.read_bytes() == new
    assert os.fstat(held).st_size == bound.stat().st_size == len(old)
    assert os.pread(held, len(old) + 1, 0) == mapped[:] == old
    kill_worker(served)
    assert bound.read_bytes() == new and os.fstat(held).st_size == len(old)
    os.close(held)
    assert bound.stat().st_size == len(old)  # the mapping holds it
    mapped.close()
    eventually(lambda: bound.stat().st_size == len(new))
    assert see(bound) == new


def test_a_handle_opened_again_by_its_number_gives_the_current_version(store, mount):
    store.put("a", b"old")
    path = mount().path / "a"
    with open(path, "rb") as held:
        store.put("a", b"newer")
        with open(f"/proc/self/fd/{held.fileno()}", "rb") as again:
            assert again.read() == b"newer"
        assert held.read() == b"old"


def test_a_handle_of_a_bound_file_keeps_its_version(store, mount, bind):
    store.put("a", b"1")
    served = mount()
    bound = bind(served.path / "a")
    store.put("a", b"second")
    held = os.open(bound, os.O_RDONLY)
    store.put("a", b"the third one")
    assert os.fstat(held).st_size == len(b"second")
    kill_worker(served)
    assert os.pread(held, 100, 0) == b"second"
    assert bound.read_bytes() == b"the third one"
    store.ctl("revoke", "a", "--version", "2")
    assert error_of(os.pread, held, 100, 0) == "EKEYREVOKED"
    assert bound.read_bytes() == b"the third one"
    os.close(held)


def map_and_read(path, size):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE) as mapped:
        return mapped[:]


def ends_by(function, *args):
    """The signal that ends a process that calls it, or 0."""
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()  # a signal is what is expected
        try:
            function(*args)
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


def test_a_private_mapping_of_a_bound_file(store, mount, bind):
    """Its pages are the inode's: it gets the current version, or none where that would mix two."""
    store.put("a", b"0")
    bound = bind(mount().path / "a")
    for value in (b"one" * 5000, b"two" * 100, b"three" * 9000):
        store.put("a", value)
        eventually(lambda size=len(value): ends_by(map_and_read, bound, size) == 0)
        assert map_and_read(bound, len(value)) == value
    held = os.open(bound, os.O_RDONLY)
    store.put("a", b"four" * 5000)
    assert ends_by(map_and_read, bound, 4096) == signal.SIGBUS
    assert os.pread(held, 5, 0) == b"three"
    os.close(held)
    eventually(lambda: map_and_read(bound, 20000) == b"four" * 5000)
    store.ctl("revoke", "a")
    assert error_of(open, bound) == "EKEYREVOKED"


def test_revocation_reaches_a_mapping_of_a_bound_file(store, mount, bind):
    store.put("a", b"0")
    bound = bind(mount().path / "a")
    store.put("a", b"secret" * 1000)
    with open(bound, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 6000, mmap.MAP_PRIVATE)
        assert mapped[:6] == b"secret"
        store.ctl("revoke", "a")
        assert ends_by(lambda: mapped[0]) == signal.SIGBUS
        mapped.close()


def load(path, stop, acknowledged):
    """Open, fstat, read, close until stopped; how often, and every fault."""
    reads, faults = 0, []
    while not stop.exists():
        least = acknowledged.value
        try:
            fd = os.open(path, os.O_RDONLY)
            size = os.fstat(fd).st_size
            value = os.read(fd, 1 << 20)
            os.close(fd)
        except OSError as error:
            faults.append(f"{error}")
            continue
        number = int(value[:6])
        if value != value_of(number):
            faults.append(f"torn: {value[:10]} and {len(value)} bytes")
        if size != len(value):
            faults.append(f"size {size}, read {len(value)}")
        if number < least:
            faults.append(f"{number}, which is older than {least}")
        reads += 1
    return reads, faults[:5]


def value_of(number):
    size = (6, 4096, 65536, 100, 4097, 20000)[number % 6]
    return (b"%06d" % number * (size // 6 + 1))[:size]


def elsewhere(path, bound, stop, acknowledged, ready):
    """load() in a mount namespace of its own, with the file mounted there alone."""
    assert ctypes.CDLL(None).unshare(0x20000) == 0  # CLONE_NEWNS
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", path, bound], check=True)
    ready.touch()
    # The kernel tells of a close later. So the first rotation comes before the first open: whoever
    # has just closed the version that it was mounted with may count as holding it.
    eventually(lambda: acknowledged.value > 0)
    return load(bound, stop, acknowledged)


@pytest.mark.alone
@pytest.mark.parametrize("killing", [False, True])
def test_readers_by_path_and_by_bound_files_under_rotations(
    store, mount, folder, measured, killing
):
    """Each read is whole, has the size that fstat(2) told, and is not older than what was acknowledged."""
    seconds = float(os.environ.get("SECRETFS_SECONDS", 4))
    store.quick = True
    store.put("dir/a", value_of(0), "-p")
    mounts = [mount(), mount()]
    paths = [served.path / "dir/a" for served in mounts]
    bound, stop = folder / "bound", folder / "stop"
    bound.touch()
    with mmap.mmap(-1, mmap.PAGESIZE) as shared:
        acknowledged = ctypes.c_long.from_buffer(shared)
        readers = [
            Child(load, paths[0], stop, acknowledged),
            Child(load, paths[1], stop, acknowledged),
            Child(elsewhere, paths[0], bound, stop, acknowledged, folder / "ready"),
        ]
        eventually((folder / "ready").exists)
        killer = killing and Child(kill_some, mounts[0], stop, ["secretfs-worker"])
        begun = time.monotonic()
        for number in range(1, 91):  # no more, as the newest 100 versions are kept
            store.put("dir/a", value_of(number))
            acknowledged.value = number
            time.sleep(max(0, begun + number * seconds / 90 - time.monotonic()))
        stop.touch()
        kills = killer.result() if killing else 0
        results = [reader.result() for reader in readers]
        del acknowledged
    assert [faults for _, faults in results] == [[], [], []]
    assert all(reads > 100 for reads, _ in results)
    reads = " + ".join(str(reads) for reads, _ in results)
    measured(
        f"{number} rotations and {kills} kills under {reads} reads, the last of a file bound elsewhere"
    )


# ---- Killed in between ---------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.parametrize("names", [["secretfs-notify"], ["secretfs-notify", "secretfs-worker"]])
def test_each_rotation_is_told_once_whoever_is_killed(store, mount, bind, folder, measured, names):
    """A notifier that is killed in between has closed the inode, and the next one opens it again."""
    store.wait = False
    store.quick = True
    store.put("a", b"0")
    served = mount()
    places = []
    with Watch() as watch:
        for number in range(1, 6):
            places.append(bind(served.path / "a"))
            watch.add(places[-1], ["MODIFY", "CLOSE_WRITE", "DELETE_SELF"])
            store.put("a", b"%d" % number)
            eventually(lambda: (served.path / "a").read_bytes() == b"%d" % number)
        watch.collect(30)
        killer = Child(kill_some, served, folder / "stop", names)
        rotations, told = 0, {place: 0 for place in places}
        while rotations < ROTATIONS:
            rotations += 1
            store.put("a", b"next %d" % rotations)
            while min(told.values()) < rotations:
                for event in eventually(watch.read):
                    assert event.flags in ("MODIFY", "CLOSE_WRITE")
                    told[event.path] += event.flags == "MODIFY"
            assert set(told.values()) == {rotations}
        (folder / "stop").touch()
        kills = killer.result()
        for event in watch.collect(0, quiet=0.5):
            assert event.flags == "CLOSE_WRITE"
    assert "signal 31" not in served.log.read_text()
    assert kills > ROTATIONS / 10
    measured(f"{rotations} rotations under {kills} kills: 5 superseded inodes told once of each")
