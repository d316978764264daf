"""Labels: moving them, what the tool tells of them, and a mount's views @previous and @pending."""

import mmap
import os
import shutil
import stat
from pathlib import Path

import pytest

from harness import (
    FAILED,
    NOT_FOUND,
    ROOT,
    USAGE,
    VERSION_MISMATCH,
    as_user,
    error_of,
    kill_worker,
    run,
)

UID = 1234


def put_pending(store, path, value):
    return store.json("put", path, "--label", "pending", input=value)["version"]


def labels(store, path="a"):
    """The numbers of the current, previous and pending version, as three commands tell them."""
    shown = store.json("show", path)
    (listed,) = store.json("ls", path)
    told = (shown["version"], shown["previous"], shown["pending"])
    assert (listed["version"], listed["previous"], listed["pending"]) == told
    found = {
        label: one["version"] for one in store.json("versions", path) for label in one["labels"]
    }
    assert tuple(found.get(label) for label in ("current", "previous", "pending")) == told
    return told


# ---- secretctl


def test_put_pending_and_label(store):
    store.put("a", b"one")
    assert labels(store) == (1, None, None)
    assert put_pending(store, "a", b"two") == 2
    assert labels(store) == (1, None, 2)
    assert store.get("a") == b"one"
    assert store.get("a", "--label", "pending") == b"two"
    assert store.get("a", "--label", "current") == b"one"
    store.refuses(NOT_FOUND, "get", "a", "--label", "previous")
    assert put_pending(store, "a", b"two") == 2  # the same value
    assert put_pending(store, "a", b"three") == 3
    assert store.get("a", "--version", "2") == b"two"  # kept
    told = store.json("label", "a", "current", "3")
    assert told == {"path": "a", "version": 3, "previous": 1, "pending": None}
    assert labels(store) == (3, 1, None)
    assert store.get("a", "--label", "previous") == b"one"
    store.ctl("label", "a", "previous", "2")
    store.ctl("label", "a", "pending", "2")
    assert labels(store) == (3, 2, 2)
    lines = [line.split() for line in store.ctl("versions", "a").decode().splitlines()]
    text = [[words[0], *words[4:]] for words in lines]
    assert text == [["v3", "current"], ["v2", "previous", "pending"], ["v1"]]
    lines = store.ctl("show", "a").decode().splitlines()
    assert "previous:    2" in lines and "pending:     2" in lines
    store.ctl("label", "a", "previous", "none")
    store.ctl("label", "a", "pending", "none")
    assert labels(store) == (3, None, None)
    store.refuses(NOT_FOUND, "rollback", "a")
    store.put("a", b"five", "--label", "current")
    assert labels(store) == (4, 3, None)
    store.ctl("check")


def test_what_label_and_put_refuse(store):
    store.put("a", b"one")
    store.put("a", b"two")
    store.put("a", b"three")
    store.ctl("revoke", "a", "--version", "1")
    store.ctl("mkdir", "dir")
    for label in ("current", "previous", "pending"):
        assert "versions" in store.refuses(NOT_FOUND, "label", "a", label, "4")
        assert "revoked" in store.refuses(FAILED, "label", "a", label, "1")
        store.refuses(NOT_FOUND, "label", "none", label, "1")
        store.refuses(FAILED, "label", "dir", label, "1")
        for number in ("0", "-1", "1x", "", "4294967296", "nobody"):
            store.refuses(USAGE, "label", "--", "a", label, number)
    for label in ("previous", "pending"):
        assert "current" in store.refuses(FAILED, "label", "a", label, "3")
    store.refuses(USAGE, "label", "a", "current", "none")
    store.refuses(USAGE, "label", "a", "nothing", "2")
    store.refuses(USAGE, "label", "a", "pending")
    store.refuses(USAGE, "label", "a", "pending", "1", "2")
    store.refuses(USAGE, "get", "a", "--label", "nothing")
    store.refuses(USAGE, "get", "a", "--label", "pending", "--version", "1")
    store.refuses(NOT_FOUND, "get", "a", "--label", "pending")
    store.refuses(USAGE, "put", "a", "--label", "previous")
    store.refuses(USAGE, "put", "a", "--label", "pending", "--force")
    line = store.refuses(NOT_FOUND, "put", "new", "--label", "pending", input=b"x")
    assert "no such secret" in line
    store.refuses(FAILED, "put", "dir", "--label", "pending", input=b"x")
    store.refuses(VERSION_MISMATCH, "put", "a", "--label", "pending", "--if-version", "2")
    assert labels(store) == (3, 2, None)


