"""What each process of the daemon may do, as SECURITY.md says, and what is in its memory."""

import contextlib
import ctypes
import os
import re
import resource
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import database
from harness import (
    ROOT,
    as_user,
    error_of,
    eventually,
    kill_worker,
    processes_of,
    sanitized,
    status_of,
    worker_of,
)
from vectors import generate

OWNER = 4242  # of the store, and so the worker's user
GROUP, EXTRA_GROUP = 4711, 4712  # what the supervisor is started with


@dataclass
class Rights:
    """What a process must have, no less and no more."""

    uid: int
    groups: list
    capabilities: int
    no_new_privs: bool
    seccomp: bool
    descriptors: set  # beyond the standard ones
    environment: bool  # may it have one?
    words: list  # in its row of SECURITY.md
    secrets: bool = True  # has it keys or values, in locked memory?


def own_capabilities():
    return int(status_of(os.getpid())["CapEff"], 16)


# Every process of the daemon, by its name.
EXPECTED = {
    "secretfs": Rights(
        uid=0,
        groups=[EXTRA_GROUP],
        capabilities=own_capabilities(),
        no_new_privs=False,
        seccomp=False,
        descriptors={
            "/",  # the private mount
            "/dev/fuse",
            "/memfd:secretfs-kept",
            "anchor",
            "/proc/PID/mountinfo",
            "anon_inode:[eventfd]",
            "anon_inode:[eventpoll]",
            "anon_inode:[signalfd]",
            "mount point",
            "program",
            "socket",
            "store.db-audit.jsonl",
        },
        environment=True,
        words=["| root |"],
    ),
    "secretfs-worker": Rights(
        uid=OWNER,
        groups=[],
        capabilities=0,
        no_new_privs=True,
        seccomp=True,
        descriptors={
            "/dev/fuse",
            "/proc/PID/comm",  # of whoever has read
            "anon_inode:[eventfd]",
            "anon_inode:[signalfd]",
            "anon_inode:[timerfd]",
            "anchor",
            "anon_inode:inotify",
            "socket",
            "store.db",
            "store.db-audit.jsonl",
            "store.db-shm",
            "store.db-wal",
        },
        environment=False,
        words=[
            "| the store's owner,",
            "no groups",
            "no capabilities",
            "`no_new_privs`",
            "a seccomp filter",
        ],
    ),
    "secretfs-notify": Rights(
        uid=0,
        groups=[],
        capabilities=1 << 1 | 1 << 3,  # CAP_DAC_OVERRIDE, CAP_FOWNER
        no_new_privs=True,
        seccomp=True,
        descriptors={"/", "socket"},
        environment=False,
        secrets=False,
        words=[
            "| root;",
            "no groups",
            "CAP_DAC_OVERRIDE and CAP_FOWNER",
            "`no_new_privs`",
            "a seccomp filter",
        ],
    ),
}


def documented():
    """The rows of SECURITY.md's table by the name of the process."""
    text = (ROOT / "SECURITY.md").read_text()
    section = text.partition("## What runs with which rights\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)`.*$", section, re.MULTILINE)
    lines = re.findall(r"^\| `.*$", section, re.MULTILINE)
    return dict(zip(rows, lines))


@pytest.fixture
def owned(store):
    """A store with a secret that belongs to an ordinary user."""
    store.quick = True
    store.put("a", b"value")
    for path in [store.folder, *store.files(), *store.records()]:
        os.chown(path, OWNER, OWNER)
    return store


@pytest.fixture
def served(owned, mount):
    """The daemon, started in groups that its worker must not inherit."""
    return mount(group=GROUP, extra_groups=[EXTRA_GROUP])


def descriptors_of(pid, served):
    """The kinds of what is open beyond the standard descriptors."""
    program = os.readlink(f"/proc/{served.process.pid}/exe")
    named = {str(served.path): "mount point", program: "program"}
    kinds = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if int(link.name) <= 2:
            continue
        try:
            target = os.readlink(link).removesuffix(" (deleted)")
        except FileNotFoundError:  # what /proc was asked for a caller, and is closed by now
            continue
        target = named.get(target, target)
        target = re.sub(r"^/proc/\d+/", "/proc/PID/", target)
        target = re.sub(r"/anchor/[0-9a-f]{32}$", "/anchor", target)
        target = re.sub(r"^(socket|pipe):.*", r"\1", target)
        kinds.add(target.removeprefix(f"{served.path.parent}/"))
    return kinds


