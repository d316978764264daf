"""The anchor: an older copy of the store, or another branch of it, is refused, live and at a start."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from harness import (
    FAILED,
    INTEGRITY,
    QUICK,
    USAGE,
    Store,
    end,
    eventually,
    identity,
    kill_worker,
    mount_namespace,
    one_line,
    refuses_to_mount,
    run,
    spawn,
    worker_of,
)

OWNER = 64211


def anchor_of(store, folder=None):
    uuid = store.json("status", *(["--anchor", folder] if folder else []))["uuid"]
    return Path(folder or store.folder / "anchor") / uuid.replace("-", "")


def keep(store, name):
    """A copy of the store as it stands, made by SQLite, so that its log is in it."""
    path = store.folder / name
    with closing(sqlite3.connect(store.path)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=WAL")
    return path


def put_back(path, store):
    """Replace the store's files by a copy."""
    for file in store.files():
        if file != store.path:
            file.unlink()
    shutil.copy2(path, store.folder / "next")
    (store.folder / "next").rename(store.path)


def restore_live(path, store):
    """Have SQLite write a copy's content into the file, as a commit that others see."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(store.path)) as target:
        source.backup(target)


def branch(store, path, name, commits):
    """The copy at `path`, gone on elsewhere by some commits."""
    (store.folder / name).mkdir()
    other = Store(store.folder / name)
    shutil.copy2(path, other.path)
    shutil.copy2(store.key, other.key)
    other.quick = True
    for number in range(commits):
        other.put("a", b"branch %s %d" % (name.encode(), number))
    return other.path


def history(store, commits):
    """Commit, and keep each state. Returns the kept ones."""
    store.quick = True
    kept = []
    for number in range(commits):
        store.put("a", b"value %d" % number)
        kept.append(keep(store, f"kept{number}"))
    return kept


# ---- what is refused


def test_a_hundred_older_states_and_branches_are_refused_at_a_start(store, folder, measured):
    kept = history(store, 70)
    now = keep(store, "now")
    states = kept[:-1]
    states += [branch(store, kept[k], f"older{k}", 1) for k in range(0, 60, 4)]
    states += [branch(store, kept[-1 - n % 3], f"same{n}", n % 3) for n in range(1, 25) if n % 3]
    assert len(states) == 100
    begun = time.monotonic()
    for number, state in enumerate(states):
        put_back(state, store)
        line = store.refuses(INTEGRITY, "get", "a", env=QUICK)
        assert "not the state of the store that was last seen" in line
        assert "secretctl anchor accept" in line
        if number % 12 == 0:
            option = f"key_file={store.key}"
            line = refuses_to_mount(INTEGRITY, store.path, folder / "mnt", option)
            assert "secretctl anchor accept" in line
    measured(f"{len(states)} states: all refused, in {time.monotonic() - begun:.1f} s")
    put_back(now, store)
    assert store.get("a") == b"value 69"


def test_the_refusal_tells_how_old_the_state_is(store):
    kept = history(store, 4)
    put_back(kept[0], store)
    for command in (["ls"], ["put", "a"], ["check"], ["status"], ["rotate", "--due"]):
        line = one_line(run(store.argv(*command), status=INTEGRITY).stderr, "secretctl")
        assert "(generation 2, 3 behind the one seen at 20" in line, command
        assert "Z: an older state was put in its place)" in line, command


def test_a_daemon_that_serves_refuses_older_states_and_branches(store, mount):
    kept = history(store, 5)
    now = keep(store, "now")
    served = mount()
    assert (served.path / "a").read_bytes() == b"value 4"
    states = [*kept[:-1], branch(store, kept[2], "longer", 5), branch(store, kept[3], "same", 1)]
    for number, state in enumerate(states):
        restore_live(state, store)
        eventually(lambda: served.log.read_text().count("cannot follow") == number + 1)
        assert (served.path / "a").read_bytes() == b"value 4"
        restore_live(now, store)
        eventually(lambda: served.log.read_text().count("is verified again") == number + 1)
    store.put("a", b"later")
    assert (served.path / "a").read_bytes() == b"later"


@pytest.mark.parametrize("deleted", [False, True])
def test_the_next_worker_refuses_what_the_last_one_would(store, mount, folder, deleted):
    """Also where the anchor is taken away meanwhile: the supervisor holds it open."""
    kept = history(store, 3)
    now = keep(store, "now")
    served = mount()
    if deleted:
        anchor_of(store).unlink()
    put_back(kept[0], store)
    kill_worker(served)
    with ThreadPoolExecutor(1) as pool:
        value = pool.submit((served.path / "a").read_bytes)
        eventually(lambda: "not the state of the store that was last seen" in served.log.read_text())
        assert not value.done(), "it waits"
        put_back(now, store)
        assert value.result(timeout=30) == b"value 2"


def test_what_is_not_noticed(store):
    """As SECURITY.md says: without an anchor, and a branch that is longer than what was seen."""
    kept = history(store, 3)
    put_back(branch(store, kept[0], "longer", 3), store)
    done = run(store.argv("get", "a"))
    assert done.stdout == b"branch longer 2"
    # What the branch has recorded is in a record elsewhere, and missed in this one.
    assert "lines are missing at the end of the record" in one_line(done.stderr, "secretctl")
    put_back(kept[0], store)
    store.refuses(INTEGRITY, "get", "a")
    anchor_of_any = next((store.folder / "anchor").iterdir())
    anchor_of_any.unlink()
    assert store.get("a") == b"value 0"


# ---- the command


def test_the_command_tells_both_sides(store):
    kept = history(store, 3)
    told = store.json("anchor")
    assert told.pop("seen").startswith("20")
    assert told == {"state": "same", "generation": 4, "anchor": 4, "accepted": None}
    text = store.ctl("anchor").decode().splitlines()
    assert text[0] == "store:    generation 4; it is the state that was last seen"
    assert text[1].startswith("anchor:   generation 4, seen 20")
    put_back(kept[0], store)
    told = store.json("anchor")
    assert (told["state"], told["generation"], told["anchor"]) == ("older", 2, 4)
    anchor = next((store.folder / "anchor").iterdir())
    anchor.unlink()
    told = store.json("anchor")
    assert (told["state"], told["anchor"], told["seen"]) == ("none", None, None)
    assert store.json("anchor")["state"] == "none", "asking changes nothing"
    store.refuses(USAGE, "anchor", "reject")


def test_a_backup_is_accepted_and_told_of(store):
    kept = history(store, 3)
    now = keep(store, "now")
    put_back(kept[0], store)
    said = store.ctl("anchor", "accept").decode()
    assert said.startswith("Accepted: generation 2 in place of 4 is generation 5 from now on.\n")
    assert store.get("a") == b"value 0"
    accepted = store.json("anchor")["accepted"]
    assert accepted.pop("time").startswith("20")
    assert accepted == {"generation": 5, "accepted": 2, "seen": 4}
    assert "accepted: generation 2 in place of 4, 20" in store.ctl("anchor").decode()
    store.put("a", b"later")
    assert store.ctl("anchor", "accept").startswith(b"There is nothing to accept: ")
    assert store.json("anchor", "accept") == {"was": "same", "accepted": None}
    for given_up in (now, kept[0]):
        put_back(given_up, store)
        store.refuses(INTEGRITY, "get", "a")
    assert store.json("anchor", "accept")["was"] == "older"


def test_a_daemon_goes_on_with_what_was_accepted(store, mount):
    """Whatever the kernel has cached of the state that was given up is dropped."""
    for name in ("moved", "kept", "removed", "closed"):
        store.put(name, b"old " + name.encode(), "--mode", "0444")
    backup = keep(store, "backup")
    served = mount()
    store.ctl("mv", "moved", "elsewhere")
    store.ctl("rm", "removed")
    store.ctl("chmod", "0400", "closed")
    for number in range(3):
        store.put("kept", b"new %d" % number)
        store.put(f"made{number}", b"made")
    names = {path.name: (path.read_bytes(), path.stat().st_mode) for path in served.path.iterdir()}
    assert names["kept"][0] == b"new 2" and len(names) == 6
    put_back(backup, store)
    store.ctl("anchor", "accept")
    assert (served.path / "kept").read_bytes() == b"new 2"
    store.ctl("upgrade")
    eventually(lambda: (served.path / "kept").read_bytes() == b"old kept")
    found = {path.name: (path.read_bytes(), path.stat().st_mode) for path in served.path.iterdir()}
    assert found == {
        name: (b"old " + name.encode(), 0o100444) for name in ("moved", "kept", "removed", "closed")
    }
    assert not (served.path / "made0").exists() and not (served.path / "elsewhere").exists()
    store.put("kept", b"newest")
    assert (served.path / "kept").read_bytes() == b"newest"


# ---- anchors that are damaged, elsewhere, or can't be written


def test_a_damaged_anchor_is_refused(store, folder):
    history(store, 2)
    anchor = anchor_of(store)
    anchor.write_bytes(b"x" * 5000)
    for command in (["get", "a"], ["put", "a"]):
        assert "the anchor: it is damaged, or not of this store" in store.refuses(
            INTEGRITY, *command
        )
    refuses_to_mount(INTEGRITY, store.path, folder / "mnt", f"key_file={store.key}")
    assert store.json("anchor")["state"] == "damaged"
    assert store.ctl("anchor", "accept").startswith(b"Accepted: generation 3 is generation 4 ")
    assert store.json("anchor")["accepted"]["seen"] is None
    assert store.get("a") == b"value 1"


def test_the_anchor_of_another_store_is_refused(store, folder):
    store.put("a", b"1")
    (folder / "other").mkdir()
    other = Store.fresh(folder / "other")
    other.put("a", b"theirs")
    shutil.copy(anchor_of(other), anchor_of(store))
    store.refuses(INTEGRITY, "get", "a")


def test_a_named_folder_is_used_alone(store, folder, mount):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    store.put("a", b"1", "--anchor", elsewhere)
    assert not (store.folder / "anchor").exists()
    first = keep(store, "first")
    environment = {**os.environ, "SECRETFS_ANCHOR": str(elsewhere)}
    store.put("a", b"2", "--anchor", elsewhere)
    put_back(first, store)
    store.refuses(INTEGRITY, "get", "a", env=environment)
    line = refuses_to_mount(
        INTEGRITY, store.path, folder / "mnt", f"key_file={store.key}", f"anchor={elsewhere}"
    )
    assert "2 behind" not in line and "1 behind" in line
    assert store.get("a") == b"1", "the one beside the store knows nothing of it"
    store.ctl("anchor", "accept", "--anchor", elsewhere)
    assert store.get("a", "--anchor", elsewhere) == b"1"


def test_a_named_folder_that_cannot_be_used_is_an_error(store, folder):
    line = store.refuses(FAILED, "get", "a", "--anchor", folder / "missing")
    assert "cannot use the anchor in" in line and "there is no such directory" in line
    (folder / "file").touch()
    store.refuses(FAILED, "get", "a", "--anchor", folder / "file")
    line = refuses_to_mount(
        FAILED, store.path, folder / "mnt", f"key_file={store.key}", f"anchor={folder}/missing"
    )
    assert f"cannot use the anchor in '{folder}/missing': No such file or directory" in line


def test_a_daemon_keeps_an_anchor_of_its_own_up_to_date(store, folder, mount):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    served = mount(f"anchor={elsewhere}")
    for number in range(2):
        store.put("a", b"%d" % number)
        eventually(lambda: store.json("anchor", "--anchor", elsewhere)["state"] == "same")
    store.put("a", b"the last")
    served.stop()
    assert store.json("anchor", "--anchor", elsewhere)["state"] == "same"


def test_read_only_media_are_compared_with(store, folder):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    store.put("a", b"1", "--anchor", elsewhere)
    first = keep(store, "first")
    store.put("a", b"2", "--anchor", elsewhere)
    second = keep(store, "second")
    with mount_namespace():
        run(["mount", "--bind", "-o", "ro", elsewhere, elsewhere])
        assert store.get("a", "--anchor", elsewhere) == b"2"
        done = run(store.argv("put", "a", "--anchor", elsewhere), input=b"3")
        assert "could not be advanced" in one_line(done.stderr, "secretctl")
        assert store.get("a", "--anchor", elsewhere) == b"3"
        store.refuses(FAILED, "anchor", "accept", "--anchor", elsewhere)
        put_back(first, store)
        store.refuses(INTEGRITY, "get", "a", "--anchor", elsewhere)
        (folder / "empty").mkdir()
        run(["mount", "--bind", "-o", "ro", folder / "empty", folder / "empty"])
        store.refuses(FAILED, "get", "a", "--anchor", folder / "empty")
        put_back(second, store)


def test_a_daemon_with_a_read_only_anchor_remembers_while_it_runs(store, folder, mount):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    store.put("a", b"1", "--anchor", elsewhere)
    first = keep(store, "first")
    with mount_namespace():
        run(["mount", "--bind", "-o", "ro", elsewhere, elsewhere])
        served = mount(f"anchor={elsewhere}")
        assert "can't be written; an older copy may go unnoticed" in served.log.read_text()
        store.put("a", b"2")
        second = keep(store, "second")
        put_back(first, store)
        kill_worker(served)
        eventually(lambda: "an older state was put in its place" in served.log.read_text())
        put_back(second, store)
        eventually(lambda: (served.path / "a").read_bytes() == b"2")
        served.stop()


# ---- writers


def test_a_writer_killed_before_the_anchor_leaves_the_store_ahead(store):
    store.quick = True
    store.put("a", b"0")
    anchor = anchor_of(store)
    for number in range(1, 4):
        words = ["strace", "-P", anchor, "-e", "trace=pwrite64"]
        words += ["-e", "inject=pwrite64:signal=SIGKILL"]
        process = spawn(
            [*words, *store.argv("put", "a")],
            env=QUICK,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        process.stdin.write(b"%d" % number)
        process.stdin.close()
        assert end(process) == -signal.SIGKILL
        assert store.json("anchor")["state"] in ("newer", "same")
        assert store.get("a") == b"%d" % number, "the commit is done"
        assert store.json("anchor")["state"] == "same"


def test_killed_writers_leave_an_anchor_that_fits(store):
    """At any call that concerns the anchor."""
    store.quick = True
    store.put("a", b"0")
    anchor = anchor_of(store)
    for call in ("openat", "fcntl", "pread64", "pwrite64", "fdatasync"):
        for when in (1, 2, 3):
            inject = f"inject={call}:signal=SIGKILL:when={when}"
            words = ["strace", "-P", anchor, "-e", f"trace={call}", "-e", inject]
            argv = [*words, *store.argv("put", "a", "--generate", "hex:8")]
            end(spawn(argv, env=QUICK, stderr=subprocess.DEVNULL))
            store.ctl("check")
    assert store.json("anchor")["state"] == "same"


def test_writers_at_once_leave_the_last_state_in_the_anchor(store):
    store.quick = True

    def write(number):
        for _ in range(8):
            store.put(f"of{number}", os.urandom(8))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    told = store.json("anchor")
    assert (told["state"], told["generation"]) == ("same", 33)


def test_a_stopped_writer_holds_up_no_other(store):
    store.put("a", b"0")
    anchor = anchor_of(store)
    words = ["strace", "-P", anchor, "-e", "trace=fdatasync"]
    words += ["-e", "inject=fdatasync:signal=SIGSTOP"]
    process = spawn(
        [*words, *store.argv("put", "a", "--generate", "hex:8")],
        env=QUICK,
        stderr=subprocess.PIPE,
    )
    for line in process.stderr:
        if line == b"--- stopped by SIGSTOP ---\n":
            break
    begun = time.monotonic()
    done = run(store.argv("put", "a"), input=b"by another")
    assert "could not be advanced" in one_line(done.stderr, "secretctl")
    assert time.monotonic() - begun < 10
    child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[-1]
    os.kill(int(child), signal.SIGCONT)
    process.stderr.read()
    assert end(process) == 0
    assert store.get("a") == b"by another"
    assert store.json("anchor")["state"] == "same"


# ---- whose it is


@pytest.fixture
def owned(store):
    """A store of a plain user's."""
    for path in [store.folder, store.key, *store.files(), *store.records()]:
        os.chown(path, OWNER, OWNER)
    return store


