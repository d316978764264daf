"""What the tests share: a fresh store, a served mount, other users, and waiting.

Everything here drives the real programs on real mounts, as root. The programs are taken from the
meson build folder named by SECRETFS_BUILD (tests/run.sh sets it), else from build-test/.
"""

import collections
import contextlib
import ctypes
import errno
import json
import os
import pickle
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("SECRETFS_BUILD", ROOT / "build-test"))
SECRETCTL = BUILD / "tools" / "secretctl"
SECRETFS = BUILD / "fs" / "secretfs"
FUSE_CONNECTIONS = Path("/sys/fs/fuse/connections")

# exit statuses of secretctl and secretfs
FAILED, USAGE, NOT_FOUND, LOCKED, INTEGRITY, UNCONFIRMED, VERSION_MISMATCH = 1, 2, 3, 4, 5, 6, 7

# the commands that commit
WRITING = (
    "put rollback label revoke expire rotation rotate mkdir mv rm restore purge chown chmod "
    "setfacl key allow disallow".split()
)

QUICK = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}

processes = []  # every Popen of the running test, for the watchdog
children = set()  # its forked functions, every Child; a test that fails leaves some
connections = set()  # FUSE connections the running test made, likewise


def sanitized():
    """Whether the programs were built with a sanitizer, which the worker's cage has no room for."""
    program = SECRETFS.read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


def fresh_folder():
    """A folder that other users can pass through, unlike pytest's tmp_path."""
    folder = Path(tempfile.mkdtemp(prefix="secretfs-", dir="/tmp"))
    folder.chmod(0o755)
    return folder


def remove_folder(folder):
    """Remove it, after lazily unmounting whatever a failed test left mounted below."""
    for mount in reversed(mounts_below(folder)):
        subprocess.run(["umount", "-l", mount["path"]], check=False)
    shutil.rmtree(folder)


def run(argv, status=0, **options):
    """Run a program to its end, expecting an exit status (None: any); output is kept as bytes."""
    options.setdefault("timeout", 60)
    if "stdin" not in options:
        options.setdefault("input", b"")
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run([str(arg) for arg in argv], check=False, **options)
    assert status in (
        None,
        done.returncode,
    ), f"exit status {done.returncode}, not {status}: {argv}\n{done.stdout}\n{done.stderr}"
    return done


def spawn(argv, **options):
    """Start a program in the background, known to the watchdog."""
    process = subprocess.Popen([str(arg) for arg in argv], **options)
    processes.append(process)
    return process


def kernel_stacks(pid):
    """Where the threads of a process, and of those it started, stand in the kernel."""
    stacks = []
    for process in [pid, *map(int, run(["pgrep", "-P", pid], status=None).stdout.split())]:
        for task in Path(f"/proc/{process}/task").glob("*"):
            with contextlib.suppress(OSError):
                stat = (task / "stat").read_text().rpartition(")")
                stacks.append(f"{stat[0]}) {stat[2][1]}\n{(task / 'stack').read_text()}")
    return "\n".join(stacks)


def end(process, timeout=30):
    """Wait for a program's end; kill it where it does not come. Returns the exit status."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired as error:
        stacks = kernel_stacks(process.pid)
        process.kill()
        process.wait()
        raise AssertionError(f"{process.args} did not end:\n{stacks}") from error
    finally:
        if process in processes:
            processes.remove(process)


def eventually(condition, timeout=15):
    """
    Wait until condition() is true and return what it gave. An OSError counts as not yet. The timeout
    is for a machine that is busy with something else; a test of how long something takes measures it.
    """
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() > deadline
        try:
            result = condition()
            if result:
                return result
            assert not late, f"not within {timeout} s; last: {result!r}"
        except OSError:
            if late:
                raise
        time.sleep(0.005)


def error_of(function, *args, **options):
    """The name of the errno a call fails with, or None where it succeeds."""
    try:
        function(*args, **options)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


def identity(uid, gid=None):
    """For run() and spawn(): as this user, in one group."""
    return {"user": uid, "group": uid if gid is None else gid, "extra_groups": []}


def as_user(uid, gid, groups, function, *args):
    """What function(*args) returns in a process of that user."""
    return Child(function, *args, uid=uid, gid=gid, groups=groups).result()


CLONE_NEWNS = 0x00020000
LIBC = ctypes.CDLL(None, use_errno=True)


def _check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def mount_namespace():
    """Mounts of the test's own, seen by it and what it starts, and by nobody else."""
    here = os.getcwd()
    outside = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    _check(LIBC.unshare(CLONE_NEWNS))
    try:
        run(["mount", "--make-rprivate", "/"])
        yield
    finally:
        _check(LIBC.setns(outside, CLONE_NEWNS))
        os.close(outside)
        os.chdir(here)


