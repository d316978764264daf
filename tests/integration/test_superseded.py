"""Superseded versions, as a single file that is mounted elsewhere shows them: watchers are told."""

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
    eventually,
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


# ---- Killed in between ---------------------------------------------------------------------------


def kill_some(served, stop, names):
    """Kill the daemon's children of these names at random until stopped; says how many."""
    chance = random.Random(1)
    last, count = {}, 0
    while not stop.exists():
        name = chance.choice(names)
        pid = children_of(served.process.pid).get(name)
        if pid and pid != last.get(name):
            os.kill(pid, signal.SIGKILL)
            last[name] = pid
            count += 1
        time.sleep(chance.random() * 0.03)
    return count


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
        while rotations < 90:  # no more, as the newest 100 versions are kept
            rotations += 1
            store.put("a", b"next %d" % rotations)
            while min(told.values()) < rotations:
                for event in eventually(watch.read, timeout=10):
                    assert event.flags in ("MODIFY", "CLOSE_WRITE")
                    told[event.path] += event.flags == "MODIFY"
            assert set(told.values()) == {rotations}
        (folder / "stop").touch()
        kills = killer.result()
        for event in watch.collect(0, quiet=0.5):
            assert event.flags == "CLOSE_WRITE"
    assert "signal 31" not in served.log.read_text()
    assert kills > 10
    measured(f"{rotations} rotations under {kills} kills: 5 superseded inodes told once of each")
