"""The units: correct, as confined as a mount that all can see allows, and enough for the daemon."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness import (
    BUILD,
    FAILED,
    LOCKED,
    QUICK,
    ROOT,
    SECRETCTL,
    SECRETFS,
    UNCONFIRMED,
    Child,
    Mount,
    end,
    eventually,
    freeze,
    fresh_folder,
    kill_worker,
    remove_folder,
    run,
    spawn,
    worker_of,
)

UNITS = ["secretfs.service", "secretfs@.service"]
ROTATING = ["secretfs-rotate.service", "secretfs-rotate@.service"]
TIMERS = ["secretfs-rotate.timer", "secretfs-rotate@.timer"]
EXPOSURE_TENTHS = {"secretfs": 45, "secretfs-rotate": 12}  # tests/README.md tells them, too

# Each of them gives a service a mount namespace, from which nothing it mounts gets out.
NAMESPACED = re.compile(
    r"Protect(System|Home|Proc|KernelTunables|KernelModules|KernelLogs|ControlGroups)"
    r"|ProcSubset|Private(Tmp|Devices|Mounts|IPC|Network|Users)|MountFlags|MountImages|DynamicUser"
    r"|(ReadWrite|ReadOnly|Inaccessible|Exec|NoExec|Bind|BindReadOnly)Paths|TemporaryFileSystem"
    r"|Root(Directory|Image)|Extension(Images|Directories)|LogNamespace"
)


@pytest.fixture(scope="module")
def installed(machine):
    """What `meson install` puts where, below a folder."""
    folder = fresh_folder()
    run(["meson", "install", "-C", BUILD, "--destdir", folder, "--no-rebuild", "--quiet"])
    yield folder
    remove_folder(folder)


def settings(unit):
    """The lines of a unit, as (name, value)."""
    lines = unit.read_text().splitlines()
    return [tuple(line.split("=", 1)) for line in lines if re.match(r"[A-Z]\w+=", line)]


def unit_fixture(names):
    @pytest.fixture(scope="module", params=names)
    def find(request, installed):
        [found] = installed.rglob(request.param)
        return found

    return find


unit = unit_fixture(UNITS)
rotating = unit_fixture(ROTATING)
service = unit_fixture(UNITS + ROTATING)
timer = unit_fixture(TIMERS)


def in_place(unit, folder):
    """The unit with the path that its program has here."""
    [program] = re.findall(r"^ExecStart=(\S+)", unit.read_text(), re.MULTILINE)
    here = folder / unit.name
    built = {"secretfs": SECRETFS, "secretctl": SECRETCTL}[Path(program).name]
    here.write_text(unit.read_text().replace(program, str(built)))
    return here


def verify(unit):
    done = run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit])
    assert (done.stdout, done.stderr) == (b"", b"")


def test_units_are_valid(service, folder):
    verify(in_place(service, folder))


def test_timers_are_valid(timer, folder):
    in_place(timer.with_suffix(".service"), folder)
    shutil.copy(timer, folder)
    verify(folder / timer.name)


def test_the_key_may_be_an_encrypted_credential(service, folder):
    """By the drop-in of the manual page."""
    page = (ROOT / "fs/secretfs.8").read_text()
    [drop_in] = re.findall(r"^\[Service\]\nLoadCredential.*?(?=^\.Ed)", page, re.MULTILINE | re.DOTALL)
    here = in_place(service, folder)
    (folder / f"{here.name}.d").mkdir()
    (folder / f"{here.name}.d" / "key.conf").write_text(drop_in)
    verify(here)


def test_units_run_what_is_installed(service, installed):
    [program] = re.findall(r"^ExecStart=(\S+)", service.read_text(), re.MULTILINE)
    assert os.access(f"{installed}{program}", os.X_OK)


def test_no_setting_takes_the_tree_out_of_sight(unit):
    assert [name for name, _ in settings(unit) if NAMESPACED.fullmatch(name)] == []


def test_exposure_gets_no_worse(service, measured):
    worst = EXPOSURE_TENTHS[service.stem.rstrip("@")]
    words = ["systemd-analyze", "security", "--offline=true", f"--threshold={worst}"]
    told = run([*words, service]).stdout.decode()
    [score] = re.findall(r"Overall exposure level .*: ([0-9.]+)", told)
    measured(f"exposure of {service.name}: {score}")


# ---- the daemon under what the units leave it


def values(unit, name):
    return [word for key, value in settings(unit) if key == name for word in value.split()]


def system_calls(words):
    """A list of SystemCallFilter= in full."""
    found = set()
    for word in words:
        if word.startswith("@"):
            lines = run(["systemd-analyze", "syscall-filter", word]).stdout.decode().splitlines()
            found |= system_calls(line.strip() for line in lines[1:] if "#" not in line)
        else:
            found.add(word)
    return found


def allowed_calls(unit):
    allowed = set()
    for key, value in settings(unit):
        if key == "SystemCallFilter":
            words = value.lstrip("~").split()
            change = allowed.difference_update if value.startswith("~") else allowed.update
            change(system_calls(words))
    return allowed


FILTERED = """
import ctypes, os, sys
seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(seccomp.seccomp_init(0x80000000))  # kill the process
for name in sys.argv[1].split(","):
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number >= 0:
        assert seccomp.seccomp_rule_add(context, 0x7FFF0000, number, 0) == 0, name
