"""secretctl key rekey: a new root key under readers, daemons and kills; what the old one still opens."""

import os
import random
import shutil
import sqlite3
import subprocess
import time

import pytest

from harness import (
    FAILED,
    INTEGRITY,
    LOCKED,
    SECRETCTL,
    USAGE,
    Store,
    end,
    eventually,
    identity,
    kill_if_lives,
    kill_worker,
    mount_namespace,
    run,
    spawn,
    worker_now,
    worker_of,
)
from load import CONTENT, Load

KILLS = int(os.environ.get("SECRETFS_REKEY_KILLS", "12"))
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
OLD_COPIES = (
    b"secretctl: copies of the store that were made before still open with the keys of then\n"
)


def rekey(store, *options, **running):
    done = run(store.argv("key", "rekey", *options), **running)
    assert done.stderr == OLD_COPIES
    return done.stdout


def kinds(store):
    return [slot["kind"] for slot in store.json("key", "ls")]


@pytest.mark.alone
def test_readers_of_every_kind_go_on(store, mount, folder, measured):
    """With the worker killed once in a while, too; and it is confirmed, so that it is over."""
    Load.fill(store)
    served = mount()
    with Load(served, folder) as load:
        for number in range(6):
            before = worker_of(served)
            rekey(store)
            assert worker_of(served) != before
            load.rotate(store)
            if number % 2:
                kill_worker(served)
        load.settle()
    assert store.json("status")["daemons"][0]["generation"] == store.json("status")["generation"]
    measured(f"6 rekeys and {load.report()}")


def test_every_mount_goes_on_and_so_does_the_next_daemon(store, mount):
    store.put("a", b"value")
    mounts = [mount(), mount()]
    rekey(store)
    store.put("a", b"rotated")
    assert [(served.path / "a").read_bytes() for served in mounts] == [b"rotated"] * 2
    for served in mounts:
        served.stop()
    assert (mount().path / "a").read_bytes() == b"rotated"


def boxes(store):
    """The sealed bytes of every row, and what follows from names."""
    with sqlite3.connect(store.path) as db:
        found = [row[0] for table in ("slot", "node", "version") for row in db.execute(f"SELECT box FROM {table}")]
        found += [row[0] for row in db.execute("SELECT lookup FROM node")]
    db.close()
    return [box[:48] for box in found]


@pytest.mark.parametrize("served", [False, True])
def test_nothing_that_the_old_key_opens_is_left(store, mount, served):
    store.quick = True
    for number in range(40):
        store.put(f"dir/a{number}", b"%d" % number * (number + 1), "-p")
    store.put("dir/a1", b"a second version")
    store.ctl("rm", "dir/a2")
    if served:
        mount()
    old = boxes(store)
    assert all(any(box in path.read_bytes() for path in store.files()) for box in old)
    rekey(store)
    left = b"".join(path.read_bytes() for path in store.files())
    assert not any(box in left for box in old)
    assert store.get("dir/a1") == b"a second version"
    assert store.get("dir/a1", "--version", "1") == b"11"
    store.ctl("restore", "dir/a2")
    assert store.get("dir/a2") == b"222"
    store.ctl("check")


def test_what_others_read_from_is_told(store):
    store.put("a", b"value")
    with sqlite3.connect(store.path) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM node").fetchone()
        done = run(store.argv("key", "rekey"))
        assert b"write-ahead log" in done.stderr
    db.close()
    old = boxes(store)
    store.ctl("purge", "--due")
    assert store.get("a") == b"value" and boxes(store) == old


def test_an_older_file_and_an_older_slot(store, folder):
    """The copy opens as it did; its slot opens nothing that was made since."""
    store.put("a", b"value")
    copy = Store(folder / "copy")
    copy.folder.mkdir()
    for path in [store.key, *store.files(), *store.records()]:
        shutil.copy2(path, copy.folder)
    with sqlite3.connect(copy.path) as db:
        slot = db.execute("SELECT id, generation, box FROM slot").fetchone()
    db.close()
    rekey(store)
    assert copy.get("a") == b"value"
    with sqlite3.connect(store.path) as db:
        db.execute("REPLACE INTO slot VALUES(?, ?, ?)", slot)
    db.close()
    store.refuses(INTEGRITY, "get", "a")


def put_in_place(store, name):
    """Replace the store's files by a copy."""
    for path in store.files():
        if path != store.path:
            path.unlink()
    (store.folder / name).rename(store.path)


def test_a_backup_from_before_is_refused_until_it_is_accepted(store, mount):
    """Its keys are those of then, so that the anchor can't say how old it is."""
    store.put("a", b"then")
    store.ctl("backup", store.folder / "backup")
    store.put("a", b"now")
    rekey(store)
    put_in_place(store, "backup")
    line = store.refuses(INTEGRITY, "get", "a")
    assert "(the anchor: its seal does not open: the store was rekeyed since, or it is damaged)" in line
    assert "secretctl anchor accept" in line
    assert store.json("anchor")["state"] == "damaged"
    assert b"of this store after a rekey" in store.ctl("anchor")
    assert b"one from after a rekey, when it is started again" in store.ctl("anchor", "accept")
    assert store.get("a") == b"then" and store.json("anchor")["state"] == "same"
    assert (mount().path / "a").read_bytes() == b"then"


