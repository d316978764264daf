"""secretctl readers: who has read which version, who holds an older one, who has not come back."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import (
    FAILED,
    NOT_FOUND,
    end,
    eventually,
    freeze,
    identity,
    kill_worker,
    one_line,
    run,
    sanitized,
    signal_worker,
    spawn,
    worker_of,
)
from test_control import socket_of

READING = """
import ctypes, mmap, os, sys, threading
held = []
ended = threading.Event()
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p

def read(path):
    with open(path, "rb") as file:
        file.read()

def hold(path):
    held.append(os.open(path, os.O_RDONLY))

def name(path):
    held.append(os.open(path, os.O_PATH))

def map_as(path, flags):
    fd = os.open(path, os.O_RDONLY)
    at = libc.mmap(None, 4096, mmap.PROT_READ, flags, fd, 0)
    os.close(fd)
    assert ctypes.string_at(at, 1) == b"o"

def thread(path):  # which stays until standard input ends
    has_read = threading.Event()
    def run():
        read(path)
        has_read.set()
        ended.wait()
    threading.Thread(target=run).start()
    has_read.wait()

def remain(path):  # the first thread ends, another goes on
    def wait():
        os.open(path, os.O_RDONLY)
        print("done", flush=True)
        sys.stdin.read()
        os._exit(0)
    threading.Thread(target=wait).start()
    libc.pthread_exit(None)

verbs = {
    "read": read, "hold": hold, "name": name, "thread": thread, "remain": remain,
    "shared": lambda path: map_as(path, mmap.MAP_SHARED),
    "private": lambda path: map_as(path, mmap.MAP_PRIVATE),
}
print(os.getpid(), flush=True)
for line in sys.stdin:
    verb, _, path = line.strip().partition(" ")
    verbs[verb](path)
    print("done", flush=True)