def check_rights(name, pid, served):
    rights, status = EXPECTED[name], status_of(pid)
    assert status["Uid"].split() == [str(rights.uid)] * 4
    assert list(map(int, status["Groups"].split())) == rights.groups
    for kind in ("CapPrm", "CapEff"):
        assert int(status[kind], 16) == rights.capabilities, kind
    if rights.no_new_privs:
        for kind in ("CapInh", "CapBnd", "CapAmb"):
            assert int(status[kind], 16) & ~rights.capabilities == 0, kind
    assert status["NoNewPrivs"] == str(int(rights.no_new_privs))
    assert status["Seccomp"] == ("2" if rights.seccomp and not sanitized() else "0")
    with contextlib.suppress(AssertionError):  # one for a moment is no right to spare
        eventually(lambda: descriptors_of(pid, served) == rights.descriptors, timeout=5)
    assert descriptors_of(pid, served) == rights.descriptors
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    names = {entry.split(b"=")[0] for entry in environment}
    options = {b"ASAN_OPTIONS", b"TSAN_OPTIONS", b"UBSAN_OPTIONS"} if sanitized() else set()
    assert rights.environment or names <= {b"", *options}
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
    if rights.secrets and not sanitized():  # their mlock(2) does nothing
        assert int(status["VmLck"].split()[0]) >= 4, "no memory is locked"
    # The files of one that may be dumped, and traced by its own user, belong to its user and group.
    owner = os.stat(f"/proc/{pid}/environ")
    assert (owner.st_uid, owner.st_gid) == (0, 0), "it can be dumped"


def test_every_process_is_in_the_table_of_rights(served):
    rows = documented()
    assert set(rows) == {*EXPECTED, "secretctl"}
    assert set(processes_of(served)) == set(EXPECTED)
    for name, rights in EXPECTED.items():
        for words in rights.words:
            assert words in rows[name], (name, words)


@pytest.mark.parametrize("kills", [0, 3])
def test_each_process_has_its_rights_and_no_more(served, kills):
    for _ in range(kills):
        kill_worker(served)
        os.statvfs(served.path)  # always a request, so another worker serves
    assert (served.path / "a").read_bytes() == b"value"
    for name, pid in processes_of(served).items():
        check_rights(name, pid, served)


def test_a_worker_serves_rotations_as_the_owner_of_the_store(owned, served):
    owned.put("a", b"rotated")
    eventually(lambda: (served.path / "a").read_bytes() == b"rotated")


# ---- Others of the worker's user ---------------------------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *args):
    if function(*args) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def read_remotely(pid):
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_void_p * 2)(4096, 8)
    call(libc.process_vm_readv, pid, local, 1, remote, 1, 0)


def take_descriptor(pid):
    pidfd = os.pidfd_open(pid)
    try:
        call(libc.syscall, 438, pidfd, 0, 0)  # pidfd_getfd
    finally:
        os.close(pidfd)


def intrusions(pid):
    """What comes of each way into a process: an error's name, or None."""
    files = ("mem", "environ", "maps", "smaps", "auxv")
    return {
        **{file: error_of(open, f"/proc/{pid}/{file}", "rb") for file in files},
        "mem for writing": error_of(open, f"/proc/{pid}/mem", "r+b", buffering=0),
        "fd": error_of(os.listdir, f"/proc/{pid}/fd"),
        "exe": error_of(os.readlink, f"/proc/{pid}/exe"),
        "process_vm_readv": error_of(read_remotely, pid),
        "pidfd_getfd": error_of(take_descriptor, pid),
        "ptrace": error_of(call, libc.ptrace, 16, pid, None, None),  # PTRACE_ATTACH, the last
    }


def intrusions_into_a_child():
    with subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE) as child:
        try:
            eventually(lambda: os.readlink(f"/proc/{child.pid}/exe").endswith("sleep"))
            return intrusions(child.pid)
        finally:
            child.kill()


def test_its_own_user_gets_nothing_from_a_worker(served):
    # What the attempts come to where they are allowed; there is nothing at the address.
    allowed = as_user(OWNER, OWNER, [], intrusions_into_a_child)
    assert allowed == {**dict.fromkeys(allowed), "process_vm_readv": "EFAULT"}
    refused = as_user(OWNER, OWNER, [], intrusions, worker_of(served))
    assert set(refused) == set(allowed)
    assert set(refused.values()) <= {"EPERM", "EACCES"}, refused


# ---- Memory ------------------------------------------------------------------------------------


