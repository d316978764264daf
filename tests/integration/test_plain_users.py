"""Without root: in a user namespace of one's own everything is as for root."""

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

import harness
from harness import (
    FAILED,
    SECRETFS,
    end,
    error_of,
    eventually,
    identity,
    one_line,
    run,
    spawn,
)

USER, GROUP = 24242, 24243
PRIVILEGES = ("CapInh", "CapPrm", "CapEff", "CapAmb")

# A device of the mode that udev gives it, or another, in a mount namespace of one's own.
WITH_DEVICE = """
mount -t tmpfs none "$1" && mknod -m "$2" "$1/fuse" c 10 229 && mount --bind "$1/fuse" /dev/fuse
shift 2
exec "$@"
"""


@pytest.fixture
def store(store):
    """The store, owned by the user, in a folder of that user."""
    for path in [store.folder, store.path, store.key]:
        os.chown(path, USER, USER)
    put(store, "a", b"value")
    return store


def put(store, path, value, *options):
    """As the user, with the user as owner if not told otherwise."""
    store.ctl("put", path, *options, input=value, **identity(USER))


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def worker_of(pid):
    argv = ["pgrep", "-x", "secretfs-worker", "-P", str(pid)]
    found = subprocess.run(argv, stdout=subprocess.PIPE, check=False).stdout.split()
    return int(found[0]) if found else None


def kill_worker(pid):
    """Kill the worker; returns its pid, which the next one doesn't have."""
    worker = eventually(lambda: worker_of(pid))
    os.kill(worker, signal.SIGKILL)
    return worker


def sanitized():
    return b"__asan_init" in SECRETFS.read_bytes()


def check_rights_of_worker(pid):
    status = status_of(eventually(lambda: worker_of(pid)))
    assert {name: int(status[name], 16) for name in PRIVILEGES} == dict.fromkeys(PRIVILEGES, 0)
    assert status["Uid"].split() == [str(USER)] * 4
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == ("0" if sanitized() else "2")
    return status


# ---- in a user namespace


class Namespace:
    """A shell of the user, who is root in it, begun by unshare(1). Call it with a command."""

    def __init__(self, store, device="666", limits=()):
        self.store, self.place = store, store.folder / "mnt"
        device_folder = store.folder / "device"
        device_folder.mkdir()
        as_plain_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", f"--groups={USER},{GROUP}"]
        self.shell = spawn(
            [
                *["unshare", "--mount", "sh", "-ec", WITH_DEVICE, "sh", device_folder, device],
                *[*limits, *as_plain_user, "unshare", "-Urm", "--map-root-user", "sh"],
            ],
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
        command = " ".join(shlex.quote(str(word)) for word in self.command(*options))
        script = f"{command} </dev/null 2>{self.store.folder}/log & echo $! >{self.store.folder}/pid"
        self("eval", script)
        self.daemon = int((self.store.folder / "pid").read_text())
        eventually(lambda: "secretfs: serving " in self.log(), timeout=20)
        device = self("stat", "-c", "%Hd:%Ld", self.place).strip().decode()
        harness.connections.add(device.partition(":")[2])
        return self

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
    assert harness.mounted(inside.place) is None, "not in the mount namespace of everybody"
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
    inside = namespace(device="600")
    line = one_line(inside(*inside.command(), status=FAILED), "secretfs")
    assert "/dev/fuse" in line and "Permission denied" in line and "mode" in line
    assert not inside.place.exists()
