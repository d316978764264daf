"""The recovery window of what was removed: how long it can be restored, and who purges it then."""

import calendar
import os
import sqlite3
import time
from contextlib import closing

import pytest

from harness import FAILED, NOT_FOUND, USAGE, eventually

DAY_S = 86400


def seconds(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def deleted(store):
    return [node["path"] for node in store.json("ls", "--deleted")]


def window(store, path):
    (node,) = [node for node in store.json("ls", "--deleted") if node["path"] == path]
    return seconds(node["restorable_until"]) - seconds(node["deleted"])


def wait_until_over(store, path):
    """The time of a removal's end is told in whole seconds, rounded down."""
    (node,) = [node for node in store.json("ls", "--deleted") if node["path"] == path]
    time.sleep(max(0, seconds(node["restorable_until"]) + 1 - time.time()))


def sealed(store):
    """A piece of each version's row, from inside one page."""
    with closing(sqlite3.connect(store.path)) as database:
        return {row[0]: row[1][2000:2500] for row in database.execute("SELECT id, box FROM version")}


def in_files(store, piece):
    return any(piece in file.read_bytes() for file in store.files())


DURATIONS = {None: 30 * DAY_S, "7d": 7 * DAY_S, "1d12h": 36 * 3600, "90s": 90, "3650d": 3650 * DAY_S}


def test_how_long_it_can_be_restored_is_told(store):
    for number, (duration, wanted) in enumerate(DURATIONS.items()):
        path = f"dir/{number}"
        store.put(path, b"x", "-p")
        store.ctl("rm", *(["--recovery", duration] if duration else []), path)
        assert window(store, path) == wanted
    lines = store.ctl("ls", "--deleted").decode().splitlines()
    assert all(" until " in line for line in lines) and len(lines) == len(DURATIONS)
    assert " v1 until " in store.ctl("ls", "-l", "--deleted").decode()
    store.ctl("restore", "dir/1")
    assert store.get("dir/1") == b"x"
    assert "restorable_until" not in store.json("ls", "dir")[0]
    store.ctl("rm", "dir/1")
    assert window(store, "dir/1") == 30 * DAY_S


@pytest.mark.parametrize("text", ["", "1", "00", "-1d", "1y", "3651d", "never", "1h1d", "0 "])
def test_a_wrong_window_removes_nothing(store, text):
    store.put("a", b"x")
    assert "--recovery" in store.refuses(USAGE, "rm", "--recovery", text, "a")
    assert store.get("a") == b"x"


def test_when_it_is_over_nothing_is_restored(store):
    store.put("a", b"x")
    store.ctl("rm", "--recovery", "1s", "a")
    wait_until_over(store, "a")
    before = store.json("status")
    line = store.refuses(FAILED, "restore", "a")
    assert "its recovery window is over" in line
    assert store.json("status") == before and deleted(store) == ["a"]  # still to be purged
    store.ctl("purge", "a")
    store.refuses(NOT_FOUND, "restore", "a")


def test_the_next_command_that_writes_purges_it(store, mount):
    served = mount()
    store.put("gone", os.urandom(5000))
    store.put("gone", os.urandom(5000))
    store.put("kept", os.urandom(5000))
    store.ctl("rm", "kept")
    pieces = sealed(store)
    store.ctl("rm", "--recovery", "1s", "gone")
    wait_until_over(store, "gone")
    for reading in (["ls"], ["check"], ["status"]):
        store.ctl(*reading)
    assert deleted(store) == ["gone", "kept"]

    store.put("another", b"x")
    assert deleted(store) == ["kept"]
    assert (served.path / "another").read_bytes() == b"x"
    assert store.json("status")["versions"] == 2
    left = sealed(store)
    assert len(pieces) == 3 and len(pieces.keys() - left.keys()) == 2
    for version, piece in pieces.items():
        assert in_files(store, piece) == (version in left)
    store.ctl("restore", "kept")
    assert (served.path / "kept").stat().st_size == 5000
    store.ctl("check")


def test_one_command_purges_a_hundred_at_most(store):
    store.quick = True
    store.ctl("mkdir", "-p", *(f"d/{i}" for i in range(150)))
    store.ctl("rm", "--recovery", "1s", *(f"d/{i}" for i in range(150)))
    wait_until_over(store, "d/0")
    store.put("a", b"x")
    assert len(deleted(store)) == 50
    store.ctl("chmod", "0440", "a")
    assert deleted(store) == []
    store.ctl("rm", "d")
    store.ctl("check")


@pytest.mark.parametrize("command", [["purge", "--due"], ["rotate", "--due"]])
def test_a_run_over_all_that_is_due(store, command):
    store.put("dir/a", b"x", "-p")
    store.put("b", b"x")
    store.put("kept", b"x")
    store.ctl(*command)
    generation = store.json("status")["generation"]
    store.ctl("rm", "kept")
    store.ctl("rm", "--recovery", "3s", "dir/a", "b")  # not over before the next command, which would
    store.ctl("rm", "--recovery", "3s", "dir")  # purge them
    wait_until_over(store, "dir")
    store.ctl(*command)
    assert deleted(store) == ["kept"]
    assert store.json("status")["generation"] == generation + 4
    store.ctl(*command)  # with nothing to do
    assert store.json("status")["generation"] == generation + 4
    store.ctl("restore", "kept")
    store.ctl("check")


def test_due_goes_with_no_path(store):
    store.refuses(USAGE, "purge", "--due", "a")


@pytest.mark.parametrize("zero", ["0", "0s"])
def test_without_a_window_it_is_purged_at_once(store, mount, zero):
    served = mount()
    store.put("a", os.urandom(5000))
    store.put("b", os.urandom(5000))
    (served.path / "a").read_bytes()
    pieces = sealed(store)
    assert all(in_files(store, piece) for piece in pieces.values())
    store.ctl("rm", "--recovery", zero, "a", "b")
    assert os.listdir(served.path) == [] and not (served.path / "a").exists()
    assert deleted(store) == []
    store.refuses(NOT_FOUND, "restore", "a")
    assert not any(in_files(store, piece) for piece in pieces.values())
    assert store.json("status")["versions"] == 0
    store.ctl("check")


def test_without_a_window_nothing_is_purged_that_is_not_removed(store):
    store.put("dir/a", b"x", "-p")
    store.put("old", b"x")
    store.ctl("rm", "old")
    store.put("old", b"y")
    store.refuses(FAILED, "rm", "--recovery", "0", "dir")
    store.refuses(NOT_FOUND, "rm", "--recovery", "0", "old", "nothing")
    assert store.get("dir/a") == b"x" and store.get("old") == b"y"
    store.ctl("rm", "--recovery", "0", "old")  # the other one can still be restored
    store.ctl("restore", "old")
    assert store.get("old") == b"x"


def test_a_directory_lasts_as_long_as_what_is_in_it(store):
    store.put("dir/a", b"x", "-p")
    store.put("other/a", b"x", "-p")
    store.ctl("rm", "dir/a", "other/a")
    store.ctl("rm", "--recovery", "1s", "dir")
    assert abs(window(store, "dir") - 30 * DAY_S) <= 60
    store.ctl("rm", "--recovery", "0", "other")  # takes with it what is in it, as 'purge' does
    assert deleted(store) == ["dir", "dir/a"]
    store.ctl("restore", "dir")
    store.ctl("restore", "dir/a")
    assert store.get("dir/a") == b"x"


def test_a_name_that_goes_at_once_is_gone_from_the_mount(store, mount):
    """Also where nobody waits between the two commits, the removal and the purge."""
    served = mount()
    store.put("a", b"x")
    assert (served.path / "a").read_bytes() == b"x"
    store.ctl("rm", "--no-wait", "--recovery", "0", "a")
    eventually(lambda: not (served.path / "a").exists())
    store.put("a", b"new")
    assert (served.path / "a").read_bytes() == b"new"
