"""The daemon's life: starting, refusing to start, serving several places, ending, dying."""

import os
import signal
import socket
import subprocess
import time

import pytest

import database
from harness import (
    FAILED,
    INTEGRITY,
    LOCKED,
    SECRETFS,
    USAGE,
    Store,
    end,
    error_of,
    eventually,
    fill,
    freeze,
    mounted,
    one_line,
    refuses_to_mount,
    run,
    spawn,
    worker_now,
)


@pytest.fixture
def filled(store):
    store.put("a", b"value")
    return store


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts_and_ends_it(filled, mount, signum):
    served = mount()
    assert (served.path / "a").read_bytes() == b"value"
    served.stop(signum)
    assert os.listdir(served.path) == []


def test_a_signal_ends_it_while_it_loads(store, folder):
    fill(store, 3000)  # so that there is time to stop the worker meanwhile
    log = folder / "log"
    for _ in range(20):
        with open(log, "wb") as stderr:
            argv = [SECRETFS, "-o", f"key_file={store.key}", store.path, folder / "mnt"]
            daemon = spawn(argv, stderr=stderr)
        freeze(eventually(lambda: worker_now(daemon.pid)))
        before = time.monotonic()
        in_time = not log.read_text()
        daemon.terminate()
        assert end(daemon, timeout=60) == 0
        if in_time:
            break
    assert in_time and log.read_text() == ""
    assert time.monotonic() - before < 2  # a worker that has served is given 5 seconds
    assert mounted(folder / "mnt") is None


def test_a_signal_ends_it_while_a_file_is_open(filled, mount):
    served = mount()
    with open(served.path / "a", "rb", buffering=0) as file:
        served.stop()
        assert error_of(file.read) == "ENOTCONN"


def test_umount_ends_it(filled, mount):
    served = mount()
    run(["umount", served.path])
    served.ended()


def test_it_says_what_it_serves(filled, mount):
    served = mount()
    assert served.log.read_text() == f"secretfs: serving {filled.path} at {served.path}\n"


def test_it_stays_quiet_while_serving_and_ending(filled, mount):
    served = mount()
    filled.put("a", b"new")
    eventually(lambda: (served.path / "a").read_bytes() == b"new")
    served.stop()
    assert len(served.log.read_text().splitlines()) <= 2


def test_foreground_option_is_accepted(filled, folder):
    with open(folder / "log", "wb") as log:
        process = spawn(
            [SECRETFS, "-f", "-o", f"key_file={filled.key}", filled.path, folder / "mnt"],
            stderr=log,
        )
    eventually(lambda: mounted(folder / "mnt"))
    assert process.poll() is None
    process.terminate()
    assert end(process) == 0


def test_the_key_may_come_from_the_environment(filled, folder):
    variables = {**os.environ, "SECRETFS_KEY_FILE": str(filled.key)}
    process = spawn(
        [SECRETFS, filled.path, folder / "mnt"], env=variables, stderr=subprocess.DEVNULL
    )
    eventually(lambda: (folder / "mnt/a").read_bytes() == b"value")
    run(["umount", folder / "mnt"])
    assert end(process) == 0