def test_pending_beside_what_is_revoked_or_expired(store):
    store.put("a", b"one")
    store.ctl("revoke", "a")
    put_pending(store, "a", b"two")
    store.refuses(FAILED, "get", "a")
    assert store.get("a", "--label", "pending") == b"two"
    store.ctl("revoke", "a", "--version", "2")
    assert labels(store) == (1, None, 2)
    store.refuses(FAILED, "get", "a", "--label", "pending")
    store.refuses(FAILED, "label", "a", "current", "2")
    store.ctl("expire", "a", "2020-01-01T00:00:00Z")
    store.refuses(FAILED, "put", "a", "--label", "pending", input=b"three")


def test_labels_are_completed():
    script = f"""
        . {ROOT}/tools/completions/secretctl.bash
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _secretctl; echo "${{COMPREPLY[@]}}"
    """

    def completed(*words):
        done = run(["bash", "-c", script, "bash", "secretctl", *words])
        return done.stdout.decode().split()

    assert completed("get", "a", "--label", "p") == ["previous", "pending"]
    assert completed("put", "a", "--label", "") == ["current", "pending"]
    assert completed("label", "a", "") == ["current", "previous", "pending", "none"]


# ---- views of a mount


class Views:
    """A mount of a tree with labels, and what a name shows in it, in each view."""

    def __init__(self, store, served):
        self.store, self.root = store, served.path

    def __call__(self, path="dir/a"):
        found = []
        for view in ("", "@previous", "@pending"):
            place = self.root / view / path
            value = error_of(place.read_bytes) or place.read_bytes()
            assert (place.name in os.listdir(place.parent)) == (value != "ENOENT")
            if value != "ENOENT":
                assert place.stat().st_size == len(value)
            found.append(value)
        return found


@pytest.fixture
def views(store, mount):
    store.put("dir/a", b"one", "-p")
    store.put("b", b"b")
    return Views(store, mount())


def test_views_follow_each_move_of_a_label(store, views):
    assert views() == [b"one", "ENOENT", "ENOENT"]
    store.put("dir/a", b"number two")
    assert views() == [b"number two", b"one", "ENOENT"]
    put_pending(store, "dir/a", b"three")
    assert views() == [b"number two", b"one", b"three"]
    store.ctl("rollback", "dir/a")
    assert views() == [b"one", b"number two", b"three"]
    store.ctl("label", "dir/a", "current", "3")
    assert views() == [b"three", b"one", "ENOENT"]
    store.ctl("label", "dir/a", "previous", "2")
    assert views() == [b"three", b"number two", "ENOENT"]
    store.ctl("label", "dir/a", "pending", "1")
    store.ctl("label", "dir/a", "previous", "none")
    assert views() == [b"three", "ENOENT", b"one"]
    for number in range(20):
        put_pending(store, "dir/a", b"%d" % number)
        assert views() == [b"three", "ENOENT", b"%d" % number]
    store.ctl("mv", "dir/a", "dir/c")
    assert views() == ["ENOENT"] * 3
    assert views("dir/c") == [b"three", "ENOENT", b"19"]
    store.ctl("rm", "dir/c")
    assert views("dir/c") == ["ENOENT"] * 3


def test_views_mirror_the_tree_and_are_not_listed(store, views):
    store.put("dir/sub/deep/c", b"1", "-p")
    store.put("dir/sub/deep/c", b"2")
    root = views.root
    assert sorted(os.listdir(root)) == ["b", "dir"]
    for view, files in (("@previous", ["dir/sub/deep/c"]), ("@pending", [])):
        found = [
            (os.path.relpath(folder, root / view), names)
            for folder, _, names in os.walk(root / view)
        ]
        assert sorted(folder for folder, _ in found) == [".", "dir", "dir/sub", "dir/sub/deep"]
        listed = [os.path.normpath(f"{folder}/{name}") for folder, names in found for name in names]
        assert listed == files
        for path in (".", "dir", "dir/sub/deep"):
            here, there = (root / view / path).stat(), (root / path).stat()
            assert here.st_ino != there.st_ino and here.st_ino & (1 << 60) - 1 == there.st_ino
            same = ("st_mode", "st_uid", "st_gid", "st_nlink", "st_mtime_ns")
            assert [getattr(here, x) for x in same] == [getattr(there, x) for x in same]
            with os.scandir(root / view / path) as entries:
                assert all(entry.inode() == entry.stat().st_ino for entry in entries)
        assert (root / view / "dir/..").stat().st_ino == (root / view).stat().st_ino
    assert not (root / "dir/@previous").exists() and not (root / "@previous/@previous").exists()
    assert not (root / "@previous/@pending").exists() and not (root / "@current").exists()
    with os.scandir(root / "@previous") as entries:
        assert [entry.name for entry in entries] == ["dir"]


