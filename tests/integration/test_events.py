"""Whoever watches hears of each change what a rename(2) or unlink(2) on a local filesystem tells, once."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import (
    Child,
    Watch,
    children_of,
    error_of,
    eventually,
    freeze,
    kill_if_lives,
    kill_worker,
    mounted,
    run,
    sanitized,
    standing_still,
    worker_of,
)
from load import (
    LONGEST_CALL_S,
    Reader,
    listing,
    number_of,
    reading,
    reading_uncached,
    standstills,
    value,
)

KILLS = int(os.environ.get("SECRETFS_KILLS", "20" if sanitized() else "60"))  # 1000 is the long form


def notifier_of(served):
    return eventually(lambda: child_of(served, "secretfs-notify"))


def child_of(served, name):
    return children_of(served.process.pid).get(name)


@pytest.fixture
def tmpfs(folder):
    path = folder / "tmpfs"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def moved_to(*names):
    return [("MOVED_TO", name) for name in names]


# ---- One change of each kind ---------------------------------------------------------------------


def seen_by_watchers(folder, change):
    """The events of a change of folder/a: in the folder, and on the inode that `a` was."""
    with Watch(folder, folder / "a") as watch:
        change()
        events = watch.collect(4)
    kinds = {folder: "folder", folder / "a": "inode"}
    return [(kinds[event.path], event.flags, event.name) for event in events]


@pytest.mark.parametrize("read_before", [False, True])
def test_a_rotation_is_told_as_an_atomic_replacement_on_tmpfs(store, mount, tmpfs, read_before):
    (tmpfs / "dir").mkdir()
    for path in (tmpfs / "dir/a", tmpfs / "new"):
        path.write_bytes(b"value")
    expected = seen_by_watchers(tmpfs / "dir", lambda: (tmpfs / "new").rename(tmpfs / "dir/a"))
    assert ("folder", "MOVED_TO", "a") in expected and ("inode", "DELETE_SELF", "") in expected

    store.put("dir/a", b"value", "-p")
    served = mount().path / "dir"
    if read_before:
        assert (served / "a").read_bytes() == b"value"
    assert seen_by_watchers(served, lambda: store.put("dir/a", b"new")) == expected
    assert (served / "a").read_bytes() == b"new"


def test_an_open_after_the_event_gives_the_new_version(store, mount):
    store.quick = True
    for name in ("a", "b"):
        store.put(name, b"0")
    served = mount().path
    with Watch(served) as watch:
        for number in range(1, 41):
            name = "ab"[number % 2]
            store.put(name, b"%d" % number)
            events = eventually(watch.read)
            assert (served / name).read_bytes() == b"%d" % number
            assert [(event.flags, event.name) for event in events] == moved_to(name)
        assert watch.collect(0) == []


def test_each_change_gives_its_event(store, mount):
    store.put("dir/a", b"one", "-p")
    store.put("dir/b", b"b")
    served = mount().path
    with Watch(served, served / "dir") as watch:
        store.put("dir/new", b"new")
        assert watch.names(1) == moved_to("new")
        assert (served / "dir/new").read_bytes() == b"new"
        store.ctl("mkdir", "dir/sub")
        assert watch.names(1) == [("MOVED_TO|ISDIR", "sub")]
        assert os.listdir(served / "dir/sub") == []
        store.put("dir/a", b"two")
        assert watch.names(1) == moved_to("a")
        store.ctl("rollback", "dir/a")
        assert watch.names(1) == moved_to("a")
        assert (served / "dir/a").read_bytes() == b"one"
        store.ctl("rollback", "dir/a", "--to", "2")
        assert watch.names(1) == moved_to("a")
        assert (served / "dir/a").read_bytes() == b"two"
        store.ctl("rm", "dir/a")
        assert watch.names(1) == [("DELETE", "a")]
        assert error_of(os.stat, served / "dir/a") == "ENOENT"
        store.ctl("restore", "dir/a")
        assert watch.names(1) == moved_to("a")
        assert (served / "dir/a").read_bytes() == b"two"


def test_a_removal_is_told_of_a_name_that_nobody_has_looked_up(store, mount):
    store.put("dir/a", b"value", "-p")
    served = mount().path
    with Watch(served / "dir") as watch:
        store.ctl("rm", "dir/a")
        assert watch.names(1) == [("DELETE", "a")]


def test_a_move_is_told_at_both_places(store, mount):
    for path in ("a", "dir/b", "dir/sub/c"):
        store.put(path, b"value of " + path.encode(), "-p")
    served = mount().path
    assert (served / "a").read_bytes() == b"value of a"
    with Watch(served, served / "dir", served / "dir/sub") as watch:
        store.ctl("mv", "a", "dir/a")
        events = watch.collect(2)
        assert [tuple(event[:3]) for event in events] == [
            (served / "dir", "MOVED_TO", "a"),
            (served, "DELETE", "a"),
        ]
        assert (served / "dir/a").read_bytes() == b"value of a"
        store.ctl("mv", "dir/sub", "moved")  # whoever watches a directory goes with it
        events = watch.collect(3)
        assert events[0].cookie == events[1].cookie != 0
        assert [tuple(event[:3]) for event in events] == [
            (served / "dir", "MOVED_FROM|ISDIR", "sub"),
            (served, "MOVED_TO|ISDIR", "moved"),
            (served / "dir/sub", "MOVE_SELF", ""),
        ]
        store.put("moved/c", b"rotated")
        events = watch.collect(1)
        assert [tuple(event[:3]) for event in events] == [(served / "dir/sub", "MOVED_TO", "c")]
        assert (served / "moved/c").read_bytes() == b"rotated"
        assert error_of(os.stat, served / "dir/sub") == "ENOENT"


# ---- Directories that are moved or removed ---------------------------------------------------------


def told_of(watch, top, count):
    """Events as (path below top, flags, name, whether it is the same rename as the one before)."""
    events = watch.collect(count)
    return [
        (str(event.path.relative_to(top)), event.flags, event.name, before == event.cookie != 0)
        for before, event in zip([0, *(event.cookie for event in events)], events)
    ]


@pytest.mark.parametrize("looked_up", [False, True])
@pytest.mark.parametrize("to", ["a/renamed", "b/d", "b/other"])
def test_a_moved_directory_is_told_as_by_rename_on_tmpfs(store, mount, tmpfs, to, looked_up):
    for folder in ("a/d/below", "b"):
        (tmpfs / folder).mkdir(parents=True)
        store.ctl("mkdir", "-p", folder)
    store.put("a/d/below/s", b"value")
    with Watch(*(tmpfs / path for path in ("", "a", "b", "a/d", "a/d/below"))) as watch:
        (tmpfs / "a/d").rename(tmpfs / to)
        expected = told_of(watch, tmpfs, 3)
    assert len(expected) == 3

    served = mount().path
    watched = ["", "a", "b"] + (["a/d", "a/d/below"] if looked_up else [])
    with Watch(*(served / path for path in watched)) as watch:
        store.ctl("mv", "a/d", to)
        wanted = [event for event in expected if event[0] in (*watched, ".")]
        assert told_of(watch, served, len(wanted)) == wanted
        assert (served / to / "below/s").read_bytes() == b"value"
        assert error_of(os.stat, served / "a/d") == "ENOENT"
        watch.add(served / to)
        store.put(f"{to}/new", b"new")
        assert ("MOVED_TO", "new") in watch.names(1)


def test_a_removed_directory_is_told(store, mount, tmpfs):
    """
    As one that is moved out of the tree, and deleted there: the kernel has no use any more for a
    directory that rmdir(2) has removed, and this one may be restored.
    """
    for path in ("known", "unknown"):
        (tmpfs / path).mkdir()
        store.ctl("mkdir", path)
    served = mount().path
    seen = {}
    for top, remove in ((tmpfs, os.rmdir), (served, lambda path: store.ctl("rm", path.name))):
        with Watch(top, top / "known") as watch:
            remove(top / "known")
            seen[top] = [event[:3] for event in told_of(watch, top, 3)]
            remove(top / "unknown")
            seen[top] += [event[:3] for event in told_of(watch, top, 1)]
    ended = [("known", "DELETE_SELF", ""), ("known", "IGNORED", "")]
    parent = (".", "DELETE|ISDIR", "known"), (".", "DELETE|ISDIR", "unknown")
    assert sorted(seen[tmpfs]) == sorted([*ended, *parent])
    parent = (".", "MOVED_FROM|ISDIR", "known"), (".", "MOVED_FROM|ISDIR", "unknown")
    assert seen[served] == [parent[0], ("known", "MOVE_SELF", ""), *ended, parent[1]]
    assert os.listdir(served) == [] and error_of(os.stat, served / "known") == "ENOENT"


def test_a_tree_is_removed_and_restored(store, mount):
    store.put("a/b/s", b"value", "-p")
    served = mount().path
    assert (served / "a/b/s").read_bytes() == b"value"
    with Watch(served, served / "a", served / "a/b") as watch:
        for path in ("a/b/s", "a/b", "a"):
            store.ctl("rm", path)
        told = [event[:3] for event in told_of(watch, served, 9)]
        assert [event for event in told if event[2]] == [
            ("a/b", "DELETE", "s"),
            ("a", "MOVED_FROM|ISDIR", "b"),
            (".", "MOVED_FROM|ISDIR", "a"),
        ]
        for path in ("a", "a/b", "a/b/s"):
            store.ctl("restore", path)
        assert watch.names(1) == [("MOVED_TO|ISDIR", "a")]
    assert (served / "a/b/s").read_bytes() == b"value"


def test_a_removed_directory_that_somebody_is_in_can_be_restored(store, mount):
    """It must not be dead to the kernel, nor to who had it open all the time."""
    store.ctl("mkdir", "d")
    served = mount().path
    fd = os.open(served / "d", os.O_RDONLY | os.O_DIRECTORY)
    with Watch(served, served / "d") as watch:
        for number in range(3):
            store.ctl("rm", "d")
            assert error_of(os.stat, served / "d") == "ENOENT" and os.listdir(fd) == []
            assert os.fstat(fd).st_nlink == 0
            store.ctl("restore", "d")
            assert os.fstat(fd).st_nlink == 2
            assert os.fstat(fd).st_ino == os.stat(served / "d").st_ino
            store.put(f"d/{number}", b"value")
            assert os.stat(str(number), dir_fd=fd).st_size == 5
            assert (served / f"d/{number}").read_bytes() == b"value"
            store.ctl("rm", f"d/{number}")
        told = [event[1:3] for event in told_of(watch, served, 12) if event[0] == "."]
        assert told == [("MOVED_FROM|ISDIR", "d"), ("MOVED_TO|ISDIR", "d")] * 3
    os.close(fd)


@pytest.mark.parametrize("held", [False, True])
def test_directories_that_change_places_at_once(store, mount, held):
    store.wait = False
    for path in ("x", "y", "gone"):
        store.put(f"{path}/in", path.encode(), "-p")
    served = mount()
    path = served.path
    fds = [os.open(path / name, os.O_RDONLY) for name in ("x", "y", "gone") if held]
    for name in ("x", "y", "gone"):
        assert (path / name / "in").read_bytes() == name.encode()
    with Watch(path) as watch:
        with standing_still(served):
            for commands in ("mv x t", "mv y x", "mv t y", "rm gone/in", "rm gone", "mkdir gone"):
                store.ctl(*commands.split())
            store.put("gone/in", b"new")
        events = [(flags, name) for flags, name in watch.names(6)]
    assert sorted(events) == sorted(
        (f"MOVED_{way}|ISDIR", name) for way in ("FROM", "TO") for name in ("x", "y", "gone")
    )
    eventually(lambda: (path / "gone/in").read_bytes() == b"new")
    assert (path / "x/in").read_bytes() == b"y" and (path / "y/in").read_bytes() == b"x"
    assert [os.listdir(fd) for fd in fds] == [["in"], ["in"], []][: len(fds)]
    for fd in fds:
        os.close(fd)


def test_a_directory_that_leaves_the_subdirectory_that_is_mounted(store, mount):
    store.put("app/d/s", b"value", "-p")
    served = mount("subdir=app").path
    with Watch(served) as watch:
        store.ctl("mv", "app/d", "elsewhere")
        assert watch.names(1) == [("MOVED_FROM|ISDIR", "d")]
        assert error_of(os.stat, served / "d") == "ENOENT"
        store.ctl("mv", "elsewhere", "app/back")
        assert watch.names(1) == [("MOVED_TO|ISDIR", "back")]
        assert (served / "back/s").read_bytes() == b"value"


def test_moves_of_directories_under_killed_notifiers(store, mount):
    store.quick = True
    store.put("a/d/s", b"value", "-p")
    store.ctl("mkdir", "b")
    served = mount()
    path = served.path
    with Watch(path / "a", path / "b") as watch:
        for number in range(10):
            here, there = ("a", "b") if number % 2 == 0 else ("b", "a")
            if number % 3:
                kill_if_lives(notifier_of(served))
            store.ctl("mv", f"{here}/d", f"{there}/d")
            assert (path / there / "d/s").read_bytes() == b"value"
            assert error_of(os.stat, path / here / "d") == "ENOENT"
            told = [event[:3] for event in told_of(watch, path, 2)]
            assert told == [(here, "MOVED_FROM|ISDIR", "d"), (there, "MOVED_TO|ISDIR", "d")]


def test_what_changes_no_name_gives_no_event_of_names(store, mount):
    store.put("a", b"value")
    served = mount().path
    assert (served / "a").read_bytes() == b"value"
    with Watch(served) as watch:
        store.put("a", b"value")
        store.ctl("chmod", "0444", "a")
        store.ctl("chown", "20001", "a")
        store.ctl("setfacl", "-m", "u:20003:r", "a")
        eventually(lambda: served.joinpath("a").stat().st_uid == 20001)
        store.put("b", b"the last")
        assert watch.names(1) == moved_to("b")


def test_a_new_tree_is_told_at_its_top_and_complete(store, mount):
    """What is inside is made before or after somebody can watch it: it must be found by a look."""
    served = mount().path
    with Watch(served) as watch:
        store.put("a/b/c", b"value", "-p")
        eventually(lambda: (served / "a/b/c").read_bytes() == b"value")
        assert watch.names(1) == [("MOVED_TO|ISDIR", "a")]
        watch.add(served / "a/b")
        store.put("a/b/c", b"rotated")
        assert watch.names(1) == moved_to("c")


def test_a_directory_takes_the_name_of_a_secret_and_back(store, mount):
    store.wait = False
    store.put("a", b"secret")
    served = mount()
    assert (served.path / "a").read_bytes() == b"secret"
    with Watch(served.path) as watch:
        with standing_still(served):
            store.ctl("rm", "a")
            store.ctl("mkdir", "a")
        eventually((served.path / "a").is_dir)
        assert ("MOVED_TO|ISDIR", "a") in watch.names(1)
        with standing_still(served):
            store.ctl("rm", "a")
            store.put("a", b"secret again")
        eventually((served.path / "a").is_file)
        assert ("MOVED_TO", "a") in watch.names(1)
    assert (served.path / "a").read_bytes() == b"secret again"


def test_names_of_odd_bytes(store, mount):
    names = ["ü" * 127, "a b", "\u2028", "%s%n", "-", "*", "\\", '"', "x" * 255, "0", "stage", "tree"]
    for name in names:
        store.put(name, b"one")
    served = mount().path
    with Watch(served) as watch:
        for name in names:
            store.put(name, b"two")
            assert watch.names(1, quiet=0) == moved_to(name)
            assert (served / name).read_bytes() == b"two"


def open_below(path, names):
    fd = os.open(path, os.O_PATH)
    for name in names:
        below = os.open(name, os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


def test_the_longest_path(store, mount):
    """32 names of 255 bytes: beyond what one call takes as a path."""
    store.quick = True
    names = [chr(ord("a") + depth % 26) * 255 for depth in range(32)]
    store.ctl("mkdir", "-p", "/".join(names[:31]))
    store.put("/".join(names), b"one")
    served = mount().path
    fd = open_below(served, names[:31])
    with Watch(f"/proc/self/fd/{fd}") as watch:
        store.put("/".join(names), b"two")
        assert watch.names(1) == moved_to(names[31])
        secret = os.open(names[31], os.O_RDONLY, dir_fd=fd)
        assert os.read(secret, 10) == b"two"
        os.close(secret)
    os.close(fd)


def test_a_mount_of_a_subdirectory(store, mount):
    for path in ("app/a", "app/sub/b", "beside/c"):
        store.put(path, b"value", "-p")
    served = mount("subdir=app").path
    assert (served / "a").read_bytes() == b"value"
    with Watch(served, served / "sub") as watch:
        store.put("beside/c", b"no business of this mount")
        store.put("app/a", b"two")
        assert watch.names(1) == moved_to("a")
        store.put("app/sub/b", b"two")
        assert watch.names(1) == moved_to("b")
        store.ctl("mv", "beside/c", "app/c")
        assert watch.names(1) == moved_to("c")
        assert (served / "c").read_bytes() == b"no business of this mount"
        store.ctl("mv", "app/a", "beside/a")
        assert watch.names(1) == [("DELETE", "a")]
        assert error_of(os.stat, served / "a") == "ENOENT"
        store.put("beside/a", b"gone from here")
        store.ctl("mv", "beside/a", "app/a")
        assert watch.names(1) == moved_to("a")
        assert (served / "a").read_bytes() == b"gone from here"
        store.ctl("mv", "app", "renamed")  # the top is the directory, whatever its path
        store.put("renamed/a", b"three")
        assert watch.names(1) == moved_to("a")
        assert (served / "a").read_bytes() == b"three"


# ---- More changes at once than the daemon follows ------------------------------------------------

BEFORE = """
    put rotated; put back; put back 2; put removed; put anew; put moved; put swapped; put other
    put d1/x -p; put d1/y; put d1/sub/z -p; put outer/inner/v -p; put secret; mkdir directory
    mkdir empty; put restored; rm restored; put kept; mkdir parted; put parted/a; put late/a -p