def test_a_bind_mount_outlives_umount(filled, mount, folder):
    served = mount()
    bind = folder / "bind"
    bind.touch()
    run(["mount", "--bind", served.path / "a", bind])
    assert bind.read_bytes() == b"value"
    run(["umount", served.path])
    time.sleep(0.5)
    assert served.process.poll() is None, "someone still uses it"
    assert bind.read_bytes() == b"value"
    with open(bind, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert bind.read_bytes() == b"value"
    run(["umount", bind])
    served.ended()


def test_a_signal_ends_it_even_while_a_bind_mount_is_used(filled, mount, folder):
    served = mount()
    bind = folder / "bind"
    bind.mkdir()
    run(["mount", "--bind", served.path, bind])
    served.stop()
    assert error_of(open, bind / "a") == "ENOTCONN"
    run(["umount", bind])


def test_bind_mounted_files_and_folders_show_rotations(filled, mount, folder):
    served = mount()
    file, tree = folder / "file", folder / "tree"
    file.touch()
    tree.mkdir()
    run(["mount", "--bind", served.path / "a", file])
    run(["mount", "--bind", served.path, tree])
    for value in (b"second", b"third, longer", b"4"):
        filled.put("a", value)
        eventually(lambda expected=value: (tree / "a").read_bytes() == expected)
        assert (tree / "a").stat().st_size == len(value)
        assert (file.read_bytes(), file.stat().st_size) == (value, len(value))
    run(["umount", file, tree])


def test_a_killed_daemon_leaves_enotconn_and_the_next_one_cleans_up(filled, mount):
    served = mount()
    assert (served.path / "a").read_bytes() == b"value"
    served.killed()
    # A call on its way at that moment is aborted, which is ECONNABORTED.
    eventually(lambda: error_of(os.listdir, served.path) == "ENOTCONN")
    assert error_of(open, served.path / "a") == "ENOTCONN"
    again = mount(at=served.path)
    assert (again.path / "a").read_bytes() == b"value"
    again.stop()
    assert mounted(served.path) is None, "nothing stale is left below"


def test_a_missing_mountpoint_is_made(filled, mount, folder):
    served = mount(at=folder / "made")
    assert (served.path / "a").read_bytes() == b"value"
    served.stop()
    line = refuses_to_mount(
        FAILED, filled.path, folder / "no/such/parent", f"key_file={filled.key}"
    )
    assert "no/such/parent" in line


def test_a_folder_with_entries_is_not_hidden(filled, folder):
    (folder / "mnt").mkdir()
    (folder / "mnt/important").touch()
    line = refuses_to_mount(FAILED, filled.path, folder / "mnt", f"key_file={filled.key}")
    assert "empty" in line and str(folder / "mnt") in line
    assert mounted(folder / "mnt") is None


def test_a_file_is_no_mountpoint(filled, folder):
    (folder / "mnt").touch()
    refuses_to_mount(FAILED, filled.path, folder / "mnt", f"key_file={filled.key}")


def test_a_missing_store(folder):
    line = refuses_to_mount(
        FAILED, folder / "none.db", folder / "mnt", f"key_file={folder / 'key'}"
    )
    assert "none.db" in line
    assert mounted(folder / "mnt") is None


def test_a_missing_key_file(filled, folder):
    refuses_to_mount(LOCKED, filled.path, folder / "mnt", f"key_file={folder / 'none'}")
    assert mounted(folder / "mnt") is None


def test_a_second_daemon_at_the_same_place(filled, mount):
    served = mount()
    line = refuses_to_mount(FAILED, filled.path, served.path, f"key_file={filled.key}")
    assert str(served.path) in line
    assert (served.path / "a").read_bytes() == b"value"
    served.stop()
    assert mounted(served.path) is None


@pytest.mark.parametrize("options", ["no_such_option", "key_file", "subdir=", "passphrase_fd=x"])
def test_wrong_options(filled, folder, options):
    line = refuses_to_mount(USAGE, filled.path, folder / "mnt", options)
    assert options.partition("=")[0] in line
    assert mounted(folder / "mnt") is None


@pytest.mark.parametrize(
    "words", [[], ["only-one"], ["a", "b", "c"], ["--no-such-option", "a", "b"]]
)
def test_wrong_words(words):
    one_line(run([SECRETFS, *words], status=USAGE).stderr, "secretfs")


def test_two_keys_at_once_are_refused(filled, folder):
    options = f"key_file={filled.key},passphrase_fd=0"
    refuses_to_mount(USAGE, filled.path, folder / "mnt", options)
    words = ["--passphrase-fd", "0", "ls"]
    filled.refuses(USAGE, *words)


@pytest.mark.parametrize("subdir", ["nothing", "a"])
def test_a_subdir_that_is_none(filled, folder, subdir):
    line = refuses_to_mount(
        FAILED, filled.path, folder / "mnt", f"key_file={filled.key},subdir={subdir}"
    )
    assert subdir in line
    assert mounted(folder / "mnt") is None


def test_help_and_version():
    assert run([SECRETFS, "--help"]).stderr == b""
    assert run([SECRETFS, "--version"]).stdout.startswith(b"secretfs ")


def test_two_stores_at_two_places(filled, mount, folder):
    (folder / "second").mkdir(mode=0o755)
    second = Store.fresh(folder / "second")
    second.put("b", b"of the second")
    one, two = mount(), mount(of=second)
    assert (os.listdir(one.path), os.listdir(two.path)) == (["a"], ["b"])
    second.put("a", b"also there")
    assert eventually(lambda: (two.path / "a").read_bytes() == b"also there")
    assert (one.path / "a").read_bytes() == b"value"


def test_status_tells_where_a_store_is_mounted(filled, mount):
    assert filled.json("status")["mounts"] == []
    one, two = mount(), mount()
    assert sorted(filled.json("status")["mounts"]) == [str(one.path), str(two.path)]
    one.stop()
    assert filled.json("status")["mounts"] == [str(two.path)]


def test_two_daemons_of_one_store_both_see_a_rotation(filled, mount):
    one, two = mount(), mount()
    filled.put("a", b"rotated")
    for served in (one, two):
        eventually(lambda place=served.path / "a": place.read_bytes() == b"rotated")
    one.stop()
    filled.put("a", b"again")
    eventually(lambda: (two.path / "a").read_bytes() == b"again")


def test_no_commit_is_missed(store, mount, measured):
    store.quick = True
    served = mount()
    for number in range(200):
        store.put(f"n{number % 50}", b"%d" % number)
    for number in range(150, 200):
        path = served.path / f"n{number % 50}"
        eventually(lambda place=path, value=b"%d" % number: place.read_bytes() == value)
    assert sorted(os.listdir(served.path)) == sorted(f"n{number}" for number in range(50))
    measured("200 commits, one after the other: none missed")


def test_a_commit_is_seen_within_a_moment(filled, mount):
    served = mount()
    for number in range(10):
        filled.put("a", b"%d" % number)
        eventually(
            lambda value=b"%d" % number: (served.path / "a").read_bytes() == value, timeout=5
        )


def test_what_was_committed_while_no_daemon_ran_is_there(filled, mount):
    served = mount()
    assert (served.path / "a").read_bytes() == b"value"
    served.stop()
    filled.put("a", b"meanwhile")
    assert (mount(at=served.path).path / "a").read_bytes() == b"meanwhile"


def test_a_change_made_without_the_key_is_refused_and_the_last_state_stays(filled, mount):
    filled.put("b", b"another")
    served = mount()
    assert (served.path / "a").read_bytes() == b"value"
    last = "DELETE FROM {0} WHERE rowid = (SELECT max(rowid) FROM {0})"
    database.execute(filled.path, *(last.format(name) for name in database.tables(filled.path)))
    eventually(lambda: len(served.log.read_text().splitlines()) == 2)
    one_line(served.log.read_bytes().splitlines(keepends=True)[1], "secretfs")
    assert sorted(os.listdir(served.path)) == ["a", "b"]
    assert (served.path / "a").read_bytes() == b"value"
    filled.refuses(INTEGRITY, "get", "a")


def test_writers_are_not_kept_waiting_by_readers(filled, mount):
    """A daemon with files open and being read never makes secretctl say that the store is busy."""
    served = mount()
    with open(served.path / "a", "rb") as file:
        for number in range(20):
            file.seek(0)
            file.read()
            filled.put("a", b"%d" % number)
    filled.ctl("rm", "a")
    filled.ctl("purge", "a")
    filled.ctl("check")


def test_writers_at_once_all_succeed(store):
    writers = [
        spawn(
            store.argv("put", f"dir{number}/a", "-p", "--generate", "hex:8"), stderr=subprocess.PIPE
        )
        for number in range(8)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert (writer.returncode, errors) == (0, b"")
    assert len(store.json("ls")) == 8
    store.ctl("check")


def exchange(store, folder):
    other = folder / "other"
    other.mkdir()
    os.rename(Store.fresh(other).path, store.path)


def remove_log(store, _folder):
    for suffix in ("-wal", "-shm"):
        os.unlink(f"{store.path}{suffix}")


@pytest.mark.parametrize("harm", [exchange, remove_log, lambda store, _: os.unlink(store.path)])
def test_files_that_go_from_their_places_are_noticed(filled, mount, folder, harm):
    served = mount()
    harm(filled, folder)
    eventually(lambda: "removed or another is in its place" in served.log.read_text())
    assert (served.path / "a").read_bytes() == b"value"


def test_the_service_manager_hears_when_it_serves_and_when_it_ends(filled, mount, folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(30)
        served = mount(env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")})
        assert manager.recv(4096) == b"READY=1\nSTATUS=serving"
        assert mounted(served.path)
        served.stop()
        assert manager.recv(4096) == b"STOPPING=1"