assert seccomp.seccomp_load(context) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""


def confined(unit):
    """A prefix to run a program with the capabilities and system calls of the unit, and no more."""
    capabilities = [f"+{name[4:].lower()}" for name in values(unit, "CapabilityBoundingSet")]
    setpriv = ["setpriv", "--no-new-privs", "--inh-caps=-all"]
    setpriv += ["--bounding-set", ",".join(["-all", *capabilities])]
    return [*setpriv, sys.executable, "-c", FILTERED, ",".join(sorted(allowed_calls(unit)))]


def owned_by(store, uid):
    for path in [store.folder, store.key, *store.files(), *store.records()]:
        os.chown(path, uid, uid)
    store.folder.chmod(0o700)


@pytest.mark.parametrize("owner", [0, 4242])
def test_the_daemon_lives_on_what_the_unit_leaves_it(unit, store, folder, owner):
    store.put("a", b"value")
    place = fresh_folder()
    owned_by(store, owner)
    served = Mount(store, place / "mnt", prefix=confined(unit), env=QUICK)
    try:
        status = Path(f"/proc/{served.process.pid}/status").read_text()
        allowed = int(re.search(r"^CapBnd:\t(\w+)", status, re.MULTILINE)[1], 16)
        assert allowed.bit_count() == len(values(unit, "CapabilityBoundingSet"))
        assert "\nSeccomp:\t2\n" in status and "\nNoNewPrivs:\t1\n" in status
        assert (served.path / "a").read_bytes() == b"value"
        kill_worker(served)
        store.put("a", b"rotated")
        eventually(lambda: (served.path / "a").read_bytes() == b"rotated")
        served.process.send_signal(signal.SIGHUP)
        eventually(lambda: "upgraded to" in served.log.read_text())
        store.put("a", b"again")
        eventually(lambda: (served.path / "a").read_bytes() == b"again")
        served.stop()
    finally:
        served.close()
        remove_folder(place)


READ_ONLY = """
mount --make-rprivate / && mount --bind "$1" "$1" || exit 99
cut -d' ' -f5 /proc/self/mountinfo | while read -r place; do
    case $place in "$1" | /proc* | /sys* | /dev*) continue ;; esac
    mount -o remount,bind,ro "$place" 2>/dev/null
done
mkdir "$1/../written" 2>/dev/null && exit 99
shift
exec "$@"
"""


def confined_rotation(unit, store):
    """The command of the unit, for this store, with its rights and its view of the machine."""
    [command] = [value.split()[1:] for name, value in settings(unit) if name == "ExecStart"]
    view = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", store.folder]
    argv = store.argv(*command)
    return [*view, *confined(unit), *argv]


@pytest.mark.parametrize("owner", [0, 4242])
def test_a_rotation_lives_on_what_the_unit_leaves_it(rotating, store, owner):
    """The daemon is asked to confirm from there: where it does not answer, that is told."""
    place = fresh_folder()
    store.put("a", b"value")
    store.ctl("rotation", "a", "--every", "1s", "--generate", "uuid")
    owned_by(store, owner)
    served = Mount(store, place / "mnt", env=QUICK)
    argv = confined_rotation(rotating, store)
    try:
        for count in range(2, 4):
            eventually(lambda: store.json("rotation", "a")["overdue"])
            run(argv, env=QUICK)
            assert store.json("show", "a")["version"] == count
            assert (served.path / "a").read_bytes() == store.get("a")
        eventually(lambda: store.json("rotation", "a")["overdue"])
        freeze(served.process.pid)
        done = run(argv, status=UNCONFIRMED, env=QUICK)
        served.process.send_signal(signal.SIGCONT)
        assert b"it is committed" in done.stderr
        assert {path.stat().st_uid for path in store.files()} == {owner}
    finally:
        served.process.send_signal(signal.SIGCONT)
        served.close()
        remove_folder(place)