"""
CHANGES = """
    put rotated; put rotated 2; put rotated 3; chmod 0444 rotated; rollback back
    rm removed; rm anew; put anew 2; mv moved elsewhere; put moved 2
    mv swapped t; mv other swapped; mv t other; put other 3
    mv d1 d2; put d2/x 2; put d2/sub/z 2; mkdir d1; put d1/x 3; mv d2/y d1/y
    mv outer/inner inner; mv outer inner/outer; put inner/v 2
    rm secret; mkdir secret; put secret/a; rm directory; put directory 2; rm empty; mkdir empty
    restore restored; put brief; rm brief; purge brief; put new/deep/tree -p
    rm parted/a; rm parted; purge parted; rm late/a; put late/a 2; put late/a 3; rm late/a; restore late/a
"""


def commit(store, commands):
    """One commit a command; values tell the path at which, and the number with which they were put."""
    for command in commands.replace("\n", ";").split(";"):
        verb, *args = command.split() or [None]
        if verb == "put":
            number = args.pop() if args[-1].isdigit() else "1"
            store.put(args[0], f"{args[0]} {number}".encode(), *args[1:])
        elif verb:
            store.ctl(verb, *args)


def stored(store):
    """What secretctl says is there: for each path its mode, and the value or None for a directory."""
    return {
        one["path"]: (int(one["mode"], 8), store.get(one["path"]) if one["type"] == "secret" else None)
        for one in store.json("ls", "-R")
    }


def shown_at(path):
    """The same of a mount, found by listing it."""
    tree = {}
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            one = os.path.join(folder, name)
            status = os.stat(one)
            value = None
            if name in files:
                with open(one, "rb") as file:
                    value = file.read()
                assert status.st_size == len(value), (one, status.st_size, value)
                assert status.st_nlink == 1, one
            tree[os.path.relpath(one, path)] = (status.st_mode & 0o777, value)
    return tree


def looked_up_at(path, names):
    """The same of these names, each by itself; those that are not there are left out."""
    tree = {}
    for name in names:
        try:
            status = os.stat(path / name)
        except FileNotFoundError:
            continue
        value = (path / name).read_bytes() if (path / name).is_file() else None
        tree[name] = (status.st_mode & 0o777, value)
    return tree


@contextlib.contextmanager
def without_a_worker(served):
    freeze(served.process.pid)
    kill_worker(served)
    yield
    os.kill(served.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("condition", [standing_still, without_a_worker])
def test_many_changes_at_once_leave_nothing_stale(store, mount, condition):
    store.wait = False
    store.quick = True
    commit(store, BEFORE)
    served = mount()
    before = stored(store)
    assert shown_at(served.path) == before
    with condition(served):
        commit(store, CHANGES)
    after = stored(store)
    names = sorted({*before, *after, "t", "brief", "d2/y", "outer/inner", "elsewhere"})
    eventually(lambda: looked_up_at(served.path, names) == after)
    assert shown_at(served.path) == after
    time.sleep(0.2)
    assert looked_up_at(served.path, names) == after
    commit(store, "put inner/v 5; mv d2 d3; put d3/sub/z 5; rm elsewhere; put kept 5")
    after = stored(store)
    eventually(lambda: shown_at(served.path) == after)
    assert looked_up_at(served.path, [*names, "d3", "d3/sub", "d3/sub/z", "d3/x"]) == after


def test_changes_at_once_are_told_once_each(store, mount):
    store.wait = False
    store.quick = True
    commit(store, BEFORE)
    served = mount()
    shown_at(served.path)
    with Watch(served.path, flags=["MOVED_TO", "DELETE", "CREATE", "MOVED_FROM"]) as watch:
        with standing_still(served):
            commit(store, CHANGES)
        events = watch.names(20, quiet=0.5)
    files = "rotated back anew elsewhere moved swapped other restored directory"
    folders = "d2 d1 inner secret empty new"
    gone = "d1 parted directory empty"  # moved away, removed, or in the way of what takes the name
    expected = [*moved_to(*files.split()), *[("MOVED_TO|ISDIR", name) for name in folders.split()]]
    expected += [("MOVED_FROM|ISDIR", name) for name in gone.split()]
    assert sorted(events) == sorted([*expected, ("DELETE", "removed")])


def test_what_was_committed_while_no_worker_lived_is_told_late_and_once(store, mount):
    store.wait = False
    store.quick = True
    for path in ("a", "b", "removed", "unread"):
        store.put(path, b"old")
    served = mount()
    for path in ("a", "b", "removed"):
        assert (served.path / path).read_bytes() == b"old"
    with Watch(served.path) as watch:
        for number in range(3):
            with without_a_worker(served):
                store.put("a", b"a %d" % number)
                store.put("b", b"b %d" % number)
                store.put("new %d" % number, b"new")
                if number == 2:
                    store.ctl("rm", "removed")
                    store.ctl("rm", "unread")
            events = watch.names(5 if number == 2 else 3, quiet=0.3)
            expected = moved_to("a", "b", "new %d" % number)
            assert events[:3] == expected
            assert (served.path / "a").read_bytes() == b"a %d" % number
        assert sorted(events[3:]) == [("DELETE", "removed"), ("DELETE", "unread")]


# ---- Killed, stopped, in the way -----------------------------------------------------------------


def another_than(last, served, name):
    """The pid of the child of that name, once it is not the one that was killed last."""

    def another():
        pid = child_of(served, name)
        return pid if pid != last else None

    return eventually(another)


def kill_some(served, names, count, seed):
    """Kill the daemon's children of these names at random, each only once."""
    chance = random.Random(seed)
    last = {}
    for _ in range(count):
        name = chance.choice(names)
        last[name] = another_than(last.get(name), served, name)
        kill_if_lives(last[name])
        time.sleep(chance.random() * 0.03)
    return count


