"""secretctl watch: a command or a signal after each change that applications see, and after nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import (
    FAILED,
    SECRETCTL,
    USAGE,
    end,
    eventually,
    freeze,
    identity,
    kill_if_lives,
    kill_worker,
    one_line,
    run,
    spawn,
)

DELAY_S = 0.05
QUIET_S = 0.4  # long enough for a run that should not come

# Told when it begins, with what is said to have changed, and when it ends.
TELLS = r"""
import os, sys, time
def tell(*words):
    with open(sys.argv[1], "a") as log:
        log.write("|".join(words) + "\n")
changed = os.environ["SECRETFS_CHANGED"].splitlines()
tell("begin", *(os.path.relpath(path, sys.argv[2]) for path in changed))
time.sleep(float(sys.argv[3]))
tell("end")
"""


class Watching:
    """A secretctl watch. What it runs is `command`; by default one that tells in a log."""

    def __init__(self, top, *paths, options=(), command=None, takes=0, log=None, **spawning):
        self.log = log or top.with_name(top.name + ".runs")
        self.errors = self.log.with_suffix(".errors")
        told = [sys.executable, "-S", "-c", TELLS, self.log, top, str(takes)]
        command = told if command is None else command
        self.log.touch()
        with open(self.errors, "wb") as errors:
            self.process = spawn(
                [
                    *[SECRETCTL, "watch", "--delay", f"{int(DELAY_S * 1000)}ms", *options],
                    *[path if str(path).startswith("/") else top / path for path in paths],
                    *(["--", *command] if command else []),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                **spawning,
            )
        eventually(self.waits)

    def waits(self):
        """Whether it has looked and waits for events: it asks for signals last."""
        assert self.process.poll() is None, self.errors.read_text()
        links = Path(f"/proc/{self.process.pid}/fd").iterdir()
        return any("signalfd" in os.readlink(link) for link in links)

    def lines(self):
        return self.log.read_text().splitlines()

    def runs(self):
        """What changed, for every run that has begun."""
        return [line.split("|")[1:] for line in self.lines() if line.startswith("begin")]

    def after(self, count, quiet=QUIET_S):
        """Wait for that many runs to have ended, and whether more come; all of them."""
        eventually(lambda: self.lines().count("end") >= count)
        time.sleep(quiet)
        assert self.lines() == [word for line in self.lines()[::2] for word in (line, "end")]
        return self.runs()

    def told(self):
        return self.errors.read_text().splitlines()

    def stop(self, signum=signal.SIGTERM):
        self.process.send_signal(signum)
        return end(self.process)


@pytest.fixture
def watch(folder):
    """A function that starts one; at the end each must still live, end well, and leave no child."""
    started = []

    def start(*args, **options):
        started.append(Watching(*args, log=folder / f"watch{len(started)}.runs", **options))
        return started[-1]

    yield start
    for watching in started:
        if watching.process.returncode is None:
            assert watching.stop() == 0, watching.told()


@pytest.fixture
def tree(store, mount):
    store.quick = True
    store.put("web/key", b"one", "-p")
    store.put("web/cert", b"one")
    return mount()


# ---- What is a change ----------------------------------------------------------------------------


def test_a_rotation_runs_the_command_once(store, tree, watch):
    watching = watch(tree.path, "web/key")
    store.put("web/key", b"two")
    assert watching.after(1) == [["web/key"]]
    store.ctl("rollback", "web/key")
    assert watching.after(2) == [["web/key"], ["web/key"]]
    assert watching.told() == []


def test_the_command_sees_the_new_version(store, tree, watch, folder):
    got = folder / "got"
    watch(tree.path, "web/key", command=["cp", tree.path / "web/key", got])
    for value in (b"two", b"three"):
        store.put("web/key", value)
        eventually(lambda: got.read_bytes() == value)


def test_what_changes_no_version_runs_nothing(store, tree, watch):
    watching = watch(tree.path, "web/key")
    store.ctl("chmod", "0444", "web/key")
    store.ctl("chown", "20001", "web/key")
    store.put("web/key", b"one")
    store.put("web/other", b"a neighbour")
    store.put("web/cert", b"two")
    assert (tree.path / "web/key").read_bytes() == b"one"
    assert watching.after(0) == []
    store.put("web/key", b"two")
    assert watching.after(1) == [["web/key"]]


@pytest.mark.alone
def test_several_changes_at_once_are_one_run(store, tree, watch):
    watching = watch(tree.path, "web/key", "web/cert", options=["--delay", "1s"])
    store.put("web/key", b"two")
    store.put("web/cert", b"two")
    store.put("web/key", b"three")
    assert watching.after(1, quiet=1.2) == [["web/key", "web/cert"]]


@pytest.mark.alone
def test_back_to_what_it_was_is_no_change(store, tree, watch):
    watching = watch(tree.path, "web/key", options=["--delay", "1s"])
    store.put("web/key", b"two")
    store.ctl("rollback", "web/key")
    assert watching.after(0, quiet=1.5) == []


def test_a_removal_is_a_change_and_a_restore(store, tree, watch):
    watching = watch(tree.path, "web/key")
    store.ctl("rm", "web/key")
    assert watching.after(1) == [["web/key"]]
    store.ctl("restore", "web/key")
    assert watching.after(2) == 2 * [["web/key"]]


def test_a_folder_stands_for_all_below_it(store, tree, watch):
    watching = watch(tree.path, "web")
    store.put("web/key", b"two")
    assert watching.after(1) == [["web/key"]]
    store.put("web/new/deep/key", b"one", "-p")
    assert watching.after(2)[1:] == [["web/new/deep/key"]]
    store.put("web/new/deep/key", b"two")
    assert watching.after(3)[2:] == [["web/new/deep/key"]]
    store.ctl("mv", "web/new/deep", "web/moved")
    assert watching.after(4)[3:] == [["web/moved/key", "web/new/deep/key"]]
    store.put("web/moved/key", b"three")
    store.ctl("rm", "web/cert")
    assert sorted(sum(watching.after(5)[4:], [])) == ["web/cert", "web/moved/key"]
    store.put("elsewhere", b"one")
    assert len(watching.after(5)) <= 6


def test_relative_paths_are_below_the_mount(store, tree, watch):
    by_name = [SECRETCTL, "watch", "web//key/", "--mount", tree.path, "--delay", "50ms", "--once"]
    process = spawn([*by_name, "--", "sh", "-c", 'test "$SECRETFS_CHANGED" = "$0"', tree.path / "web/key"])
    eventually(lambda: any("signalfd" in os.readlink(fd) for fd in Path(f"/proc/{process.pid}/fd").iterdir()))
    store.put("web/key", b"two")
    assert end(process) == 0


@pytest.mark.alone
def test_more_changes_than_fit_are_told_by_an_empty_variable(watch, folder):
    """On tmpfs or a disk, where thousands of files are made quickly: a folder is a folder."""
    top = folder / "plain"
    top.mkdir()
    watching = watch(top, "", options=["--delay", "500ms"])
    for number in range(3000):
        (top / f"{number:0100}").touch()
    assert watching.after(1) == [[]]
    (top / "one").touch()
    assert watching.after(2, quiet=0.8) == [[], ["one"]]


# ---- The command ---------------------------------------------------------------------------------


@pytest.mark.alone
def test_changes_during_a_run_are_one_run_more(store, tree, watch):
    watching = watch(tree.path, "web/key", takes=0.7)
    store.put("web/key", b"two")
    eventually(lambda: len(watching.runs()) == 1)
    for value in (b"three", b"four"):
        store.put("web/key", value)
    assert watching.lines() == ["begin|web/key"]
    assert watching.after(2, quiet=1) == 2 * [["web/key"]]


@pytest.mark.parametrize(
    "command, reason",
    [
        (["false"], "cannot follow a change with 'false': it ended with exit status 1"),
        (["sh", "-c", "kill -9 $$"], "it was ended by signal 9 (Killed)"),
        (["/nonexistent/command"], "No such file or directory"),
        (["/etc/passwd"], "Permission denied"),
    ],
)
def test_a_command_that_fails_is_told_and_watching_goes_on(store, tree, watch, command, reason):
    watching = watch(tree.path, "web/key", command=command)
    for count in (1, 2):
        store.put("web/key", b"%d" % count)
        eventually(lambda: len(watching.told()) == count)
    assert all(line.startswith("secretctl: ") and reason in line for line in watching.told())
    assert all(line.endswith("; watching goes on") for line in watching.told())


@pytest.mark.parametrize(
    "command, status",
    [
        (["true"], 0),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "kill -15 $$"], 128 + 15),
        (["/nonexistent/command"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_once_ends_with_the_status_of_the_command(store, tree, watch, command, status):
    watching = watch(tree.path, "web/key", options=["--once"], command=command)
    store.put("web/key", b"two")
    assert end(watching.process) == status
    assert len(watching.told()) == (status != 0)


def test_initial_begins_with_a_run(store, tree, watch):
    watching = watch(tree.path, "web/key", options=["--initial"])
    assert watching.after(1) == [[]]
    store.put("web/key", b"two")
    assert watching.after(2) == [[], ["web/key"]]


def test_the_command_gets_what_the_caller_has_and_no_more(store, tree, watch, folder):
    """Words as they are, umask, signals, cores; no descriptor, and no value."""
    show = 'import os, sys, resource; sys.stdout = open(sys.argv[1] + ".new", "w");'
    show += "print(sys.argv[2:], sorted(map(int, os.listdir('/proc/self/fd')))[:5]);"
    show += "print(resource.getrlimit(resource.RLIMIT_CORE), open('/proc/self/status').read());"
    show += "print(sorted(os.environ)); sys.stdout.close(); os.rename(sys.argv[1] + '.new', sys.argv[1])"
    limit = "--core=4096:8192"
    options = os.environ.get("ASAN_OPTIONS", "") + ":disable_coredump=0"
    environment = {**os.environ, "ASAN_OPTIONS": options}
    words = ["", "--", "-x", "two words", "$HOME"]
    outputs = [folder / "direct", folder / "watched"]
    commands = [[sys.executable, "-S", "-c", show, path, *words] for path in outputs]
    run(["prlimit", limit, *commands[0]], umask=0o026, env=environment)
    watching = spawn(
        ["prlimit", limit, SECRETCTL, "watch", tree.path / "web/key", "--once", "--", *commands[1]],
        umask=0o026,
        env=environment,
    )
    eventually(lambda: any("signalfd" in os.readlink(fd) for fd in Path(f"/proc/{watching.pid}/fd").iterdir()))
    assert os.readlink(f"/proc/{watching.pid}/exe") == str(SECRETCTL)
    store.put("web/key", b"canary-4711")
    assert end(watching) == 0

    def facts(path):
        lines = path.read_text().splitlines()
        kept = ("Umask", "SigBlk", "SigCgt", "Uid", "Cap")
        return [line for line in lines if line.startswith(("[", "(", *kept))]

    direct, watched = (facts(path) for path in outputs)
    assert watched[:-1] == direct[:-1] and len(direct) > 6, (direct, watched)
    assert eval(watched[-1]) == sorted([*eval(direct[-1]), "SECRETFS_CHANGED"])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_well(tree, watch, signum):
    assert watch(tree.path, "web/key").stop(signum) == 0
    assert watch(tree.path, "web/key", options=["--once"]).stop(signum) == FAILED


def test_at_the_end_a_running_command_is_ended_too_and_waited_for(store, tree, watch, folder):
    mark = folder / "mark"
    slow = f"trap 'sleep 0.3; echo ended >{mark}; exit' TERM; echo runs >{mark}; while :; do sleep 0.05; done"
    watching = watch(tree.path, "web/key", command=["sh", "-c", slow])
    store.put("web/key", b"two")
    eventually(lambda: mark.read_text() == "runs\n")
    assert watching.stop() == 0
    assert mark.read_text() == "ended\n"


def test_asked_twice_it_does_not_wait_for_the_command(store, tree, watch, folder):
    mark = folder / "mark"
    deaf = f"trap '' TERM; echo $$ >{mark}; while sleep 0.05; do :; done"
    watching = watch(tree.path, "web/key", command=["sh", "-c", deaf])
    store.put("web/key", b"two")
    child = int(eventually(mark.read_text))
    try:
        watching.process.terminate()
        time.sleep(0.2)
        assert watching.process.poll() is None
        assert watching.stop(signal.SIGINT) == 0
    finally:
        kill_if_lives(child)


# ---- Signals -------------------------------------------------------------------------------------


@pytest.fixture
def service(folder):
    """A process that tells of each SIGHUP in a file."""
    heard = folder / "heard"
    loop = f"trap 'echo heard >>{heard}' HUP; echo ready >{heard}; while :; do sleep 0.05; done"
    # Under nohup(1) it is ignored, which a shell can't undo.
    heed = lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)
    process = spawn(["sh", "-c", loop], preexec_fn=heed)
    eventually(lambda: heard.read_text())
    yield process, lambda: heard.read_text().split().count("heard")
    process.kill()
    end(process)


@pytest.mark.parametrize("name", ["HUP", "SIGHUP", "1"])
def test_a_signal_goes_to_the_process_in_a_file(store, tree, watch, folder, service, name):
    process, heard = service
    pid_file = folder / "pid"
    options = ["--signal", name, "--pid-file", pid_file]
    watching = watch(tree.path, "web/key", options=options, command=[])
    store.put("web/key", b"two")
    eventually(lambda: len(watching.told()) == 1)
    assert "No such file" in watching.told()[0]
    pid_file.write_text(f"{process.pid}\nmore\n")
    store.put("web/key", b"three")
    eventually(lambda: heard() == 1)
    assert len(watching.told()) == 1


def test_a_file_that_others_could_have_written_names_nobody(store, tree, watch, folder, service):
    process, heard = service
    pid_file, text = folder / "pid", str(process.pid)
    watching = watch(tree.path, "web/key", options=["--signal", "HUP", "--pid-file", pid_file], command=[])

    def refused(reason):
        before = len(watching.told())
        store.put("web/key", b"%d" % before)
        eventually(lambda: len(watching.told()) == before + 1)
        assert reason in watching.told()[-1], watching.told()

    for mode in (0o664, 0o646):
        pid_file.write_text(text)
        pid_file.chmod(mode)
        refused("others could have written it")
    pid_file.chmod(0o644)
    os.chown(pid_file, 20001, 0)
    refused("others could have written it")
    os.chown(pid_file, 0, 0)
    for wrong in ("", "0", "1", "-1", f"-{text}", f"{text} x", "99999999999999999999", "4194305"):
        pid_file.write_text(wrong)
        refused("no process id")
    pid_file.rename(folder / "target")
    pid_file.symlink_to(folder / "target")
    refused("symbolic link")
    pid_file.unlink()
    os.mkfifo(pid_file)
    refused("not a regular file")
    pid_file.unlink()
    pid_file.write_text("4194304")
    refused("No such process")
    assert heard() == 0
    pid_file.write_text(text)
    store.put("web/key", b"the last")
    eventually(lambda: heard() == 1)


def test_a_unit_is_signalled_by_systemctl(store, tree, watch, folder):
    program = folder / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{folder}/given.new\nmv {folder}/given.new {folder}/given\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    options = ["--signal", "HUP", "--unit", "nginx"]
    watch(tree.path, "web/key", options=options, command=[], env=environment)
    store.put("web/key", b"two")
    given = eventually((folder / "given").read_text)
    assert given.split("\n") == ["kill", "--kill-whom=main", "-s", "HUP", "--", "nginx", ""]


# ---- Whatever happens to the mount ---------------------------------------------------------------


def test_killed_workers_are_no_change(store, tree, watch):
    watching = watch(tree.path, "web", "web/key")
    for _ in range(5):
        kill_worker(tree)
    assert watching.after(0) == []
    store.put("web/cert", b"two")
    assert watching.after(1) == [["web/cert"]]


@pytest.mark.parametrize("path", ["web/key", "web", ""])
def test_a_daemon_that_ends_and_comes_back_is_no_change(store, mount, tree, watch, path):
    watching = watch(tree.path, path)
    tree.stop()
    assert watching.after(0) == []
    again = mount(at=tree.path)
    assert watching.after(0) == []
    again.stop()
    store.put("web/key", b"two")
    again = mount(at=tree.path)
    assert watching.after(1) == [["web/key"]]
    again.stop()
    store.ctl("rm", "web/key")
    mount(at=tree.path)
    assert watching.after(2) == 2 * [["web/key"]]


def test_a_killed_daemon_is_no_change(store, mount, tree, watch):
    watching = watch(tree.path, "web/key", "web")
    tree.killed()
    assert watching.after(0) == []
    mount(at=tree.path)
    assert watching.after(0) == []
    store.put("web/key", b"two")
    assert set(watching.after(1)[0]) == {"web/key"}
    assert len(watching.told()) <= 1 and all("trying again" in line for line in watching.told())


def test_it_may_begin_before_the_mount_is_there(store, mount, watch, folder):
    store.put("web/key", b"one", "-p")
    place = folder / "later"
    watching = watch(place, "web/key")
    assert watching.after(0) == []
    mount(at=place)
    assert watching.after(1) == [["web/key"]]
    store.put("web/key", b"two")
    assert watching.after(2) == 2 * [["web/key"]]


def test_it_may_begin_at_a_dead_mount(store, mount, tree, watch):
    tree.killed()
    watching = watch(tree.path, "web/key")
    assert "trying again" in watching.told()[0]
    mount(at=tree.path)
    assert watching.after(1) == [["web/key"]]
    assert len(watching.told()) == 1


def test_its_folder_may_come_and_go(store, tree, watch):
    watching = watch(tree.path, "a/b/key")
    store.ctl("mkdir", "a")
    store.ctl("mkdir", "a/b")
    assert watching.after(0) == []
    store.put("a/b/key", b"one")
    assert watching.after(1) == [["a/b/key"]]
    store.ctl("mv", "a/b", "c")
    assert watching.after(2) == 2 * [["a/b/key"]]
    store.ctl("mv", "c", "a/b")
    assert watching.after(3) == 3 * [["a/b/key"]]
    store.put("a/b/key", b"two")
    assert watching.after(4) == 4 * [["a/b/key"]]


def test_a_directory_in_place_of_the_secret_and_back(store, tree, watch):
    watching = watch(tree.path, "web/key")
    store.ctl("rm", "web/key")
    store.ctl("mkdir", "web/key")
    store.put("web/key/inside", b"one")
    eventually(lambda: "web/key/inside" in sum(watching.runs(), []))
    assert len(watching.after(1)) <= 2
    count = len(watching.runs())
    store.put("web/key/inside", b"two")
    assert watching.after(count + 1)[count:] == [["web/key/inside"]]
    store.ctl("rm", "web/key/inside")
    store.ctl("rm", "web/key")
    store.put("web/key", b"one")
    eventually(lambda: watching.runs()[-1][0] == "web/key")


def test_links_are_followed(store, mount, tree, watch, folder):
    link, turn = folder / "link", folder / "turn"
    link.symlink_to(tree.path / "web/key")
    turn.symlink_to(tree.path / "web")
    watching = watch(folder, link, turn / "cert")
    store.put("web/key", b"two")
    assert watching.after(1) == [["link"]]
    store.put("web/cert", b"two")
    assert watching.after(2)[1:] == [["turn/cert"]]
    store.ctl("rm", "web/key")
    assert watching.after(3)[2:] == [["link"]]
    (folder / "next").symlink_to(tree.path / "web/cert")
    (folder / "next").rename(link)
    assert watching.after(4)[3:] == [["link"]]
    store.put("web/cert", b"three")
    assert watching.after(5)[4:] == [["link", "turn/cert"]]
    tree.stop()
    mount(at=tree.path)
    assert len(watching.after(5)) == 5


# ---- Many changes --------------------------------------------------------------------------------


@pytest.mark.alone
def test_a_storm_of_rotations(store, tree, watch, measured, folder):
    """Some runs while it lasts, not one for each rotation, and one that sees what is last."""
    got = folder / "got"
    copy = ["sh", "-c", f"cat {tree.path}/web/key >>{got}; echo >>{got}"]
    watching = watch(tree.path, "web/key", command=copy)
    started, rotations = time.monotonic(), 0
    while time.monotonic() < started + 2.5:
        rotations += 1
        store.put("web/key", b"%d" % rotations)
    lasted = time.monotonic() - started
    eventually(lambda: got.read_text().splitlines()[-1] == str(rotations))
    time.sleep(QUIET_S)
    seen = [int(line) for line in got.read_text().splitlines()]
    assert seen == sorted(set(seen)) and seen[-1] == rotations
    assert 2 <= len(seen) <= lasted / DELAY_S + 1
    assert watching.told() == []
    measured(f"{rotations} rotations in {lasted:.1f} s: {len(seen)} runs, the last one saw the last version")


@pytest.mark.alone
def test_lost_events_lose_no_change(watch, folder):
    """On a disk, where events are quick to make: a stopped watch gets more than the kernel keeps."""
    top = folder / "plain"
    (top / "below").mkdir(parents=True)
    for name in ("a", "below/b", "x"):
        (top / name).touch()
    watching = watch(top, "")
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    freeze(watching.process.pid)
    for _ in range(limit // 4 + 100):  # two events each
        (top / "x").rename(top / "y")
        (top / "y").rename(top / "x")
    (top / "new").touch()
    (top / "new").rename(top / "below/b")
    watching.process.send_signal(signal.SIGCONT)
    assert watching.after(1) == [["below/b"]]


# ---- Wrong use -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--", "true"],
        ["/a"],
        ["/a", "--"],
        ["/a", "true", "--"],
        ["", "--", "true"],
        ["/a", "--", ""],
        ["/a", "--once", "--initial", "--", "true"],
        *[["/a", "--delay", delay, "--", "true"] for delay in ("1", "s", "-1s", "1.5s", "1d", "25h")],
        ["/a", "--signal", "HUP"],
        ["/a", "--signal", "HUP", "--unit", "u", "--pid-file", "f"],
        ["/a", "--signal", "HUP", "--unit", "u", "--", "true"],
        *[["/a", "--signal", name, "--unit", "u"] for name in ("", "0", "65", "hup", "SIG", "NONE")],
        ["/a", "--unit", "u"],
        ["/a", "--pid-file", "f", "--", "true"],
        ["/a", "--json", "--", "true"],
    ],
)
def test_wrong_use_is_one_line(words):
    done = run([SECRETCTL, "watch", *words], status=USAGE)
    one_line(done.stderr, "secretctl")


def test_no_key_and_no_store_are_needed(tree, store, watch):
    store.ctl("chmod", "0444", "web/key")
    traced = ["--store", "/nonexistent/store", "--key-file", "/nonexistent/key"]
    command = ["sh", "-c", "exit 7"]
    watching = watch(tree.path, "web/key", options=[*traced, "--once"], command=command, **identity(20001))
    store.put("web/key", b"two")
    assert end(watching.process) == 7


def test_a_path_that_can_not_be_seen_is_an_error_at_once(tree, store):
    store.ctl("chmod", "0700", "web")
    done = run(
        [SECRETCTL, "watch", tree.path / "web/key", "--", "true"], status=FAILED, **identity(20001)
    )
    assert "Permission denied" in one_line(done.stderr, "secretctl")