@pytest.fixture
def forgetful(store, folder, mount):
    """A daemon whose anchor is in memory, as it could not write the file; others can."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    store.unlock = [*store.unlock, "--anchor", elsewhere]
    store.put("a", b"value")
    with mount_namespace():
        run(["mount", "--bind", elsewhere, elsewhere])
        run(["mount", "-o", "remount,bind,ro", elsewhere])
        served = mount(f"anchor={elsewhere}")
        run(["mount", "-o", "remount,bind,rw", elsewhere])
        assert "the anchor of" in served.log.read_text()
        yield served
        served.stop()


def test_a_daemon_with_an_anchor_in_memory_goes_on(store, forgetful):
    """It has an anchor of the new key then, and still one of the old where a rekey was not done."""
    served = forgetful
    for number in range(3):
        rekey(store)
        store.put("a", b"%d" % number)
        assert (served.path / "a").read_bytes() == b"%d" % number
    for number in range(KILLS // 2):
        process = spawn(store.argv("key", "rekey"), **SILENT)
        time.sleep(random.random() * 0.2)
        process.kill()
        end(process)
        store.put("b", b"%d" % number)
        assert (served.path / "b").read_bytes() == b"%d" % number
    assert "not the state of the store that was last seen" not in served.log.read_text()


def test_a_daemon_with_an_anchor_in_memory_remembers_after_a_rekey(store, forgetful):
    served = forgetful
    rekey(store)
    store.ctl("backup", store.folder / "older")
    store.put("a", b"newer")
    store.ctl("backup", store.folder / "newer")
    assert (served.path / "a").read_bytes() == b"newer"
    put_in_place(store, "older")
    kill_worker(served)
    eventually(lambda: "an older state was put in its place" in served.log.read_text())
    put_in_place(store, "newer")
    eventually(lambda: (served.path / "a").read_bytes() == b"newer")


def test_slots_that_are_kept_and_dropped(store, folder):
    done = run([SECRETCTL, "identity", "new", "--out", folder / "identity"])
    public = done.stdout.decode().split()[-1]
    store.ctl("key", "add", "--recipient", public)
    read, write = os.pipe()
    os.write(write, b"a passphrase\n")
    os.close(write)
    store.ctl("key", "add", "--new-passphrase-fd", str(read), pass_fds=[read])
    os.close(read)
    store.put("a", b"value")
    line = store.refuses(FAILED, "key", "rekey")
    assert "slot 3 (passphrase)" in line and "--drop" in line
    assert kinds(store) == ["keyfile", "recipient", "passphrase"]
    assert b"2 key slots kept, 1 dropped" in rekey(store, "--drop")
    assert [slot["id"] for slot in store.json("key", "ls")] == [1, 2]
    assert store.get("a") == b"value"
    other = Store(store.folder)
    other.unlock = ["--identity", folder / "identity"]
    assert other.get("a") == b"value"
    assert b"1 key slot kept, 1 dropped" in rekey(other, "--drop")
    assert kinds(other) == ["recipient"]
    store.refuses(LOCKED, "get", "a")


def test_with_json(store):
    assert b'"dropped": 0' in rekey(store, "--json")


def test_what_does_not_go_together(store):
    store.refuses(USAGE, "key", "rekey", "--new-passphrase")
    store.refuses(USAGE, "key", "add", "--drop", "--new-key-file", "x")
    store.refuses(USAGE, "key", "rekey", "1")


def test_a_daemon_that_may_not_be_asked_keeps_it_from_being_done(store, mount):
    store.put("a", b"value")
    served = mount()
    for path in [store.folder, store.key, *store.files(), *store.records()]:
        os.chown(path, 4242, 4242)
    generation = store.json("status")["generation"]
    line = store.refuses(FAILED, "key", "rekey", **identity(4242))
    assert "nothing was changed" in line and str(served.path) in line
    assert store.json("status")["generation"] == generation
    assert store.get("a") == (served.path / "a").read_bytes() == b"value"


@pytest.mark.alone
def test_killed_anywhere_it_is_done_or_not(store, mount, folder, measured):
    """The daemon goes on with the key that opens the store, and readers notice nothing."""
    Load.fill(store)
    served = mount()
    begun = time.monotonic()
    rekey(store)
    duration = time.monotonic() - begun
    done = 0
    with Load(served, folder) as load:
        for _ in range(KILLS):
            before = boxes(store)
            process = spawn(store.argv("key", "rekey"), **SILENT)
            time.sleep(random.random() * 1.2 * duration)
            process.kill()
            end(process)
            done += boxes(store) != before
            load.rotate(store)
        load.settle()
    assert store.get("fixed") == CONTENT
    store.ctl("check")
    measured(f"{KILLS} rekeys killed, {done} of them done, and {load.report()}")


def test_a_worker_that_dies_meanwhile(store, mount):
    """While a daemon stands by it has none, and starts one when it is over."""
    store.put("a", b"value")
    served = mount()
    for _ in range(10):
        process = spawn(store.argv("key", "rekey"), **SILENT)
        time.sleep(random.random() * 0.1)
        worker = worker_now(served)
        if worker:
            kill_if_lives(worker)
        assert end(process) == 0
        assert (served.path / "a").read_bytes() == b"value"
    store.put("a", b"rotated")
    assert (served.path / "a").read_bytes() == b"rotated"


def test_a_slot_is_removed_with_a_rekey(store, folder):
    """Whoever has kept what it opened has nothing of the store that is written from then on."""
    other = Store(store.folder)
    other.key = folder / "other"
    other.unlock = ["--key-file", other.key]
    store.ctl("key", "add", "--new-key-file", other.key)
    store.put("a", b"value")
    assert "no key slot 7" in store.refuses(FAILED, "key", "rm", "7", "--rekey", "--drop")
    line = store.refuses(FAILED, "key", "rm", "1", "--rekey", "--drop")
    assert "no key slot would be left" in line
    done = run(store.argv("key", "rm", "2", "--rekey"))
    assert b"1 key slot kept, 1 dropped" in done.stdout and done.stderr == OLD_COPIES
    other.refuses(LOCKED, "get", "a")
    assert store.get("a") == b"value"
    store.refuses(USAGE, "key", "rm", "1", "--drop")