ROTATOR = """#!/bin/sh
set -e
old=$(cat <&3)
case $1 in
create) od -An -N16 -tx1 /dev/urandom | tr -d ' \\n' >&4 ;;
*) [ "$(cat <&4)" != "$old" ] ;;
esac
! (: 2>/dev/null >/etc/written)
"""


def test_a_rotator_lives_on_what_the_unit_leaves_it(rotating, rotators, store):
    (rotators / "example").write_text(ROTATOR)
    (rotators / "example").chmod(0o755)
    store.put("a", b"first-value")
    store.ctl("rotation", "a", "--every", "1s", "--rotator", "example")
    argv = confined_rotation(rotating, store)
    eventually(lambda: store.json("rotation", "a")["overdue"])
    done = run(argv, env=QUICK)
    assert done.stderr == b"" and re.fullmatch(b"[0-9a-f]{32}", store.get("a"))
    store.ctl("rotation", "a", "--timeout", "1s")
    (rotators / "example").write_text("#!/bin/sh\nsleep 60 & wait\n")
    eventually(lambda: store.json("rotation", "a")["overdue"])
    assert b"longer than 1 s" in run(argv, status=FAILED, env=QUICK).stderr


def score_of(pid):
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def lowered(score):
    """The score of a process that has tried to lower it, which not every root may."""
    try:
        Path("/proc/self/oom_score_adj").write_text(str(score))
    except PermissionError:
        pass
    return score_of("self")


def test_short_memory_costs_others_first_and_then_the_worker(store, mount):
    served = mount()
    assert score_of(served.process.pid) == Child(lowered, -900).result()
    assert score_of(worker_of(served)) == max(-500, score_of(served.process.pid))


def test_a_mount_helper_is_installed(installed):
    helper = installed / "sbin/mount.fuse.secretfs"
    assert os.access(f"{installed}{os.readlink(helper)}", os.X_OK)


# ---- what the service manager hears


@pytest.fixture
def manager(folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(folder / "notify"))
        listening.settimeout(30)
        yield listening


def start(store, folder, key):
    return spawn(
        [SECRETFS, "-o", f"key_file={key}", store.path, folder / "mnt"],
        env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
        stderr=subprocess.DEVNULL,
    )


def test_ready_means_that_secrets_can_be_read(store, folder, manager):
    store.put("a", b"value")
    process = start(store, folder, store.key)
    try:
        assert manager.recv(4096) == b"READY=1\nSTATUS=serving"
        assert (folder / "mnt/a").read_bytes() == b"value"
    finally:
        process.terminate()
        status = end(process)
    assert status == 0
    assert manager.recv(4096) == b"STOPPING=1"


def test_a_start_that_fails_is_never_ready(store, folder, manager):
    (folder / "wrong").write_bytes(os.urandom(32))
    (folder / "wrong").chmod(0o600)
    assert end(start(store, folder, folder / "wrong")) == LOCKED
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(4096)


def test_the_journal_gets_levels_from_supervisor_and_worker(store, folder):
    store.put("a", b"value")
    with open(folder / "journal", "wb") as journal:
        stat = os.fstat(journal.fileno())
        process = spawn(
            [SECRETFS, "-o", f"debug,key_file={store.key}", store.path, folder / "mnt"],
            env={**os.environ, "JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"},
            stderr=journal,
        )
    try:
        eventually(lambda: (folder / "mnt/a").read_bytes() == b"value")
        store.path.unlink()
        eventually(lambda: "removed" in (folder / "journal").read_text())
    finally:
        process.terminate()
        status = end(process)
    assert status == 0
    lines = (folder / "journal").read_text().splitlines()
    assert f"<6>serving {store.path} at {folder / 'mnt'}" in lines
    assert {line[:3] for line in lines} == {"<3>", "<6>", "<7>"}
    assert {line[3:9] for line in lines if line[1] == "7"} == {"debug:"}
    assert all("removed" in line for line in lines if line[1] == "3")