ended.set()
"""


class Reader:
    """A process that reads what it is told to."""

    def __init__(self, *prefix, **options):
        self.process = spawn(
            [*prefix, "/usr/bin/python3", "-c", READING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        self.pid = int(self.process.stdout.readline())

    def does(self, verb, path=""):
        self.process.stdin.write(f"{verb} {path}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"
        return self

    def end(self):
        if self.process.stdin.closed:
            return
        self.process.stdin.close()
        end(self.process)
        self.process.stdout.close()


@pytest.fixture
def reader(store, folder):
    """A function that starts a reader."""
    started = []

    def start(*prefix, **options):
        started.append(Reader(*prefix, **options))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture
def served(store, mount):
    """A mount with a secret that all may read."""
    store.quick = True
    store.put("a", b"one", "--mode", "0644")
    serving = mount()
    socket_of(serving)
    return serving


def readers(store, path="a"):
    """What is told of each, by version and pid."""
    told = store.json("readers", path)
    return {(one["version"], one["pid"]): one for one in told["readers"]}


def lists(store, path="a"):
    told = store.json("readers", path)
    return set(told["holding"]), set(told["behind"])


# ---- Who has read ----------------------------------------------------------------------------------


def test_a_reader_is_told_with_all_that_is_known_of_it(store, served, reader):
    assert store.json("readers", "a")["readers"] == []
    before = time.time() - 1
    one = reader(**identity(4242))
    for _ in range(3):
        one.does("read", served.path / "a")
    told = store.json("readers", "a")
    assert (told["current"], told["holding"], told["behind"]) == (1, [], [])
    assert (told["forgotten"], told["missed"], told["unseen"]) == (0, 0, 0)
    assert [daemon["pid"] for daemon in told["daemons"]] == [served.process.pid]
    (entry,) = told["readers"]
    assert entry["first"] <= entry["last"] and told["since"] <= entry["first"]
    for when in (entry.pop("first"), entry.pop("last")):
        at = subprocess.run(["date", "-d", when, "+%s"], capture_output=True, check=True).stdout
        assert before - 1 <= int(at) <= time.time()
    cgroup = Path(f"/proc/{one.pid}/cgroup").read_text()
    assert entry.pop("unit") is None or ".s" in cgroup
    assert entry.pop("container") is None or "docker" in cgroup or "/" in cgroup
    assert entry == {
        "version": 1,
        "state": "current",
        "user": "4242",
        "uid": 4242,
        "pid": one.pid,
        "running": True,
        "behind": False,
        "command": Path(f"/proc/{one.pid}/comm").read_text().strip(),
        "executable": os.readlink(f"/proc/{one.pid}/exe"),
        "opens": 3,
        "holds": [],
    }


def test_the_table_for_people(store, served, reader):
    holds, ended = reader(), reader()
    holds.does("hold", served.path / "a")
    ended.does("read", served.path / "a").end()
    store.put("a", b"two")
    text = store.ctl("readers", "a").decode().splitlines()
    assert text[0].split() == "VERSION WHICH USER PID NOW LAST OPEN OPENS HOLDS PROCESS".split()
    words = {int(line.split()[3]): line.split() for line in text[1:3]}
    assert words[holds.pid][:3] + words[holds.pid][4:5] == ["v1", "superseded", "root", "behind"]
    assert words[holds.pid][7:9] == ["1", "open"] and "python3" in words[holds.pid][9]
    assert words[ended.pid][4] == "ended" and words[ended.pid][7:9] == ["1", "-"]
    assert text[3] == f"hold an older version: {holds.pid}"
    assert text[4] == f"behind, running with an older version: {holds.pid}"
    assert text[5].startswith("recorded since: 2") and len(text) == 6


def test_a_thread_is_told_as_its_process(store, served, reader):
    one = reader().does("thread", served.path / "a").does("thread", served.path / "a")
    assert {key: entry["opens"] for key, entry in readers(store).items()} == {(1, one.pid): 2}


def test_other_secrets_and_refused_opens_are_not_told(store, served):
    store.put("b", b"other", "--mode", "0600")
    run(["cat", served.path / "b"], status=1, **identity(4242))
    run(["cat", served.path / "a"])
    assert [entry["uid"] for entry in readers(store).values()] == [0]
    assert readers(store, "b") == {}


def test_those_that_end_at_once_are_known_by_name_if_the_daemon_was_in_time(
    store, served, measured
):
    runs = 0

    def named():
        nonlocal runs
        for _ in range(20):
            run(["cat", served.path / "a"])
            runs += 1
        told = store.json("readers", "a")["readers"]
        assert sum(entry["opens"] for entry in told) == runs
        assert not any(entry["running"] for entry in told)
        return [one for one in told if one["executable"] == os.path.realpath("/usr/bin/cat")]

    known = len(eventually(named))
    measured(f"{known} of {runs} runs of cat were known by name")


# ---- Who holds -------------------------------------------------------------------------------------


def test_descriptors_and_mappings_of_older_versions_are_found(store, served, reader):
    path = served.path / "a"
    verbs = ("hold", "private", "shared", "read", "name", "thread")
    used = {verb: reader().does(verb, path) for verb in verbs}
    store.put("a", b"two")
    told = readers(store)
    held = {verb: told[1, one.pid]["holds"] for verb, one in used.items() if verb != "name"}
    assert held == {
        "hold": ["open"],
        "private": ["mapped"],
        "shared": ["mapped"],
        "read": [],
        "thread": [],
    }
    assert (1, used["name"].pid) not in told  # which can't be read
    assert lists(store)[0] == {used[verb].pid for verb in ("hold", "private", "shared")}
    store.ctl("revoke", "a", "--version", "1")
    told = readers(store)
    assert told[1, used["hold"].pid]["state"] == "revoked"
    assert told[1, used["hold"].pid]["holds"] == ["open"]
    for one in used.values():
        one.end()
    assert lists(store) == (set(), set())


def test_who_holds_an_older_version_through_a_view(store, served, reader):
    store.put("a", b"other")
    used = [reader().does(verb, served.path / "@previous/a") for verb in ("hold", "private")]
    told = readers(store)
    assert [told[1, one.pid]["holds"] for one in used] == [["open"], ["mapped"]]
    assert lists(store)[0] == {one.pid for one in used}


def test_a_holder_of_the_current_version_holds_nothing_older(store, served, reader):
    one = reader().does("hold", served.path / "a")
    assert readers(store)[1, one.pid]["holds"] == ["open"]
    assert lists(store) == (set(), set())
    store.put("a", b"two")
    assert lists(store) == ({one.pid}, {one.pid})
    one.does("read", served.path / "a")  # has come back, and still has it open
    assert lists(store) == ({one.pid}, set())


def test_who_was_given_a_descriptor_holds_it_too(store, served):
    with open(served.path / "a", "rb") as file:
        heir = spawn(["sleep", "60"], stdin=file, **identity(4242))
    eventually(lambda: "sleep" in Path(f"/proc/{heir.pid}/comm").read_text())
    store.put("a", b"two")
    entry = readers(store)[1, heir.pid]
    heir.kill()
    end(heir)
    assert (entry["holds"], entry["uid"], entry["opens"]) == (["open"], 4242, 0)
    assert (entry["first"], entry["last"], entry["behind"]) == (None, None, False)
    assert entry["executable"].endswith("sleep")


def test_a_process_whose_first_thread_has_ended(store, served, reader):
    one = reader().does("remain", served.path / "a")
    eventually(lambda: ") Z " in Path(f"/proc/{one.pid}/stat").read_text())
    store.put("a", b"two")
    assert readers(store)[1, one.pid]["holds"] == ["open"]
    assert lists(store) == ({one.pid}, {one.pid})


def test_a_container_is_seen_from_outside(store, served, reader, folder):
    """Another mount namespace, with the file alone, and other pids."""
    bound = folder / "bound"
    bound.touch()
    script = f"mount --bind {served.path}/a {bound} && umount -l {served.path} && exec \"$@\""
    inside = reader("unshare", "-m", "-p", "-f", "--kill-child", "sh", "-c", script, "sh")
    assert inside.pid < 10
    inside.does("hold", bound).does("shared", bound)
    store.put("a", b"two")
    (pid,) = lists(store)[0]
    assert pid != inside.pid and lists(store)[1] == {pid}
    entry = readers(store)[1, pid]
    assert entry["holds"] == ["open", "mapped"] and entry["opens"] == 2
    assert "python3" in entry["executable"]


def test_telling_makes_no_request(store, mount, reader):
    store.put("a", b"one")
    served = mount("debug")
    socket_of(served)
    reader().does("hold", served.path / "a").does("shared", served.path / "a")
    store.put("a", b"two")
    time.sleep(0.1)
    before = served.requests()
    assert len(lists(store)[0]) == 1
    assert served.requests() == before


# ---- Who has not come back -------------------------------------------------------------------------


def test_who_has_not_come_back_since_a_rotation(store, served, reader):
    path = served.path / "a"
    ended, stays, returns, late = (reader() for _ in range(4))
    for one in (ended, stays, returns):
        one.does("read", path)
    ended.end()
    store.put("a", b"two")
    returns.does("read", path)
    late.does("read", path)
    assert lists(store) == (set(), {stays.pid})
    told = readers(store)
    assert set(told) == {
        (1, ended.pid),
        (1, stays.pid),
        (1, returns.pid),
        (2, returns.pid),
        (2, late.pid),
    }
    assert [told[1, one.pid]["running"] for one in (ended, stays, returns)] == [False, True, True]
    store.ctl("rollback", "a")  # what they read last is not the current one any more
    assert lists(store)[1] == {returns.pid, late.pid}
    returns.does("read", path)
    assert lists(store)[1] == {late.pid}


def test_another_process_with_the_same_number_is_another(store, served, reader):
    """The pid of one that has read and ended is given to one that reads the same."""
    one = reader().does("read", served.path / "a")
    assert readers(store)[1, one.pid]["running"]
    one.end()
    last = Path("/proc/sys/kernel/ns_last_pid")

    def again():
        last.write_text(str(one.pid - 1))
        other = reader()
        return other.pid == one.pid and other

    other = eventually(again)
    (entry,) = store.json("readers", "a")["readers"]
    assert not entry["running"]
    other.does("read", served.path / "a")
    both = store.json("readers", "a")["readers"]
    assert [(entry["pid"], entry["opens"]) for entry in both] == [(one.pid, 1)] * 2
    assert [entry["running"] for entry in both] == [True, False]  # who came last is first
    store.put("a", b"two")
    assert lists(store) == (set(), {one.pid})


# ---- Mounts, workers, limits -----------------------------------------------------------------------


def test_several_mounts_are_told_as_one(store, served, mount, reader):
    other = mount()
    socket_of(other)
    one, elsewhere = reader(), reader()
    one.does("read", served.path / "a").does("read", other.path / "a")
    elsewhere.does("hold", other.path / "a")
    store.put("a", b"two")
    told = readers(store)
    assert told[1, one.pid]["opens"] == 2
    assert told[1, elsewhere.pid]["holds"] == ["open"]
    assert len(store.json("readers", "a")["daemons"]) == 2
    one.does("read", other.path / "a")
    assert lists(store) == ({elsewhere.pid}, {elsewhere.pid})


def test_the_record_outlives_workers(store, served, reader):
    one = reader()
    for count in range(1, 6):
        one.does("read", served.path / "a")
        if count % 2:
            kill_worker(served)
    assert readers(store)[1, one.pid]["opens"] == 5


def test_killed_workers_lose_no_open(store, served, reader):
    """Killed at any moment of opening. What was sent again may be told twice."""
    count = 1000 if sanitized() else 3000
    script = f"import sys\nfor _ in range({count}): open(sys.argv[1], 'rb').close()"
    busy = [spawn(["/usr/bin/python3", "-c", script, served.path / "a"]) for _ in range(2)]
    kills = 0
    while any(one.poll() is None for one in busy):
        killed = signal_worker(served, signal.SIGKILL)
        kills += 1
        worker_of(served, after=killed)
        time.sleep(0.02)
    assert [end(one, 60) for one in busy] == [0, 0]
    told = store.json("readers", "a")
    assert told["missed"] == 0
    for one in busy:
        opens = sum(entry["opens"] for entry in told["readers"] if entry["pid"] == one.pid)
        assert count <= opens <= count + 2 * kills


def test_a_flood_of_readers_is_bounded_and_told(store, served, reader, measured):
    """More threads than there is room for; one that lives is not given up for those that have ended."""
    script = """
