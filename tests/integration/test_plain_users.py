"""Without root: in a user namespace everything is as for root; with fusermount3, less is promised."""

import ctypes
import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness import (
    FAILED,
    ROOT,
    SECRETFS,
    as_user,
    end,
    error_of,
    eventually,
    identity,
    mounted,
    one_line,
    run,
    sanitized,
    spawn,
    status_of,
    worker_of,
)

USER, GROUP = pwd.getpwnam("games").pw_uid, 24243  # fusermount3 wants a user with a name
PRIVILEGES = ("CapInh", "CapPrm", "CapEff", "CapAmb")
OWN = ("--owner", str(USER))
CLONE_NEWNS = 0x20000
WITHOUT_FSOPEN = [sys.executable, ROOT / "tests" / "without_fsopen.py"]

@pytest.fixture(scope="module", autouse=True)
def device():
    """
    /dev/fuse as udev makes it, open to everybody, and /etc/fuse.conf as its package has it, whatever
    this machine has: in a mount namespace of the module's own.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    place, folder = os.getcwd(), harness.fresh_folder()
    before = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    assert libc.unshare(CLONE_NEWNS) == 0, ctypes.get_errno()
    run(["mount", "--make-rprivate", "/"])
    run(["mount", "-t", "tmpfs", "none", folder])
    run(["mknod", "-m", "666", folder / "fuse", "c", "10", "229"])
    run(["mount", "--bind", folder / "fuse", "/dev/fuse"])
    (folder / "fuse.conf").write_text("#user_allow_other\n")
    run(["mount", "--bind", folder / "fuse.conf", "/etc/fuse.conf"])
    yield
    eventually(lambda: libc.setns(before, CLONE_NEWNS) == 0)  # not while another thread ends
    os.close(before)
    os.chdir(place)
    harness.remove_folder(folder)


@pytest.fixture
def store(store):
    """The store, owned by the user, in a folder of that user."""
    for path in [store.folder, store.path, store.key]:
        os.chown(path, USER, USER)
    put(store, "a", b"value")
    return store


def put(store, path, value, *options):
    """As the user."""
    store.ctl("put", path, *options, input=value, **identity(USER))


def kill_worker(pid):
    os.kill(worker_of(pid), signal.SIGKILL)


def check_rights_of_worker(pid, others_filters=0):
    status = status_of(worker_of(pid))
    assert {name: int(status[name], 16) for name in PRIVILEGES} == dict.fromkeys(PRIVILEGES, 0)
    assert status["Uid"].split() == [str(USER)] * 4
    assert status["NoNewPrivs"] == "1"
    assert int(status["Seccomp_filters"]) == others_filters + (not sanitized())
    return status


# ---- in a user namespace


class Namespace:
    """A shell of the user, who is root in it, begun by unshare(1). Call it with a command."""

    def __init__(self, store, limits=()):
        self.store, self.place = store, store.folder / "mnt"
        self.shell = spawn(
            [*limits, "unshare", "--user", "--mount", "--map-root-user", "sh"],
            user=USER,
            group=USER,
            extra_groups=[USER, GROUP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.daemon = None

    def __call__(self, *words, status=0):
        """The output of a command there, which must end with `status` (None: any)."""
        script = " ".join(shlex.quote(str(word)) for word in words)
        self.shell.stdin.write(f"{script} </dev/null 2>&1; printf '\\nended %d\\n' $?\n".encode())
        self.shell.stdin.flush()
        lines = []
        while not lines or not lines[-1].startswith(b"ended "):
            lines.append(self.shell.stdout.readline())
            assert lines[-1], lines
        output = b"".join(lines[:-1])[:-1]
        assert status in (None, int(lines[-1].split()[1])), (words, lines)
        return output

    def command(self, *options):
        words = ",".join([f"key_file={self.store.key}", *options])
        return [SECRETFS, "-o", words, self.store.path, self.place]

    def log(self):
        return (self.store.folder / "log").read_text()

    def start(self, *options):
        """Start the daemon in the background of the shell; its pid is the same here."""
        (self.store.folder / "log").unlink(missing_ok=True)
        command = " ".join(shlex.quote(str(word)) for word in self.command(*options))
        script = f"{command} </dev/null 2>{self.store.folder}/log & echo $! >{self.store.folder}/pid"
        self("eval", script)
        self.daemon = int((self.store.folder / "pid").read_text())
        eventually(self._serving, timeout=30)
        device = self("stat", "-c", "%Hd:%Ld", self.place).strip().decode()
        harness.connections.add(device.partition(":")[2])
        return self

    def _serving(self):
        assert not status_of(self.daemon)["State"].startswith("Z"), f"it ended early: {self.log()}"
        return "secretfs: serving " in self.log()

    def read(self, path):
        return self("cat", self.place / path)

    def wait(self):
        """Expect that the daemon ends, and well."""
        assert self("wait", self.daemon) == b"", self.log()
        self.daemon = None

    def mounted(self):
        return b" - fuse.secretfs " in self("grep", "-F", f" {self.place} ", "/proc/self/mountinfo")

    def close(self):
        if self.daemon:
            os.kill(self.daemon, signal.SIGKILL)
        self.shell.stdin.close()
        end(self.shell)
        assert self.shell.stdout.read() == b""


@pytest.fixture
def namespace(store):
    """A function that opens one: namespace(…)."""
    opened = []

    def start(**how):
        opened.append(Namespace(store, **how))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_its_root_mounts_reads_and_unmounts(store, namespace):
    put(store, "dir/b", b"of a group\n", "-p", "--group", "0", "--mode", "0440")
    inside = namespace().start()
    assert inside.read("a") == b"value"
    assert inside.read("dir/b") == b"of a group\n"
    shown = inside("stat", "-c", "%u:%g %a", inside.place / "a", inside.place / "dir/b")
    assert shown == b"0:0 400\n0:0 440\n"
    assert b"Read-only file system" in inside("touch", inside.place / "new", status=1)
    assert inside.log() == f"secretfs: serving {store.path} at {inside.place}\n"
    assert mounted(inside.place) is None, "not in the mount namespace of everybody"
    inside("umount", inside.place)
    inside.wait()


def test_rotations_are_seen_there(store, namespace):
    inside = namespace().start()
    assert inside.read("a") == b"value"
    for value in (b"second", b"third, longer", b"4"):
        put(store, "a", value)
        eventually(lambda expected=value: inside.read("a") == expected)


def test_a_killed_worker_is_replaced_there(store, namespace):
    inside = namespace().start()
    for number in range(5):
        kill_worker(inside.daemon)
        put(store, "a", b"%d" % number)
        eventually(lambda expected=b"%d" % number: inside.read("a") == expected)
    assert inside.log().count("the worker died") == 5


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts_there(namespace, signum):
    inside = namespace().start()
    os.kill(inside.daemon, signum)
    inside.wait()
    assert inside("ls", "-A", inside.place) == b""


def test_a_dead_mount_is_cleaned_there(namespace):
    inside = namespace().start()
    os.kill(inside.daemon, signal.SIGKILL)
    inside("wait", inside.daemon, status=128 + signal.SIGKILL)
    eventually(lambda: b"not connected" in inside("ls", inside.place, status=None))
    inside.start()
    assert "cleaned a dead mount" in inside.log()
    assert inside.read("a") == b"value"
    inside("umount", inside.place)
    inside.wait()
    assert inside("ls", "-A", inside.place) == b""


def test_a_worker_there_has_no_rights_to_spare(namespace):
    inside = namespace().start()
    assert inside("cat", "/proc/self/setgroups") == b"deny\n"
    status = check_rights_of_worker(inside.daemon)
    assert int(status["CapBnd"], 16) == 0
    assert status["Groups"].split() == [str(USER), str(GROUP)], "which can't be dropped there"


def test_nobody_outside_sees_it_not_even_root(namespace):
    inside = namespace().start()
    beyond = Path(f"/proc/{inside.shell.pid}/root")
    assert error_of(os.listdir, f"{beyond}{inside.place}") == "EACCES"
    assert error_of(open, f"{beyond}{inside.place}/a") == "EACCES"


def test_ids_without_a_number_there(store, namespace):
    """Shown as the overflow id; judged by the rest of the mode, and never by an ACL that has them."""
    put(store, "private", b"1", "--owner", "4711", "--mode", "0600")
    put(store, "public", b"2", "--owner", "4711", "--group", "4711", "--mode", "0444")
    put(store, "acl", b"3", "--acl", "u:4711:r")
    put(store, "foreign-acl", b"4", "--owner", "4711", "--acl", "u:4712:r", "--mode", "0444")
    inside = namespace().start()
    shown = inside("stat", "-c", "%u:%g", inside.place / "private", inside.place / "public")
    assert shown == b"65534:0\n65534:65534\n"
    assert b"Permission denied" in inside("cat", inside.place / "private", status=1)
    assert inside.read("public") == b"2"
    assert inside.read("acl") == b"3", "the owner, whom an ACL does not concern"
    assert b"Invalid argument" in inside("cat", inside.place / "foreign-acl", status=1)


def test_a_store_whose_owner_has_no_number_there(store, namespace):
    os.chown(store.path, 4711, 4711)
    store.path.chmod(0o644)
    inside = namespace().start()
    assert inside.read("a") == b"value"
    check_rights_of_worker(inside.daemon)


def locked_memory(pid):
    """The soft and the hard limit."""
    (line,) = re.findall("Max locked memory *([0-9]+) *([0-9]+)", Path(f"/proc/{pid}/limits").read_text())
    return tuple(map(int, line))


def test_the_limit_of_locked_memory_is_raised_as_far_as_it_goes(namespace):
    inside = namespace(limits=["prlimit", "--memlock=4096:4194304"]).start()
    assert inside.read("a") == b"value"
    for pid in (inside.daemon, worker_of(inside.daemon)):
        assert locked_memory(pid) == (4194304, 4194304)


def test_too_little_locked_memory(namespace):
    inside = namespace(limits=["prlimit", "--memlock=4096:4096"])
    if not sanitized():  # which make mlock(2) succeed without doing anything
        line = one_line(inside(*inside.command(), status=FAILED), "secretfs")
        assert "memory" in line and "ulimit -l" in line and "allow_swap" in line
    inside.start("allow_swap")
    assert inside.read("a") == b"value"


def test_a_device_that_others_may_not_open(namespace):
    os.chmod("/dev/fuse", 0o600)
    try:
        inside = namespace()
        line = one_line(inside(*inside.command(), status=FAILED), "secretfs")
    finally:
        os.chmod("/dev/fuse", 0o666)
    assert "/dev/fuse" in line and "Permission denied" in line and "mode" in line
    assert not inside.place.exists()


# ---- with fusermount3 alone


@pytest.fixture
def plain_mount(store, mount):
    """mount(), by the user, who may read the secret `a`."""
    store.ctl("chown", USER, "a", **identity(USER))
    return lambda *options, **how: mount(*options, **identity(USER), **how)


@pytest.fixture
def allow_other_allowed():
    conf = Path("/etc/fuse.conf")
    before = conf.read_text()
    conf.write_text("user_allow_other\n")
    yield
    conf.write_text(before)


def by_user(function, *args):
    return as_user(USER, USER, [], function, *args)


def read(path):
    return Path(path).read_bytes()


def reads(path, value):
    """A condition for eventually()."""
    return lambda: by_user(error_of, read, path) is None and by_user(read, path) == value


def refuses_plain_user(status, store, place, *options, **how):
    words = ",".join([f"key_file={store.key}", *options])
    done = run([SECRETFS, "-o", words, store.path, place], status=status, **identity(USER), **how)
    assert mounted(place) is None
    return one_line(done.stderr, "secretfs")


def attributes(seen):
    mode, number, _device, links, uid, gid, size, *_ = seen
    return (mode, number, links, uid, gid, size, seen.st_mtime_ns)


def numbers(path):
    """Every name with the number that the listing and stat(2) tell, and what else there is to see."""
    found = {}
    for folder, _, _ in os.walk(path):
        for entry in [*os.scandir(folder)]:
            seen = entry.stat()
            assert entry.inode() == seen.st_ino
            found[os.path.relpath(entry.path, path)] = attributes(seen)
    return {**found, ".": attributes(os.stat(path))}


def test_fusermount3_is_set_up_as_distributions_do():
    helper = Path(shutil.which("fusermount3")).stat()
    assert helper.st_uid == 0 and helper.st_mode & stat.S_ISUID


def test_a_plain_user_mounts_and_reads(store, plain_mount):
    put(store, "dir/sub/b", b"deep", "-p", *OWN)
    served = plain_mount()
    assert by_user(read, served.path / "a") == b"value"
    assert by_user(read, served.path / "dir/sub/b") == b"deep"
    assert sorted(by_user(os.listdir, served.path)) == ["a", "dir"]
    assert by_user(error_of, os.mkdir, served.path / "new") == "EROFS"
    assert by_user(error_of, os.stat, served.path / "tree") == "ENOENT"
    seen = mounted(served.path)
    assert (seen["type"], seen["source"]) == ("fuse.secretfs", str(store.path))
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(seen["options"].split(","))


def test_a_store_with_commas_and_backslashes_in_its_name(store, plain_mount):
    renamed = store.folder / "a,allow_other,b\\,c.db"
    store.ctl("chown", USER, "a", **identity(USER))
    store.path.rename(renamed)
    store.path = renamed
    served = plain_mount()
    assert by_user(read, served.path / "a") == b"value"
    assert mounted(served.path)["source"] == str(renamed).replace("\\", "\\134")
    assert error_of(os.listdir, served.path) == "EACCES"


def test_it_says_in_a_line_which_promises_do_not_hold(store, plain_mount):
    served = plain_mount()
    assert served.log.read_text() == (
        f"secretfs: mounted by fusermount3: only uid {USER} sees it, not even root; watchers hear of "
        "no rotation; an ACL of the top directory is not cached\n"
        f"secretfs: serving {store.path} at {served.path}\n"
    )


@pytest.mark.parametrize("options", [[], ["subdir=dir"]])
def test_numbers_and_attributes_are_those_of_any_mount(store, mount, plain_mount, options):
    put(store, "dir/sub/b", b"deep", "-p", *OWN)
    put(store, "dir/c", b"rotated")
    put(store, "dir/c", b"rotated twice")
    plain, full = plain_mount(*options), mount(*options)
    assert by_user(numbers, plain.path) == numbers(full.path)


def test_a_plain_user_reads_what_the_policy_lets(store, plain_mount):
    put(store, "roots", b"1", "--owner", "0")
    put(store, "acl", b"2", "--owner", "0", "--acl", f"u:{USER}:r")
    put(store, "public", b"3", "--owner", "4711", "--mode", "0444")
    served = plain_mount()
    assert by_user(error_of, read, served.path / "roots") == "EACCES"
    assert by_user(read, served.path / "acl") == b"2"
    assert by_user(read, served.path / "public") == b"3"


def test_nobody_else_sees_it_not_even_root(plain_mount):
    served = plain_mount()
    for uid in (0, USER + 1):
        assert as_user(uid, uid, [], error_of, read, served.path / "a") == "EACCES"
        assert as_user(uid, uid, [], error_of, os.listdir, served.path) == "EACCES"


def test_allow_other_is_up_to_fuse_conf(store, folder):
    line = refuses_plain_user(FAILED, store, folder / "mnt", "allow_other")
    assert "user_allow_other" in line and "/etc/fuse.conf" in line
    assert not (folder / "mnt").exists()


def test_allow_other_lets_others_in(store, plain_mount, allow_other_allowed):
    put(store, "public", b"2", "--mode", "0444", *OWN)
    served = plain_mount("allow_other")
    assert read(served.path / "a") == b"value"
    other = [USER + 1, USER + 1, []]
    assert as_user(*other, read, served.path / "public") == b"2"
    assert as_user(*other, error_of, read, served.path / "a") == "EACCES"
    assert "only uid" not in served.log.read_text()
    assert "watchers" in served.log.read_text()


def test_changes_are_seen_by_a_plain_user(store, plain_mount):
    put(store, "dir/b", b"1", "-p", *OWN)
    served = plain_mount()
    for path in ("a", "dir/b"):
        inode = by_user(os.stat, served.path / path).st_ino
        put(store, path, b"second")
        eventually(reads(served.path / path, b"second"))
        assert by_user(os.stat, served.path / path).st_ino != inode
    assert by_user(error_of, os.stat, served.path / "new") == "ENOENT"
    put(store, "new", b"3", *OWN)
    eventually(reads(served.path / "new", b"3"))
    changed = by_user(os.stat, served.path).st_mtime_ns
    store.ctl("rm", "new", **identity(USER))
    eventually(lambda: by_user(error_of, os.stat, served.path / "new") == "ENOENT")
    eventually(lambda: by_user(os.stat, served.path).st_mtime_ns > changed)


def test_the_views_of_labels(store, plain_mount):
    put(store, "dir/b", b"one", "-p", *OWN)
    put(store, "dir/b", b"two")
    put(store, "dir/b", b"three", "--label", "pending")
    served = plain_mount()

    def look():
        root = served.path
        values = [read(root / view / "dir/b") for view in ("", "@previous", "@pending")]
        up = os.stat(root / "@pending/..").st_ino == os.stat(root).st_ino
        errors = [
            error_of(os.mkdir, root / "@pending/new"),
            error_of(os.unlink, root / "@previous/dir/b"),
        ]
        return values, up, os.listdir(root / "@previous/dir"), errors

    assert by_user(look) == ([b"two", b"one", b"three"], True, ["b"], ["EROFS"] * 2)
    assert "@pending" not in by_user(os.listdir, served.path)
    assert error_of(os.listdir, served.path / "@pending") == "EACCES"
    store.ctl("label", "dir/b", "current", "3", **identity(USER))
    assert by_user(read, served.path / "@previous/dir/b") == b"two"
    assert by_user(error_of, os.stat, served.path / "@pending/dir/b") == "ENOENT"


def test_the_policy_of_the_top_is_obeyed_and_followed(store, plain_mount):
    served = plain_mount()
    assert by_user(os.stat, served.path).st_mode & 0o777 == 0o755
    store.ctl("chmod", "0700", "/", **identity(USER))
    eventually(lambda: by_user(error_of, os.listdir, served.path) == "EACCES")
    store.ctl("setfacl", "-m", f"u:{USER}:rx", "/", **identity(USER))
    eventually(lambda: by_user(error_of, os.listdir, served.path) is None)
    assert by_user(os.getxattr, served.path, "system.posix_acl_access")
    assert by_user(read, served.path / "a") == b"value"
    store.ctl("setfacl", "-m", f"u:{USER}:x", "/", **identity(USER))
    eventually(lambda: by_user(error_of, os.listdir, served.path) == "EACCES")
    assert by_user(read, served.path / "a") == b"value"


def test_a_killed_worker_is_replaced_for_a_plain_user(store, plain_mount):
    served = plain_mount()
    for number in range(5):
        kill_worker(served.process.pid)
        put(store, "a", b"%d" % number)
        eventually(reads(served.path / "a", b"%d" % number))
    assert served.log.read_text().count("the worker died") == 5


def test_the_worker_of_a_plain_user_has_no_rights_to_spare(plain_mount):
    check_rights_of_worker(plain_mount().process.pid)


@pytest.mark.parametrize("umount", [["fusermount3", "-u"], ["umount"]])
def test_umount_by_a_plain_user_ends_it(plain_mount, umount):
    served = plain_mount()
    run([*umount, served.path], **identity(USER))
    served.ended()
    assert mounted(served.path) is None


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts_for_a_plain_user(plain_mount, signum):
    served = plain_mount()
    assert by_user(read, served.path / "a") == b"value"
    served.stop(signum)
    assert os.listdir(served.path) == []


def test_a_signal_ends_it_while_a_plain_user_has_a_file_open(plain_mount):
    served = plain_mount()

    def read_after_the_end():
        with open(served.path / "a", "rb", buffering=0) as file:
            os.kill(served.process.pid, signal.SIGTERM)
            eventually(lambda: status_of(served.process.pid)["State"].startswith("Z"))
            return error_of(file.read)

    assert by_user(read_after_the_end) == "ENOTCONN"
    served.ended()


def test_a_dead_mount_is_cleaned_by_a_plain_user(plain_mount):
    served = plain_mount()
    served.killed()
    eventually(lambda: by_user(error_of, os.listdir, served.path) == "ENOTCONN")
    again = plain_mount(at=served.path)
    assert "cleaned a dead mount" in again.log.read_text()
    assert by_user(read, again.path / "a") == b"value"
    again.stop()
    assert mounted(served.path) is None, "nothing stale is left below"


def test_a_store_that_a_plain_user_may_not_read(store, folder):
    os.chown(store.path, 0, 0)
    line = refuses_plain_user(FAILED, store, folder / "mnt")
    assert str(store.path) in line and "Permission denied" in line


def test_a_mountpoint_that_a_plain_user_may_not_write(store, folder):
    (folder / "mnt").mkdir()
    line = refuses_plain_user(FAILED, store, folder / "mnt")
    assert str(folder / "mnt") in line and "write" in line


def test_without_fusermount3(store, folder):
    line = refuses_plain_user(FAILED, store, folder / "mnt", env={"PATH": str(folder)})
    assert "fusermount3" in line and "fuse3" in line
    assert not (folder / "mnt").exists()


def test_what_can_not_be_served_is_not_left_mounted(store, folder):
    line = refuses_plain_user(FAILED, store, folder / "mnt", "subdir=nothing")
    assert "nothing" in line
    assert not (folder / "mnt").exists()


def test_a_second_daemon_of_a_plain_user_at_the_same_place(store, plain_mount):
    served = plain_mount()
    done = run(
        [SECRETFS, "-o", f"key_file={store.key}", store.path, served.path],
        status=FAILED,
        **identity(USER),
    )
    assert "another secretfs" in one_line(done.stderr, "secretfs")
    assert by_user(read, served.path / "a") == b"value"


# ---- root, on a kernel without fsopen(2)


def test_root_mounts_by_fusermount3_where_there_is_no_fsopen(store, mount):
    put(store, "public", b"2", "--mode", "0444")
    served = mount(prefix=WITHOUT_FSOPEN)
    first = served.log.read_text().splitlines()[0]
    assert first.startswith("secretfs: mounted by fusermount3: watchers hear of no rotation")
    assert read(served.path / "a") == b"value"
    assert by_user(read, served.path / "public") == b"2"
    assert by_user(error_of, read, served.path / "a") == "EACCES"
    assert error_of(os.mkdir, served.path / "new") == "EROFS"
    check_rights_of_worker(served.process.pid, others_filters=1)
    kill_worker(served.process.pid)
    put(store, "a", b"rotated")
    eventually(lambda: read(served.path / "a") == b"rotated")
    served.stop()


def test_umount_and_a_dead_mount_where_there_is_no_fsopen(mount):
    served = mount(prefix=WITHOUT_FSOPEN)
    served.killed()
    again = mount(at=served.path, prefix=WITHOUT_FSOPEN)
    assert "cleaned a dead mount" in again.log.read_text()
    assert read(again.path / "a") == b"value"
    run(["umount", again.path])
    again.ended()
