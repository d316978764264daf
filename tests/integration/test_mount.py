"""mount(8), umount(8) and fstab: the daemon in the background. In mounts of the test's own, so that
nothing is put into the /sbin and /dev of the machine."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

import database
from harness import (
    FAILED,
    INTEGRITY,
    LOCKED,
    SECRETFS,
    USAGE,
    Store,
    children_of,
    connections,
    error_of,
    eventually,
    kill_if_lives,
    make_bare_dev,
    mount_namespace,
    mounted,
    mounts_below,
    one_line,
    run,
    status_of,
    worker_of,
)


@pytest.fixture
def private(folder):
    """A mount namespace for the test, with the helper in /sbin and a /dev without a syslog."""
    daemons = []
    try:
        with mount_namespace():
            run(["mount", "-t", "tmpfs", "none", "/sbin"])
            os.symlink(SECRETFS, "/sbin/mount.fuse.secretfs")
            make_bare_dev()
            try:
                yield
            finally:
                daemons = daemons_of(folder)
                for mount in reversed(mounts_below(folder)):
                    subprocess.run(["umount", "-l", mount["path"]], check=False)
    finally:
        for daemon in daemons:
            with contextlib.suppress(ProcessLookupError):
                os.kill(daemon, signal.SIGTERM)
            ends(daemon)


def daemons_of(folder):
    """
    The pids of daemons for a store in that folder, without their workers; one of those that has just
    been forked looks like a daemon.
    """
    found = map(int, run(["pgrep", "-x", "secretfs"], status=None).stdout.split())
    found = {pid: status_of(pid) for pid in found if str(folder).encode() in command(pid)}
    return [pid for pid, status in found.items() if status and int(status["PPid"]) not in found]


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def ends(pid):
    """Wait for the end of a process that is nobody's child here."""
    try:
        eventually(lambda: not command(pid))
    except AssertionError:
        kill_if_lives(pid)
        raise


def served(folder):
    """The one daemon of a folder, its connection known to the watchdog."""
    for mount in mounts_below(folder):
        connections.add(mount["device"].partition(":")[2])
    [daemon] = daemons_of(folder)
    return daemon


def mount_words(store, folder, *options):
    words = ",".join([f"key_file={store.key}", *options])
    return ["mount", "-t", "fuse.secretfs", store.path, folder / "mnt", "-o", words]


@pytest.fixture
def filled(store, folder):
    store.put("a", b"value")
    (folder / "mnt").mkdir()
    return store


def test_mount_returns_when_the_tree_is_served(filled, folder, private):
    done = run(mount_words(filled, folder))
    assert (folder / "mnt/a").read_bytes() == b"value"
    assert (done.stdout, done.stderr) == (b"", b""), "and nothing keeps them open"
    daemon = served(folder)
    filled.put("a", b"rotated")
    eventually(lambda: (folder / "mnt/a").read_bytes() == b"rotated")
    assert mounted(folder / "mnt")["type"] == "fuse.secretfs"
    run(["umount", folder / "mnt"])
    ends(daemon)
    assert os.listdir(folder / "mnt") == []


def test_the_daemon_keeps_nothing_of_who_started_it(filled, folder, private):
    run(mount_words(filled, folder), cwd=folder)
    daemon = served(folder)
    for pid in (daemon, *eventually(lambda: children_of(daemon)).values()):
        assert os.getsid(pid) == daemon
        opened = [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)]
        assert opened[:2] == ["/dev/null", "/dev/null"] and opened[2].startswith("pipe:")
    assert os.readlink(f"/proc/{daemon}/cwd") == "/"
    run(["umount", folder / "mnt"])


def test_a_killed_worker_and_an_upgrade_in_the_background(filled, folder, private):
    run(mount_words(filled, folder))
    daemon = served(folder)

    for signum in (signal.SIGKILL, signal.SIGHUP):
        before = worker_of(daemon)
        os.kill(before if signum == signal.SIGKILL else daemon, signum)
        worker_of(daemon, after=before)
        assert (folder / "mnt/a").read_bytes() == b"value"
    os.kill(daemon, signal.SIGTERM)
    ends(daemon)
    assert mounted(folder / "mnt") is None