def test_numbers_are_a_versions_own_and_survive(store, mount, views):
    put_pending(store, "dir/a", b"two")
    pending = (views.root / "@pending/dir/a").stat()
    current = (views.root / "dir/a").stat()
    assert (pending.st_ino & (1 << 60) - 1) != current.st_ino
    assert stat.S_ISREG(pending.st_mode) and pending.st_nlink == 1
    again = mount()
    for path in ("@pending/dir/a", "@pending/dir", "@previous/dir", "@pending"):
        assert (again.path / path).stat().st_ino == (views.root / path).stat().st_ino
    store.ctl("label", "dir/a", "current", "2")
    assert (views.root / "dir/a").stat().st_ino == pending.st_ino & (1 << 60) - 1
    before = (views.root / "@previous/dir/a").stat()
    assert before.st_ino & (1 << 60) - 1 == current.st_ino and before.st_nlink == 1


@pytest.mark.parametrize("options", [[], ["direct_io"]], ids=["cached", "direct_io"])
def test_what_is_open_stays_that_version(store, mount, options):
    store.put("a", b"one")
    put_pending(store, "a", b"number two")
    served = mount(*options)
    with open(served.path / "@pending/a", "rb") as held:
        for number in range(3, 6):
            assert held.read() == b"number two"
            again = f"/proc/self/fd/{held.fileno()}"
            assert Path(again).read_bytes() == b"number two"
            held.seek(0)
            if number == 3:
                store.ctl("label", "a", "current", "2")
            else:
                store.put("a", b"%d" % number)
            assert os.fstat(held.fileno()).st_size == 10
    assert (served.path / "@previous/a").read_bytes() == b"4"


def test_the_policy_holds_in_every_view(store, views):
    store.ctl("chown", str(UID), "dir/a")
    store.put("dir/a", b"two")
    put_pending(store, "dir/a", b"three")
    paths = [views.root / view / "dir/a" for view in ("@previous", "@pending")]

    def errors(uid):
        return [as_user(uid, uid, [], error_of, path.read_bytes) for path in paths]

    assert (errors(UID), errors(UID + 1)) == ([None] * 2, ["EACCES"] * 2)
    store.ctl("setfacl", "-m", f"u:{UID + 1}:r", "dir/a")
    assert errors(UID + 1) == [None] * 2
    store.ctl("setfacl", "-b", "dir/a")
    assert errors(UID + 1) == ["EACCES"] * 2
    store.ctl("chmod", "0700", "dir")
    assert errors(UID) == ["EACCES"] * 2
    assert as_user(UID, UID, [], error_of, os.listdir, views.root / "@pending/dir") == "EACCES"
    store.ctl("chmod", "0755", "dir")
    assert errors(UID) == [None] * 2
    store.ctl("chmod", "0700", "/")
    assert errors(UID) == ["EACCES"] * 2
    assert as_user(UID, UID, [], error_of, os.listdir, views.root / "@pending") == "EACCES"


def test_the_policy_reaches_what_is_not_looked_up_again(store, views):
    store.put("dir/a", b"two")
    held = os.open(views.root / "@previous/dir/a", os.O_RDONLY)
    folder = os.open(views.root / "@pending/dir", os.O_PATH)
    for mode, owner in ((0o440, UID), (0o444, UID + 1)):
        assert os.fstat(held).st_mode != stat.S_IFREG | mode  # cached from here on
        store.ctl("chmod", "%04o" % mode, "dir/a")
        assert os.fstat(held).st_mode == stat.S_IFREG | mode
        assert os.fstat(folder).st_uid != owner
        store.ctl("chown", str(owner), "dir")
        assert os.fstat(folder).st_uid == owner
    before = os.fstat(folder)
    store.put("dir/b", b"new")
    assert os.fstat(folder).st_mtime_ns > before.st_mtime_ns
    store.ctl("mkdir", "dir/sub")
    assert os.fstat(folder).st_nlink == before.st_nlink + 1
    store.ctl("rm", "dir/a")
    assert os.fstat(held).st_nlink == 0
    assert error_of(Path(f"/proc/self/fd/{held}").read_bytes) == "ENOENT"
    os.close(held)
    os.close(folder)


