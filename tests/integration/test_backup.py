"""A backup is one state of the store in one file, verified; and what is restored is served again."""

import os
import shutil
import stat
import subprocess
import threading
import time

import pytest

import database
from harness import (
    FAILED,
    INTEGRITY,
    LOCKED,
    USAGE,
    Store,
    eventually,
    mount_namespace,
    one_line,
    run,
)


def copy_of(store, path):
    """The backup as a store, alone in a folder."""
    folder = store.folder / f"{path.name}-restored"
    folder.mkdir()
    restored = Store(folder)
    shutil.copy(path, restored.path)
    restored.unlock = store.unlock
    return restored


@pytest.fixture
def filled(store):
    store.put("dir/a", b"former", "-p")
    store.put("dir/a", b"present")
    store.put("gone", os.urandom(5000))
    store.ctl("rm", "gone")
    return store


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("options", [(), ("--no-verify",)])
def test_a_backup_is_one_complete_file(filled, options):
    before = names(filled.folder)
    target = filled.folder / "backup"
    assert filled.ctl("backup", *options, target) == b""
    assert names(filled.folder) == sorted([*before, "backup"])
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    restored = copy_of(filled, target)
    assert restored.get("dir/a") == b"present"
    assert restored.get("dir/a", "--version", "1") == b"former"
    restored.ctl("restore", "gone")
    restored.ctl("check")
    assert restored.json("status")["uuid"] == filled.json("status")["uuid"]


def test_standard_output_gets_the_same(filled):
    folder = filled.folder / "tmp"
    folder.mkdir()
    data = filled.ctl("backup", "-", env={**os.environ, "TMPDIR": str(folder)})
    assert names(folder) == []
    target = filled.folder / "piped"
    target.write_bytes(data)
    assert copy_of(filled, target).get("dir/a") == b"present"
    line = filled.refuses(FAILED, "backup", "-", env={**os.environ, "TMPDIR": "/nowhere"})
    assert "standard output" in line


def test_a_terminal_gets_none(filled):
    leader, follower = os.openpty()
    done = run(filled.argv("backup", "-"), status=FAILED, stdout=follower)
    assert "terminal" in one_line(done.stderr, "secretctl")
    os.close(follower)
    os.close(leader)


def test_nothing_is_replaced_unless_that_is_said(filled):
    target = filled.folder / "backup"
    target.write_bytes(b"precious")
    assert "--force" in filled.refuses(FAILED, "backup", target)
    assert target.read_bytes() == b"precious"
    link = filled.folder / "link"
    link.symlink_to(target)
    assert "--force" in filled.refuses(FAILED, "backup", link)
    filled.ctl("backup", "--force", link)
    assert not link.is_symlink() and target.read_bytes() == b"precious"
    filled.ctl("backup", "--force", target)
    assert copy_of(filled, target).get("dir/a") == b"present"


def test_what_can_be_no_backup_is_refused(filled):
    before = filled.path.read_bytes()
    kept = names(filled.folder)
    (filled.folder / "hard").hardlink_to(filled.path)
    (filled.folder / "soft").symlink_to(filled.path)
    for path in (filled.path, filled.folder / "hard", filled.folder / "soft"):
        assert "the store itself" in filled.refuses(FAILED, "backup", "--force", path)
    assert "directory" in filled.refuses(FAILED, "backup", "--force", filled.folder)
    filled.refuses(FAILED, "backup", filled.folder / "no" / "backup")
    filled.refuses(USAGE, "backup", "a", "b")
    (filled.folder / "hard").unlink()
    (filled.folder / "soft").unlink()
    for suffix in ("-wal", "-journal"):
        beside = filled.folder / f"backup{suffix}"
        beside.write_bytes(b"")
        for force in ((), ("--force",)):
            assert suffix in filled.refuses(FAILED, "backup", *force, filled.folder / "backup")
        beside.unlink()
    assert names(filled.folder) == kept and filled.path.read_bytes() == before