PASSPHRASE = b"correct horse\n"


@pytest.fixture
def with_passphrase(folder):
    store = Store(folder)
    store.unlock = ["--passphrase-fd", "0"]
    store.ctl("init", input=PASSPHRASE)
    (folder / "mnt").mkdir()
    return store


@pytest.mark.parametrize("descriptor", [0, 7])
def test_a_passphrase_by_descriptor(with_passphrase, folder, private, descriptor):
    store = with_passphrase
    reader, writer = os.pipe()
    os.write(writer, PASSPHRASE)
    os.close(writer)
    words = f"passphrase_fd={descriptor}"
    shell = f'exec mount -t fuse.secretfs "$0" "$1" -o {words} {descriptor}<&{reader}'
    run(["bash", "-c", shell, store.path, folder / "mnt"], pass_fds=[reader])
    os.close(reader)
    served(folder)
    assert os.listdir(folder / "mnt") == []
    assert mounted(folder / "mnt")
    run(["umount", folder / "mnt"])


# ---- failures


def mount_fails(status, words, **options):
    done = run(words, status=status, **options)
    assert not done.stdout
    return one_line(done.stderr, "secretfs")


def test_a_wrong_key(filled, folder, private):
    filled.key.write_bytes(os.urandom(32))
    line = mount_fails(LOCKED, mount_words(filled, folder))
    assert str(filled.path) in line
    assert mounted(folder / "mnt") is None and daemons_of(folder) == []


def test_a_damaged_store_that_only_the_worker_finds(filled, folder, private):
    last = "DELETE FROM {0} WHERE rowid = (SELECT max(rowid) FROM {0})"
    database.execute(filled.path, *(last.format(name) for name in database.tables(filled.path)))
    mount_fails(INTEGRITY, mount_words(filled, folder))
    assert mounted(folder / "mnt") is None and daemons_of(folder) == []


def test_no_store(filled, folder, private):
    filled.path.unlink()
    mount_fails(FAILED, mount_words(filled, folder))


def test_wrong_usage(filled, folder, private):
    assert "no_such" in mount_fails(USAGE, mount_words(filled, folder, "no_such"))
    mount_fails(USAGE, ["/sbin/mount.fuse.secretfs", filled.path, folder / "mnt", "-N", "1"])
    mount_fails(USAGE, ["/sbin/mount.fuse.secretfs", filled.path])