DEVICES = {"fuse": (10, 229), "null": (1, 3), "urandom": (1, 9)}


def make_bare_dev():
    """In a mount namespace of the test's own: a /dev with what the programs need, and no syslog."""
    run(["mount", "-t", "tmpfs", "none", "/dev"])
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"/dev/{name}", 0o666 | 0o020000, os.makedev(major, minor))


class Child:
    """A function running in a forked process, of another user where one is given."""

    def __init__(self, function, *args, uid=0, gid=0, groups=()):
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.setgroups(groups)
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                with os.fdopen(writer, "wb") as pipe:
                    pickle.dump(function(*args), pipe)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.add(self)
        os.close(writer)
        self.pipe = os.fdopen(reader, "rb")

    def wait(self):
        """Returns its wait status."""
        children.discard(self)
        return os.waitpid(self.pid, 0)[1]

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def result(self):
        with self.pipe:
            data = self.pipe.read()
        status = self.wait()
        assert (
            status == 0 and data
        ), f"the child ended with status {status}; its traceback is on stderr"
        return pickle.loads(data)


def end_children():
    """Kill the forked functions whose result nobody has asked for."""
    for child in list(children):
        child.kill()


INOTIFY = {
    "ACCESS": 1 << 0,
    "MODIFY": 1 << 1,
    "ATTRIB": 1 << 2,
    "CLOSE_WRITE": 1 << 3,
    "CLOSE_NOWRITE": 1 << 4,
    "OPEN": 1 << 5,
    "MOVED_FROM": 1 << 6,
    "MOVED_TO": 1 << 7,
    "CREATE": 1 << 8,
    "DELETE": 1 << 9,
    "DELETE_SELF": 1 << 10,
    "MOVE_SELF": 1 << 11,
    "UNMOUNT": 1 << 13,
    "Q_OVERFLOW": 1 << 14,
    "IGNORED": 1 << 15,
    "ISDIR": 1 << 30,
}
READING = ["ACCESS", "OPEN", "CLOSE_NOWRITE"]
CHANGING = [flag for flag in INOTIFY if INOTIFY[flag] < 1 << 12 and flag not in READING]

Event = collections.namedtuple("Event", "path flags name cookie")


class Watch:
    """
    Events of inotify(7), each with the path that is watched and the names of its flags. What changes
    things is watched for, not reading. The kernel drops an event that is the same as the one before
    it in the queue.
    """

    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, *paths, flags=CHANGING):
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self.fd >= 0
        self.paths = {}
        for path in paths:
            self.add(path, flags)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def add(self, path, flags=CHANGING):
        mask = sum(INOTIFY[flag] for flag in flags)
        watch = self.libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if watch < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(path))
        self.paths[watch] = path

    def read(self):
        """The events that are there, without waiting."""
        events = []
        try:
            data = os.read(self.fd, 1 << 20)
        except BlockingIOError:
            return events
        while data:
            watch, mask, cookie, size = struct.unpack_from("iIII", data)
            name = data[16 : 16 + size].rstrip(b"\0")
            flags = "|".join(flag for flag, bit in INOTIFY.items() if mask & bit)
            events.append(Event(self.paths.get(watch), flags, os.fsdecode(name), cookie))
            data = data[16 + size :]
        return events

    def collect(self, count, timeout=15, quiet=0.1):
        """Wait for `count` events, and a little for more of them."""
        events = []
        deadline = time.monotonic() + timeout
        while len(events) < count and time.monotonic() < deadline:
            events += self.read()
            time.sleep(0.001)
        time.sleep(quiet)
        return events + self.read()

    def names(self, count, **waiting):
        """What collect() gives, as (flags, name)."""
        return [(event.flags, event.name) for event in self.collect(count, **waiting)]