def test_what_root_makes_for_a_plain_user_is_theirs(owned):
    owned.put("a", b"1")
    anchor = anchor_of(owned)
    for path, mode in ((anchor.parent, 0o40700), (anchor, 0o100600)):
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode) == (OWNER, OWNER, mode)
    for path in owned.files():
        os.chown(path, OWNER, OWNER)
    owned.ctl("put", "a", input=b"2", **identity(OWNER))
    assert owned.json("anchor", **identity(OWNER))["state"] == "same"


def test_a_plain_user_has_an_anchor_too(owned):
    owned.ctl("put", "a", input=b"1", **identity(OWNER))
    first = keep(owned, "first")
    owned.ctl("put", "a", input=b"2", **identity(OWNER))
    put_back(first, owned)
    os.chown(owned.path, OWNER, OWNER)
    owned.refuses(INTEGRITY, "get", "a", **identity(OWNER))


def test_an_anchor_that_is_out_of_reach_is_remarked_on(owned):
    """It was made by somebody else; who only reads is not told."""
    (owned.folder / "anchor").mkdir(0o700)
    done = run(owned.argv("put", "a"), input=b"1", **identity(OWNER))
    assert "could not be advanced" in one_line(done.stderr, "secretctl")
    assert owned.ctl("get", "a", **identity(OWNER)) == b"1"