def test_revocation_and_expiry_reach_what_a_view_has_open(store, views):
    store.put("dir/a", b"x" * 20000)
    put_pending(store, "dir/a", b"y" * 20000)
    paths = [views.root / view / "dir/a" for view in ("@previous", "@pending")]
    held = [os.open(path, os.O_RDONLY) for path in paths]
    assert [os.pread(fd, 1 << 20, 0) for fd in held] == [b"one", b"y" * 20000]
    store.ctl("revoke", "dir/a", "--version", "3")
    assert [error_of(os.pread, fd, 1, 0) for fd in held] == [None, "EKEYREVOKED"]
    assert [error_of(path.read_bytes) for path in paths] == [None, "EKEYREVOKED"]
    assert (views.root / "dir/a").read_bytes() == b"x" * 20000
    assert os.listdir(paths[1].parent) == ["a"]  # the label is still on it
    store.ctl("expire", "dir/a", "2020-01-01T00:00:00Z")
    assert [error_of(os.pread, fd, 1, 0) for fd in held] == ["EKEYEXPIRED", "EKEYREVOKED"]
    assert [error_of(path.read_bytes) for path in paths] == ["EKEYEXPIRED", "EKEYREVOKED"]
    for fd in held:
        os.close(fd)


def test_views_outlive_a_worker(store, mount):
    store.put("dir/a", b"one", "-p")
    store.put("dir/a", b"two")
    put_pending(store, "dir/a", b"three")
    served = mount()
    views = Views(store, served)
    with open(served.path / "@pending/dir/a", "rb", buffering=0) as held:
        folder = os.open(served.path / "@previous/dir", os.O_PATH)
        seen = os.fstat(held.fileno())
        assert held.read() == b"three"
        for number in range(5):
            kill_worker(served)
            current, previous, _ = labels(store, "dir/a")
            store.ctl("label", "dir/a", "current", str(previous))
            assert views() == [[b"one", b"two"][number % 2], [b"two", b"one"][number % 2], b"three"]
            assert os.listdir(f"/proc/self/fd/{folder}") == ["a"]
            assert os.path.samestat(os.fstat(held.fileno()), seen)
            assert os.pread(held.fileno(), 10, 0) == b"three"
        kill_worker(served)
        store.ctl("revoke", "dir/a", "--version", "3")
        kill_worker(served)
        assert error_of(os.pread, held.fileno(), 10, 0) == "EKEYREVOKED"
        os.close(folder)


def test_what_is_revoked_while_no_worker_runs(store, mount):
    """Pages that a view has cached outlive the worker that gave them out."""
    store.put("a", b"one")
    put_pending(store, "a", b"two")
    served = mount()
    held = os.open(served.path / "@pending/a", os.O_RDONLY)
    assert os.pread(held, 10, 0) == b"two"
    store.wait = False
    kill_worker(served)
    store.ctl("revoke", "a", "--version", "2")
    store.wait = True
    store.ctl("chmod", "0444", "a")  # returns once the mount shows all that was committed
    assert error_of(os.pread, held, 10, 0) == "EKEYREVOKED"
    os.close(held)


def test_nothing_can_be_changed_in_a_view(store, views):
    store.put("dir/a", b"two")
    root = views.root / "@previous"
    calls = [
        (os.mkdir, root / "new"),
        (os.unlink, root / "dir/a"),
        (os.rmdir, root / "dir"),
        (os.rmdir, root),
        (os.rename, root / "dir/a", views.root / "a"),
        (os.rename, root / "dir/a", root / "a"),
        (os.link, root / "dir/a", root / "a"),
        (os.symlink, "a", root / "a"),
        (os.mkdir, views.root / "@other"),
        (os.truncate, root / "dir/a", 0),
        (os.chmod, root / "dir/a", 0o777),
        (os.open, root / "dir/a", os.O_WRONLY),
        (os.open, root / "new", os.O_WRONLY | os.O_CREAT),
    ]
    assert [error_of(*call) for call in calls] == ["EROFS"] * len(calls)
    assert views() == [b"two", b"one", "ENOENT"]


def test_below_a_subdir(store, mount):
    store.put("dir/sub/a", b"one", "-p")
    store.put("dir/sub/a", b"two")
    served = mount("subdir=dir")
    previous = served.path / "@previous"
    assert (previous / "sub/a").read_bytes() == b"one"
    assert (previous / "..").stat().st_ino == served.path.stat().st_ino
    # Only the store's root keeps such names for views; elsewhere one of the store's own comes first.
    store.put("dir/@previous", b"a secret")
    assert previous.read_bytes() == b"a secret" and "@previous" in os.listdir(served.path)
    assert (mount().path / "@previous/dir/sub/a").read_bytes() == b"one"
    store.ctl("rm", "dir/@previous")
    assert (previous / "sub/a").read_bytes() == b"one"


def test_programs_read_through_views(store, views, folder):
    large = os.urandom(300000)
    put_pending(store, "dir/a", large)
    path = views.root / "@pending/dir/a"
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as area:
        assert bytes(area) == large
    run(["cp", "-a", views.root / "@pending", folder / "copy"])
    assert (folder / "copy/dir/a").read_bytes() == large
    shutil.rmtree(folder / "copy")