def free_port():
    """At random out of those that the kernel gives nobody: another process may look for one, too."""
    while True:
        port = random.SystemRandom().randrange(10000, 32768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def accepts_connections(port):
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def mounts_below(folder):
    """The mounts at or below a folder, in the order they were made."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        _, _, device, _, path, options, *_ = fields.split(" ")
        kind, source, _ = tail.split(" ", 2)
        if path == str(folder) or path.startswith(f"{folder}/"):
            found.append(
                {"device": device, "path": path, "options": options, "type": kind, "source": source}
            )
    return found


def mounted(path):
    """The topmost mount exactly at `path`, or None."""
    here = [mount for mount in mounts_below(path) if mount["path"] == str(path)]
    return here[-1] if here else None


def one_line(stderr, program):
    """Check that an error is one line of that program, as DESIGN.md asks, and return it as text."""
    text = stderr.decode()
    assert text.startswith(f"{program}: ") and text.endswith("\n"), text
    assert text.count("\n") == 1, text
    return text


class Store:
    """
    A store in a folder of its own, and secretctl for it. `quick` leaves out the search for leaks at
    the end of each command, which takes as long as the command; for tests that run hundreds. Without
    `wait`, commands don't wait for the mounts; for tests that keep a daemon from showing a change.
    """

    quick = False
    wait = True

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "store.db"
        self.key = folder / "key"
        self.audit = folder / "store.db-audit.jsonl"
        self.unlock = ["--key-file", self.key]

    @classmethod
    def fresh(cls, folder):
        store = cls(folder)
        store.ctl("init", "--audit", "none")  # so that a copy of it has a record of its own
        return store

    def argv(self, *args):
        no_wait = ["--no-wait"] if not self.wait and args[0] in WRITING else []
        return [SECRETCTL, "--store", self.path, *self.unlock, *args[:1], *no_wait, *args[1:]]

    def ctl(self, *args, **options):
        """Run a command that must succeed and say nothing on stderr; returns its output."""
        if self.quick:
            options.setdefault("env", QUICK)
        done = run(self.argv(*args), **options)
        assert done.stderr in (b"", None), done.stderr
        return done.stdout

    def json(self, *args, **options):
        return json.loads(self.ctl(*args, "--json", **options))

    def put(self, path, value, *options):
        return self.ctl("put", path, *options, input=value)

    def get(self, path, *options):
        return self.ctl("get", path, *options)

    def refuses(self, status, *args, **options):
        """Run a command that must fail with `status` and one line; returns that line."""
        done = run(self.argv(*args), status=status, **options)
        assert not done.stdout, done.stdout
        return one_line(done.stderr, "secretctl")

    def files(self):
        """The store's file and SQLite's beside it."""
        return sorted(set(self.folder.glob("store.db*")) - set(self.records()))

    def records(self):
        """The record of who read and changed what, the file that is written to first."""
        return sorted(self.folder.glob(f"{self.audit.name}*"))

    def record(self):
        """The lines of the record, and of the file that was rotated away before."""
        files = [file for file in reversed(self.records()) if file.suffix in (".jsonl", ".1")]
        lines = [line for file in files for line in file.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    def possessions(self):
        """All that has to be the owner's: the folder, the key, the files, the record, the anchor."""
        anchor = self.folder / "anchor"
        folder = [*anchor.parent.glob("anchor"), *anchor.glob("*")]
        return [self.folder, self.key, *self.files(), *self.records(), *folder]


def fill(store, secrets):
    """Put so many secrets, named by numbers from 0, into the root."""
    program = BUILD / "tests" / "bench" / "bench_fill"
    run([program, store.path, store.key, secrets, 0, 64, 1, 0], timeout=300)


class Mount:
    """A running secretfs, serving one store at one place."""

    patience_s = 30  # for it to serve

    def __init__(self, store, path, *options, prefix=(), **spawning):
        self.path = path
        self.log = path.with_name(path.name + ".log")
        unlock = [f"key_file={store.key}"] if store.unlock else []
        words = ["-o", ",".join([*unlock, *options])] if unlock or options else []
        with open(self.log, "wb") as log:
            self.process = spawn(
                [*prefix, SECRETFS, *words, store.path, path],
                stdin=subprocess.DEVNULL,
                stderr=log,
                **spawning,
            )
        try:
            eventually(self._serving, timeout=self.patience_s)
        except BaseException:
            self.close()
            raise
        self.connection = mounted(path)["device"].partition(":")[2]
        connections.add(self.connection)

    def _serving(self):
        assert self.process.poll() is None, f"secretfs ended early: {self.log.read_text()}"
        return "secretfs: serving " in self.log.read_text() and mounted(self.path)

    def stop(self, signum=signal.SIGTERM):
        """End the daemon by a signal; it must end well and leave nothing mounted."""
        self.process.send_signal(signum)
        self.ended()
        assert mounted(self.path) is None

    def ended(self):
        """Expect that the daemon ends, or has ended, by itself and well."""
        status = end(self.process)
        assert status == 0, f"secretfs ended with {status}: {self.log.read_text()}"

    def killed(self):
        """End the daemon the hard way."""
        self.process.kill()
        end(self.process)

    def close(self):
        """Whatever the test did: no process, no mount, no sanitizer report is left."""
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            if self.process.poll() is None:
                self.killed()
            while mounted(self.path):
                subprocess.run(["umount", "-l", str(self.path)], check=True)
        assert "Sanitizer" not in self.log.read_text(), self.log.read_text()

    def requests(self):
        """The requests in the log of a daemon with `-o debug`: (operation, rest of the line)."""
        marker = "secretfs: debug: "
        lines = self.log.read_text().splitlines()
        return [
            tuple(line[len(marker) :].split(" ", 1)) for line in lines if line.startswith(marker)
        ]

    def counted(self, operation):
        """How many requests of that kind there are in it."""
        return [name for name, *_ in self.requests()].count(operation)


def children_of(supervisor):
    """The pids of a daemon's other processes by their names, as far as they run already."""
    pids = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    names = {}
    for pid in pids:
        status = status_of(pid)
        if status and status["Name"] != "secretfs" and status["State"][0] not in "ZX":
            names[status["Name"]] = int(pid)
    return names


def status_of(pid):
    """/proc/PID/status as a dict; empty for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def worker_now(daemon):
    """The pid of the worker of a daemon, a Mount or a pid; None for a moment after a kill."""
    supervisor = daemon.process.pid if isinstance(daemon, Mount) else daemon
    return children_of(supervisor).get("secretfs-worker")


def worker_of(daemon, after=None):
    """The pid of the worker of a daemon, once there is one, and another than `after`."""

    def another():
        worker = worker_now(daemon)
        return worker if worker != after else None

    return eventually(another)


def freeze(pid):
    """Stop a process, and wait until it stands still: a thread that runs meanwhile goes on."""

    def stands_still():
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    os.kill(pid, signal.SIGSTOP)
    eventually(stands_still)


@contextlib.contextmanager
def standing_still(served):
    """
    The worker, and the supervisor, which would put another in the place of a worker that has said
    nothing for five seconds; one that was stopped itself does not blame it.
    """
    pids = [served.process.pid, worker_of(served)]
    for pid in pids:
        freeze(pid)
    yield
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)


def kill_if_lives(pid):
    """Kill a process that may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def signal_worker(served, signum):
    """To one that lives; the one that was seen may just have ended. Returns its pid."""

    def send():
        worker = worker_now(served)
        if worker:
            os.kill(worker, signum)
        return worker

    return eventually(send)


def kill_worker(served):
    """Returns when it is gone; there may be another already, or not yet."""
    worker = signal_worker(served, signal.SIGKILL)
    eventually(lambda: worker_now(served) != worker)


def processes_of(served):
    """The pids of all of a daemon's processes by their names."""

    def complete():
        found = children_of(served.process.pid)
        return len(found) == 2 and found

    return {"secretfs": served.process.pid, **eventually(complete)}


def exchange(program, replacement):
    """Put another in its place as a package manager does: the running one keeps its file."""
    shutil.copy2(replacement, program.with_suffix(".new"))
    program.with_suffix(".new").rename(program)


def refuses_to_mount(status, store_path, mountpoint, *options):
    """Start a daemon that must end with `status` and one line; returns that line."""
    words = ["-o", ",".join(options)] if options else []
    done = run([SECRETFS, *words, store_path, mountpoint], status=status)
    assert not done.stdout, done.stdout
    return one_line(done.stderr, "secretfs")