def test_without_a_key_it_is_only_copied(filled):
    key = filled.key
    filled.unlock = ["--key-file", filled.folder / "no-key"]
    filled.refuses(LOCKED, "backup", filled.folder / "verified")
    filled.ctl("backup", "--no-verify", filled.folder / "copied")
    filled.unlock = ["--key-file", key]
    copy_of(filled, filled.folder / "copied").ctl("check")


DAMAGE = {
    "a row is missing": "DELETE FROM version WHERE id = (SELECT min(id) FROM version)",
    "a value is another": "UPDATE version SET box = zeroblob(length(box))",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_store_gives_no_verified_backup(filled, statement):
    database.execute(filled.path, statement)
    kept = names(filled.folder)
    filled.refuses(INTEGRITY, "backup", filled.folder / "backup")
    filled.refuses(INTEGRITY, "backup", "-")
    assert names(filled.folder) == kept
    filled.ctl("backup", "--no-verify", filled.folder / "backup")
    restored = copy_of(filled, filled.folder / "backup")
    restored.refuses(INTEGRITY, "check")


def test_a_full_disk_leaves_nothing(filled):
    filled.put("large", os.urandom(900_000))
    folder = filled.folder / "full"
    folder.mkdir()
    with mount_namespace():
        run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder])
        assert "space" in filled.refuses(FAILED, "backup", folder / "backup")
        assert names(folder) == []
        run(["umount", folder])
    with open("/dev/full", "wb") as full:
        done = run(filled.argv("backup", "-"), status=FAILED, stdout=full)
    one_line(done.stderr, "secretctl")


def test_backups_are_consistent_while_writers_run(filled, mount):
    """Two secrets are rotated by turns: whatever a backup has, they are one rotation apart at most."""
    filled.quick = True
    mount()
    stop = threading.Event()
    filled.put("one", b"0")
    filled.put("two", b"0")

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            for path in ("one", "two"):
                filled.put(path, str(number).encode(), "--no-wait")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = set()
        for number in range(8):
            target = filled.folder / f"backup-{number}"
            filled.ctl("backup", target)
            restored = copy_of(filled, target)
            restored.quick = True
            one, two = int(restored.get("one")), int(restored.get("two"))
            assert one - two in (0, 1)
            seen.add(one)
    finally:
        stop.set()
        writer.join()
    assert len(seen) > 1, "the writer did write meanwhile"


def test_a_backup_is_restored_as_the_manual_says(filled, mount):
    served = mount()
    filled.ctl("backup", filled.folder / "backup")
    filled.put("dir/a", b"after the backup")
    filled.put("later", b"x")
    served.stop()
    restored = filled.folder / "store.db.new"
    shutil.copy(filled.folder / "backup", restored)
    for beside in ("store.db-wal", "store.db-shm"):
        (filled.folder / beside).unlink(missing_ok=True)
    restored.rename(filled.path)
    filled.refuses(INTEGRITY, "check")
    filled.ctl("anchor", "accept")
    again = mount()
    assert (again.path / "dir" / "a").read_bytes() == b"present"
    assert not (again.path / "later").exists()
    filled.ctl("check")
    filled.put("later", b"y")
    assert (again.path / "later").read_bytes() == b"y"


def test_a_file_put_in_place_under_a_daemon_is_not_served(filled, mount):
    """It goes on with what it has verified, until it is started again."""
    served = mount()
    filled.ctl("backup", filled.folder / "backup")
    filled.put("dir/a", b"after the backup")
    (filled.folder / "backup").rename(filled.path)
    eventually(lambda: "serving the last verified state" in served.log.read_text())
    assert (served.path / "dir" / "a").read_bytes() == b"after the backup"


def test_a_killed_backup_leaves_the_one_before_or_the_new_one(filled):
    target = filled.folder / "backup"
    filled.ctl("backup", target)
    filled.put("dir/a", os.urandom(500_000))
    value = filled.get("dir/a")
    for number in range(12):
        argv = [str(arg) for arg in filled.argv("backup", "--force", target)]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        time.sleep(number / 400)
        process.kill()
        process.wait()
        restored = copy_of(filled, target)
        assert restored.get("dir/a") in (b"present", value)
        shutil.rmtree(restored.folder)