def test_a_daemon_killed_before_it_serves_is_a_failure(filled, folder, private):
    """It waits for a passphrase that does not come."""
    reader, writer = os.pipe()
    words = ["/sbin/mount.fuse.secretfs", filled.path, folder / "mnt", "-o", "passphrase_fd=0"]
    process = subprocess.Popen(list(map(str, words)), stdin=reader, stderr=subprocess.PIPE)
    os.close(reader)
    try:
        eventually(lambda: command_names(process.pid))
        os.kill(command_names(process.pid)[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        os.close(writer)
    assert process.returncode == FAILED
    assert "signal 9" in one_line(errors, "secretfs")


def command_names(parent):
    return [int(pid) for pid in run(["pgrep", "-P", parent], status=None).stdout.split()]


def test_a_daemon_that_nobody_waits_for_ends(with_passphrase, folder, private):
    reader, writer = os.pipe()
    store = with_passphrase
    words = ["/sbin/mount.fuse.secretfs", store.path, folder / "mnt", "-o", "passphrase_fd=0"]
    process = subprocess.Popen(list(map(str, words)), stdin=reader)
    os.close(reader)
    try:
        [daemon] = eventually(lambda: command_names(process.pid))
        eventually(lambda: Path(f"/proc/{daemon}/comm").read_text() == "secretfs\n")
    finally:
        process.kill()
        process.wait()
    os.write(writer, PASSPHRASE)
    os.close(writer)
    ends(daemon)
    assert mounted(folder / "mnt") is None


# ---- fstab


def fstab(store, folder, options):
    file = folder / "fstab"
    words = f"key_file={store.key},{options}"
    file.write_text(f"{store.path} {folder / 'mnt'} fuse.secretfs {words} 0 0\n")
    return file


USUAL = (
    "defaults,noauto,nofail,_netdev,ro,user,relatime,nodiratime,strictatime,lazytime,owner,group,"
    "x-systemd.automount,x-systemd.requires-mounts-for=/var,X-mount.mkdir,comment=mine,async"
)


@pytest.mark.parametrize("options", ["defaults", USUAL])
def test_a_line_of_fstab(filled, folder, private, options):
    run(["mount", "-T", fstab(filled, folder, options), folder / "mnt"])
    daemon = served(folder)
    assert (folder / "mnt/a").read_bytes() == b"value"
    run(["umount", folder / "mnt"])
    ends(daemon)


def test_mount_all_of_fstab_and_again(filled, folder, private):
    file = fstab(filled, folder, "defaults,nofail")
    for _ in range(2):
        assert run(["mount", "-a", "-T", file]).stderr == b""
        assert len(mounts_below(folder)) == 1
    os.kill(served(folder), signal.SIGKILL)
    eventually(lambda: error_of(os.listdir, folder / "mnt") == "ENOTCONN")
    run(["mount", "-a", "-T", file])
    assert (folder / "mnt/a").read_bytes() == b"value"
    run(["umount", folder / "mnt"])
    assert mounts_below(folder) == []


def test_another_store_at_the_same_place_is_refused(filled, folder, private):
    (folder / "other").mkdir()
    other = Store.fresh(folder / "other")
    run(mount_words(filled, folder))
    line = mount_fails(FAILED, mount_words(other, folder))
    assert "another secretfs" in line
    run(["umount", folder / "mnt"])


def test_a_mount_that_is_only_tried(filled, folder, private):
    run([*mount_words(filled, folder), "-f", "-n", "-v", "-s"])
    assert mounted(folder / "mnt") is None and daemons_of(folder) == []


# ---- the log


@pytest.fixture
def syslog(private):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        log.settimeout(30)
        yield log


def message(syslog, containing):
    """The next one that contains a text: its priority, and what comes after the date."""
    while True:
        text = syslog.recv(8192).decode()
        if containing in text:
            priority, _, rest = text[1:].partition(">")
            return int(priority), rest[len("Nov 24 07:00:00 ") :].rstrip("\n\0")


INFO, WARNING, ERROR = 3 << 3 | 6, 3 << 3 | 4, 3 << 3 | 3  # of the facility daemon


def test_syslog_hears_from_supervisor_and_worker(filled, folder, syslog):
    run(mount_words(filled, folder))
    daemon = served(folder)
    serving = f"secretfs[{daemon}]: serving {filled.path} at {folder / 'mnt'}"
    assert message(syslog, "serving") == (INFO, serving)
    worker = worker_of(daemon)
    os.kill(worker, signal.SIGKILL)
    priority, text = message(syslog, "died")
    assert priority == WARNING and "signal 9" in text
    worker_of(daemon, after=worker)
    assert error_of(os.stat, folder / "mnt/missing") == "ENOENT", "the next worker serves"
    filled.path.unlink()
    priority, text = message(syslog, "removed")
    assert priority == ERROR and text.startswith(f"secretfs[{daemon}]: cannot follow")
    run(["umount", folder / "mnt"])
    assert message(syslog, "unmounted")[0] == INFO
    ends(daemon)


def test_a_syslog_that_takes_nothing_stops_nobody(filled, folder, syslog):
    run(mount_words(filled, folder, "debug", "direct_io"))
    daemon = served(folder)
    begun = time.monotonic()
    for _ in range(3000):
        assert (folder / "mnt/a").read_bytes() == b"value"
    run(["umount", folder / "mnt"])
    ends(daemon)
    assert time.monotonic() - begun < 30


def test_a_syslog_that_comes_later_is_found(filled, folder, private):
    run(mount_words(filled, folder))
    daemon = served(folder)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        log.settimeout(30)
        os.kill(worker_of(daemon), signal.SIGKILL)
        assert message(log, "died")[0] == WARNING
    assert error_of(os.listdir, folder / "mnt") is None
    run(["umount", folder / "mnt"])