import sys, threading
def read():
    open(sys.argv[1], "rb").close()
for _ in range(6000):
    one = threading.Thread(target=read)
    one.start()
    one.join()
"""
    one = reader().does("read", served.path / "a")
    began = time.monotonic()
    run(["/usr/bin/python3", "-c", script, served.path / "a"])
    took = time.monotonic() - began
    told = store.json("readers", "a")
    assert len(told["readers"]) <= 4096
    assert sum(entry["opens"] for entry in told["readers"]) + told["missed"] <= 6001
    assert readers(store)[1, one.pid]["opens"] == 1
    measured(
        f"6000 threads in {took:.1f} s: {len(told['readers'])} entries, "
        f"{told['forgotten']} forgotten, {told['missed']} missed"
    )


def test_without_the_right_to_look_at_executables(store, mount, reader):
    """As in a container, whose root has no CAP_SYS_PTRACE."""
    store.put("a", b"one", "--mode", "0644")
    served = mount(prefix=["setpriv", "--bounding-set", "-sys_ptrace"])
    socket_of(served)
    lives, other = reader(**identity(4242)), reader(**identity(4242))
    for one in (lives, other):
        one.does("read", served.path / "a")
    told = readers(store)
    assert told[1, lives.pid]["executable"] == os.readlink(f"/proc/{lives.pid}/exe")
    other.end()
    entry = readers(store)[1, other.pid]
    assert (entry["running"], entry["executable"], entry["command"]) == (False, None, "python3")


# ---- Asking ----------------------------------------------------------------------------------------


def test_without_a_mount_there_is_no_record(store):
    store.put("a", b"one")
    line = b"no daemon serves the store: there is no record of readers\n"
    assert store.ctl("readers", "a") == line
    told = store.json("readers", "a")
    assert (told["readers"], told["daemons"], told["since"]) == ([], [], None)


def test_a_daemon_that_says_nothing_is_told(store, served, mount):
    other = mount()
    socket_of(other)
    run(["cat", served.path / "a"])
    freeze(other.process.pid)
    done = run(store.argv("readers", "a"), status=FAILED)
    os.kill(other.process.pid, signal.SIGCONT)
    line = one_line(done.stderr, "secretctl")
    assert str(other.path) in line and "timed out" in line
    assert b"v1" in done.stdout


def test_looking_at_a_process_holds_nothing_else_up(store, served):
    """It may have to wait, in the kernel, for what only a worker can answer."""
    pid = served.process.pid
    def recorder():
        names = {task.name: (task / "comm").read_text() for task in Path(f"/proc/{pid}/task").iterdir()}
        return next((task for task, name in names.items() if name == "secretfs-record\n"), None)

    thread = eventually(recorder)
    argv = ["strace", "-q", "-p", thread, "-e", "inject=openat:delay_enter=30s", "-o", "/dev/null"]
    tracer = spawn(argv, stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{pid}/task/{thread}/status")
    eventually(lambda: "TracerPid:\t0" not in status.read_text())
    run(["cat", served.path / "a"])
    begun = time.monotonic()
    kill_worker(served)
    store.put("a", b"two")
    assert (served.path / "a").read_bytes() == b"two"
    done = run(store.argv("readers", "a"), status=FAILED)
    assert "timed out" in one_line(done.stderr, "secretctl")
    assert time.monotonic() - begun < 20, "far from 30 s"
    tracer.kill()
    end(tracer)
    eventually(lambda: [entry["pid"] for entry in store.json("readers", "a")["readers"]])


def test_only_root_and_the_owner_of_the_store_may_ask(store, served, mount, reader, folder):
    one, other = reader(**identity(4242)), reader()
    served.stop()
    for path in store.possessions():
        os.chown(path, 4242, 4242)
    again = mount()
    socket_of(again)
    for each in (one, other):
        each.does("hold", again.path / "a")
    store.ctl("put", "a", input=b"two", **identity(4242))
    told = store.json("readers", "a", **identity(4242))
    held = {entry["pid"]: entry["holds"] for entry in told["readers"]}
    assert held == {one.pid: ["open"], other.pid: []}  # whose descriptors are not for its eyes
    assert told["unseen"] > 0
    assert b"\nnot looked at: " in store.ctl("readers", "a", **identity(4242))
    store.folder.chmod(0o755)
    shutil.copy2(store.key, folder / "copy")
    os.chown(folder / "copy", 4343, 4343)
    for path in store.files():
        path.chmod(0o666)
    argv = store.argv("readers", "a")
    argv[argv.index(store.key)] = folder / "copy"
    done = run(argv, status=FAILED, **identity(4343))
    assert not done.stdout and "Permission denied" in one_line(done.stderr, "secretctl")


def test_paths_that_are_no_secrets_are_refused(store):
    store.ctl("mkdir", "dir")
    assert "no such" in store.refuses(NOT_FOUND, "readers", "nothing").lower()
    assert "directory" in store.refuses(FAILED, "readers", "dir")