def rotate_while(store, served, watch, killer):
    """Rotate two names in turn; each rotation is told once before its name is rotated again."""
    number, late, events = 1, [], []
    while number < 6 or not killer_is_done(killer):
        number += 1
        name = "ab"[number % 2]
        store.put(name, value(number))
        committed = time.monotonic()
        events += eventually(watch.read)
        late.append(time.monotonic() - committed)
        assert number_of((served.path / name).read_bytes()) == number
        assert len(events) == number - 1, events[-3:]
    return number, late, events + watch.collect(0, quiet=0.5)


def killer_is_done(killer):
    return os.waitid(os.P_PID, killer.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@pytest.mark.alone
@pytest.mark.parametrize("names", [["secretfs-notify"], ["secretfs-notify", "secretfs-worker"]])
def test_no_event_is_lost_or_doubled_when_processes_are_killed(
    store, mount, folder, measured, names
):
    store.wait = False
    content = random.Random(1).randbytes(20000)
    store.quick = True
    for name, first in (("a", value(1)), ("b", value(1)), ("fixed", content)):
        store.put(name, first)
    served = mount()
    stop = folder / "stop"
    steps = [
        reading(served.path / "a"),
        reading_uncached(served.path / "fixed", content),
        listing(served.path, ["a", "b", "fixed"]),
        lambda: os.stat(served.path / "b"),
    ]
    readers = [Reader(step, stop) for step in steps]
    try:
        with Watch(served.path) as watch:
            killer = Child(kill_some, served, names, KILLS, 1)
            rotations, late, events = rotate_while(store, served, watch, killer)
            assert killer.result() == KILLS
    finally:
        stop.touch()
        results = [reader.child.result() for reader in readers]
    assert [(event.flags, event.name) for event in events] == moved_to(
        *("ab"[number % 2] for number in range(2, rotations + 1))
    )
    for calls, longest, errors in results:
        assert errors == []
        assert calls > 10
        assert longest <= 5 * LONGEST_CALL_S  # posix_fadvise(2) waits for a turn on each processor
    measured(
        f"{KILLS} kills and {rotations - 1} rotations under {sum(calls for calls, _, _ in results)}"
        f" calls: none failed, the longest took {max(one[1] for one in results):.2f} s; each rotation"
        f" was told once, half within {1000 * sorted(late)[len(late) // 2]:.0f} ms, the last within"
        f" {1000 * max(late):.0f} ms"
    )
    assert "signal 31" not in served.log.read_text()
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
    eventually(lambda: len(children.read_text().split()) == 2)  # no zombies are left


@pytest.mark.alone
def test_a_notifier_that_stands_still_delays_names_and_no_reader(store, mount, folder, measured):
    """Later it carries out orders that are long out of date, which must change nothing."""
    store.wait = False
    store.quick = True
    commit(store, BEFORE)
    served = mount()
    stop = folder / "stop"
    shown_at(served.path)
    notifier = notifier_of(served)
    freeze(notifier)
    readers = [
        Reader(lambda: (served.path / "kept").read_bytes(), stop),
        Reader(lambda: os.listdir(served.path), stop),
        Reader(lambda: error_of(os.stat, served.path / "missing"), stop),
    ]
    still = Child(standstills, stop)
    try:
        store.put("kept", b"rotated")
        begun = time.monotonic()
        eventually(lambda: (served.path / "kept").read_bytes() == b"rotated", timeout=10)
        first = time.monotonic() - begun
        store.put("kept", b"rotated again")
        begun = time.monotonic()
        eventually(lambda: (served.path / "kept").read_bytes() == b"rotated again", timeout=10)
        second = time.monotonic() - begun
        commit(store, CHANGES)
        after = stored(store)
        eventually(lambda: shown_at(served.path) == after)
    finally:
        stop.touch()
        results = [reader.child.result() for reader in readers]
        stood = still.result()
    assert first <= 7 + stood and second <= 2 + stood
    longest = LONGEST_CALL_S + stood
    assert all(errors == [] and taken <= longest for _, taken, errors in results), results
    os.kill(notifier, signal.SIGCONT)
    with Watch(served.path) as watch:
        for number in range(20):  # whoever has not answered is given no more than 0.1 s the next time
            store.put("kept", b"and told again %d" % number)
            events = watch.collect(1, timeout=2)
            if events:
                break
        assert events[-1].name == "kept"
        assert (served.path / "kept").read_bytes() == b"and told again %d" % number
    after = stored(store)
    eventually(lambda: shown_at(served.path) == after)
    assert looked_up_at(served.path, after) == after
    measured(
        f"shown after {first:.2f} s without a notifier, the next after {second:.2f} s; the longest of"
        f" {sum(calls for calls, _, _ in results)} calls took {max(one[1] for one in results):.2f} s"
    )


def unmount(path, *options):
    """As an administrator: again while it is busy."""
    eventually(lambda: run(["umount", *options, path], status=None).returncode == 0)


def lives(pid):
    """Whether a process is there and not only waiting to be collected by whoever is its parent now."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_bind_mount_outlives_the_public_mount(store, mount, folder):
    store.put("dir/a", b"one", "-p")
    served = mount()
    bound = folder / "bound"
    bound.mkdir()
    subprocess.run(["mount", "--bind", served.path / "dir", bound], check=True)
    notifier = notifier_of(served)
    unmount(served.path)
    eventually(lambda: not lives(notifier))
    assert (bound / "a").read_bytes() == b"one"
    store.put("dir/a", b"two")
    eventually(lambda: (bound / "a").read_bytes() == b"two")
    kill_worker(served)
    store.put("dir/a", b"three")
    store.put("dir/b", b"new")
    eventually(lambda: (bound / "a").read_bytes() == b"three")
    assert sorted(os.listdir(bound)) == ["a", "b"]
    assert child_of(served, "secretfs-notify") is None
    assert served.process.poll() is None
    unmount(bound)
    served.ended()


def read_until_unmounted(path):
    """Reads until the path is gone; every error before that is a fault."""
    faults = []
    while os.path.ismount(path):
        for call in (os.listdir, lambda one: (one / "a").read_bytes(), os.stat):
            error = error_of(call, path)
            if error not in (None, "ENOENT"):
                faults.append(error)
        time.sleep(0.002)
    return faults


@pytest.mark.parametrize("killing", [False, True])
def test_umount_in_the_middle_of_requests_ends_the_daemon_well(store, mount, killing):
    store.quick = True
    chance = random.Random(7)
    for number in range(8):
        store.put("a", b"%d" % number * 50000)
        served = mount("direct_io")
        readers = [Child(read_until_unmounted, served.path) for _ in range(3)]
        store.put("a", b"rotated %d" % number)
        worker = worker_of(served)
        if killing and number % 2:
            os.kill(worker, signal.SIGKILL)
        unmount(served.path, *(["-l"] if number % 4 < 2 else []))
        if killing and not number % 2 and chance.random() < 0.7:
            time.sleep(chance.random() * 0.002)
            kill_if_lives(worker)
        assert [reader.result() for reader in readers] == [[], [], []]
        served.ended()


def read_until_cut_off(path):
    """When the first call failed as it must, and every other fault."""
    while True:
        begun = time.monotonic()
        for call in (os.listdir, os.stat, lambda one: (one / "a").read_bytes()):
            error = error_of(call, path)
            if error in ("ENOTCONN", "ECONNABORTED"):
                return time.monotonic(), None
            if error or time.monotonic() - begun > 5:
                return time.monotonic(), error


def rotate_until(store, stop):
    number = 0
    while not stop.exists():
        number += 1
        store.put("ab"[number % 2], b"%d" % number)
    return number


@pytest.mark.alone
def test_a_killed_supervisor_leaves_nothing_that_hangs(store, mount, folder, measured):
    store.quick = True
    commit(store, "put a; put b")
    stop = folder / "stop"
    place = folder / "mnt"
    cut_off, gone, cleaned = [], [], []
    writer = Child(rotate_until, store, stop)
    still = Child(standstills, stop)
    try:
        for _ in range(20):
            begun = time.monotonic()
            served = mount(at=place)
            cleaned.append(time.monotonic() - begun)
            children = [worker_of(served), notifier_of(served)]
            readers = [Child(read_until_cut_off, place) for _ in range(3)]
            time.sleep(random.random() * 0.1)
            begun = time.monotonic()
            served.killed()
            eventually(lambda pids=children: not any(lives(pid) for pid in pids))
            gone.append(time.monotonic() - begun)
            for reader in readers:
                when, fault = reader.result()
                assert fault is None
                cut_off.append(when - begun)
    finally:
        stop.touch()
        writer.result()
        limit = LONGEST_CALL_S + still.result()
    # Nobody waits for the processes that go; on a busy machine they take their time.
    assert max(cut_off) <= limit and max(cleaned) <= limit and max(gone) <= limit + 4
    while mounted(place):
        run(["umount", "-l", place])
    measured(
        f"20 supervisors killed under load: readers cut off within {max(cut_off):.2f} s, no process"
        f" after {max(gone):.2f} s, served again within {max(cleaned):.2f} s"
    )