def mappings(pid):
    """(begin, end, flags) of everything readable; the shadow of a sanitizer is left out."""
    found, current = [], None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        header = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) .*", line)
        if header:
            begin, end = int(header[1], 16), int(header[2], 16)
            current = (begin, end) if header[3][0] == "r" and end - begin <= 1 << 30 else None
        elif line.startswith("VmFlags:") and current:
            found.append((*current, line.split()[1:]))
    return found


def hits(pid, needle):
    """The flags of the mapping around each place where the process has the bytes."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for begin, end, flags in mappings(pid):
            try:
                memory.seek(begin)
                found += [flags] * memory.read(end - begin).count(needle)
            except OSError:
                assert "io" in flags or "pf" in flags, flags  # the kernel's own pages
    return found


@pytest.mark.parametrize("size", [64, 5000, 200000])
def test_a_value_that_was_read_is_nowhere_in_the_daemon(store, mount, size):
    canary = b"canary-%d-" % size + os.urandom(16).hex().encode()
    store.put("a", canary.ljust(size, b"."))
    served = mount()
    assert (served.path / "a").read_bytes().startswith(canary)
    time.sleep(1)
    for pid in processes_of(served).values():
        eventually(lambda pid=pid: hits(pid, canary) == [], timeout=1)  # it may wait for its turn
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if link.is_file():
                assert canary not in link.read_bytes(), os.readlink(link)
    assert canary not in served.log.read_bytes()


def keys_of(store):
    """Every key between the key file and the records, computed from FORMAT.md."""
    ((box,),) = database.query(store.path, "SELECT box FROM slot")
    fields = {}
    while box:
        length = int.from_bytes(box[1:5], "little")
        fields[box[0]] = box[5 : 5 + length]
        box = box[5 + length :]
    key_file = store.key.read_bytes()
    master = generate.blake2b(fields[2], 32, key_file)
    assert generate.kdf(master, 2, b"sfs-slot") == fields[6]
    wrapping = generate.kdf(master, 1, b"sfs-slot")
    stream = generate.chacha20(
        generate.hchacha20(wrapping, fields[5][:16]), bytes(4) + fields[5][16:], 1, 32
    )
    root = bytes(a ^ b for a, b in zip(fields[7], stream))
    subkeys = {f"subkey {i}": generate.kdf(root, i, b"secretfs") for i in (1, 2, 3)}
    return {"key file": key_file, "master": master, "wrapping": wrapping, "root": root, **subkeys}


def test_keys_are_in_locked_memory_and_those_of_the_key_file_nowhere(store, mount):
    store.put("a", b"value")
    served = mount()
    assert (served.path / "a").read_bytes() == b"value"
    found = {
        (name, key): hits(pid, bytes_of_key)
        for name, pid in processes_of(served).items()
        for key, bytes_of_key in keys_of(store).items()
    }
    wanted = {"dd"} if sanitized() else {"lo", "dd"}  # not dumped; locked
    for place, flags in found.items():
        for mapping in flags:
            assert wanted <= set(mapping), (place, mapping)
    assert found["secretfs", "root"] and found["secretfs-worker", "subkey 1"]
    assert found["secretfs-worker", "root"] == [], "it has no use for it any more"
    assert not any(found["secretfs-notify", key] for key in keys_of(store))
    for name in EXPECTED:
        for key in ("key file", "master", "wrapping"):
            assert found[name, key] == [], (name, key)
    for key in ("subkey 1", "subkey 2", "subkey 3"):
        assert found["secretfs", key] == [], key


def allow_cores(pid):
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(pid, resource.RLIMIT_CORE, unlimited)


def test_a_worker_that_crashes_leaves_no_core(store, mount, folder):
    """Not even where root gives it back the right to leave one, which needs CAP_SYS_RESOURCE."""
    store.put("a", b"value")
    working = folder / "cwd"
    working.mkdir()
    served = mount(cwd=working)
    ordinary = subprocess.Popen(["sleep", "60"], cwd=working, preexec_fn=lambda: allow_cores(0))
    ordinary.send_signal(signal.SIGSEGV)
    _, status = os.waitpid(ordinary.pid, 0)
    assert os.WCOREDUMP(status), "nothing leaves cores here"
    cores = set(working.iterdir())
    worker = worker_of(served)
    with contextlib.suppress(PermissionError):
        allow_cores(worker)
    os.kill(worker, signal.SIGABRT)  # ASan takes SIGSEGV
    eventually(lambda: "the worker died (signal 6)" in served.log.read_text())
    assert (served.path / "a").read_bytes() == b"value"
    assert set(working.iterdir()) == cores