def test_root_follows_no_link_of_a_plain_user(owned, folder):
    (folder / "target").mkdir()
    (owned.folder / "anchor").symlink_to(folder / "target")
    assert "Not a directory" in owned.refuses(FAILED, "get", "a")
    (owned.folder / "anchor").unlink()
    owned.put("a", b"1")
    anchor = anchor_of(owned)
    anchor.unlink()
    (folder / "roots").write_bytes(b"")
    os.link(folder / "roots", anchor)
    assert "not a regular file of the owner" in owned.refuses(FAILED, "get", "a")


@pytest.mark.parametrize("of_root", [True, False])
def test_the_worker_advances_what_it_may_not_open(store, folder, mount, of_root):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(0o700)
    if not of_root:
        os.chown(elsewhere, OWNER, OWNER)
    for path in [store.folder, store.key, *store.files(), *store.records()]:
        os.chown(path, OWNER, OWNER)
    served = mount(f"anchor={elsewhere}")
    store.put("a", b"1")
    eventually(lambda: store.json("anchor", "--anchor", elsewhere)["state"] == "same")
    assert worker_of(served)
    assert not [line for line in served.log.read_text().splitlines() if "anchor" in line]


def test_the_anchor_is_synced_once_for_each_commit(store, folder):
    store.put("a", b"0")
    trace = folder / "trace"
    words = ["strace", "-y", "-o", trace, "-e", "trace=fdatasync,fsync"]
    run([*words, *store.argv("put", "a")], input=b"1", env=QUICK)
    syncs = [line for line in trace.read_text().splitlines() if f"{store.folder}/anchor/" in line]
    assert len(syncs) == 1 and "fdatasync" in syncs[0], trace.read_text()
