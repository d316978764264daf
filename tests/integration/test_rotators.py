"""Rotation by rotators: programs of the administrator's, in four steps that are gone on with."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from harness import (
    FAILED,
    QUICK,
    UNCONFIRMED,
    USAGE,
    end,
    eventually,
    identity,
    one_line,
    run,
    spawn,
)

KILLS = int(os.environ.get("SECRETFS_ROTATE_KILLS", "10"))  # at random; 30 is the long form

STEPS = ["create", "set", "test", "finish"]

LONG = 60 + os.getpid() / 1e7  # seconds, to be found by

# Writes down what it was given, makes "new-N" of version N, and does what a file says for its step.
ROTATOR = """#!/bin/sh
umask 022
old=$(cat <&3)
[ "$1" = create ] || new=$(cat <&4)
echo "$1 $SECRETFS_PATH $SECRETFS_VERSION ${{old:-none}} ${{new:-none}}" >> {folder}/calls
[ ! -e {folder}/$1 ] || . {folder}/$1
[ "$1" != create ] || printf new-value-%s "$SECRETFS_VERSION" >&4
"""


class Rotator:
    """A rotator in its folder, what it wrote down, and what it does in its steps."""

    def __init__(self, place, folder):
        self.path = place / "example"
        self.folder = folder / "rotator"
        self.folder.mkdir()
        self.write(ROTATOR.format(folder=self.folder))

    def write(self, text):
        self.path.write_text(text)
        self.path.chmod(0o755)

    def does(self, step, text):
        """Have it run these lines in the step, or only what it ever does."""
        place = self.folder / step
        place.write_text(text) if text else place.unlink()

    def calls(self):
        """What was called since the last time, as (step, path, version, old, new)."""
        place = self.folder / "calls"
        lines = place.read_text().splitlines() if place.exists() else []
        place.unlink(missing_ok=True)
        return [tuple(line.split()) for line in lines]

    def steps(self):
        return [call[0] for call in self.calls()]

    def reached(self, name="here"):
        return (self.folder / name).exists()


@pytest.fixture
def rotator(rotators, folder):
    return Rotator(rotators, folder)


@pytest.fixture
def secret(store, rotator):
    """A secret that the rotator rotates; every command without a search for leaks."""
    store.quick = True
    store.put("db/a", b"first-value", "-p")
    store.ctl("rotation", "db/a", "--rotator", "example")
    return "db/a"


def state(store, path="db/a"):
    """The value that is current, the number of the version that is made, the step."""
    told = store.json("rotation", path)
    return store.get(path), told["version"], told["step"]


def fails(store, *args, status=FAILED):
    """Run `rotate`, which has to fail, and give the last of its lines."""
    done = run(store.argv("rotate", *args), status=status, env=QUICK)
    return done.stderr.decode().splitlines()[-1]


# ---- what is set


def test_what_is_set_is_told(store):
    store.put("a", b"first")
    store.ctl("rotation", "a", "--every", "30d", "--rotator", "postgresql", "--timeout", "5m")
    told = store.json("rotation", "a")
    assert (told["rotator"], told["timeout"], told["step"]) == ("postgresql", 300, None)
    assert (told["every"], told["generator"]) == (30 * 86400, None)
    text = store.ctl("rotation", "a").decode()
    assert re.search(r"^rotator: +postgresql\ntimeout: +5m$", text, re.MULTILINE)
    assert b"every 30d, by postgresql, due " in store.ctl("show", "a")
    store.ctl("rotation", "a", "--generate", "hex:32")
    assert store.json("rotation", "a")["rotator"] == "postgresql"
    assert b"by postgresql, hex:32, due " in store.ctl("show", "a")
    store.ctl("rotation", "a", "--off")
    assert store.json("rotation", "a")["rotator"] is None
    assert store.json("show", "a")["rotation"] is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/bin/sh", "../a", "n" * 65, "a\nb", b"\xff"])
def test_a_wrong_name_is_refused(store, name):
    store.put("a", b"first")
    assert "--rotator" in store.refuses(USAGE, "rotation", "a", "--rotator", os.fsdecode(name))


@pytest.mark.parametrize("limit", ["0s", "25h", "2d", "soon"])
def test_a_wrong_time_limit_is_refused(store, limit):
    store.put("a", b"first")
    assert "--timeout" in store.refuses(USAGE, "rotation", "a", "--timeout", limit)


def test_drop_goes_with_paths(store):
    assert "--drop" in store.refuses(USAGE, "rotate", "--due", "--drop")
    store.put("a", b"first")
    assert "nothing is pending" in store.refuses(FAILED, "rotate", "--drop", "a")


# ---- four steps


def test_the_four_steps_and_what_they_are_given(store, secret, rotator):
    assert store.json("rotate", secret) == [{"path": secret, "version": 2}]
    old, new = "first-value", "new-value-2"
    assert rotator.calls() == [
        ("create", secret, "2", old, "none"),
        ("set", secret, "2", old, new),
        ("test", secret, "2", old, new),
        ("finish", secret, "2", old, new),
    ]
    assert state(store) == (new.encode(), None, None)
    assert store.get(secret, "--label", "previous") == old.encode()
    assert store.json("rotate", f"/{secret}") == [{"path": secret, "version": 3}]
    assert rotator.calls()[-1] == ("finish", secret, "3", new, "new-value-3")
    store.ctl("check")


SURROUNDINGS = """#!{python} -IS
import json, os, resource, signal, sys
told = dict(
    argv=open("/proc/self/cmdline").read().split("\\0")[-3:-1],
    environment=dict(e.split("=", 1) for e in open("/proc/self/environ").read().split("\\0") if e),
    caller=open("/proc/%d/cmdline" % os.getppid()).read() + open("/proc/%d/environ" % os.getppid()).read(),
    descriptors={{n: os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd")
                 if os.path.exists("/proc/self/fd/" + n) or int(n) < 3}},
    cwd=os.getcwd(), umask=os.umask(0), session=os.getsid(0) == os.getpid(),
    core=resource.getrlimit(resource.RLIMIT_CORE), status=open("/proc/self/status").read())
json.dump(told, open("{folder}/" + sys.argv[1], "w"))
if sys.argv[1] == "create":
    os.write(4, b"second-value")
"""


def test_nothing_but_two_descriptors_and_three_variables_reach_a_rotator(store, secret, rotator):
    rotator.write(SURROUNDINGS.format(python=sys.executable, folder=rotator.folder))
    signals = [signal.SIGPIPE, signal.SIGUSR1]
    for signum in signals:
        signal.signal(signum, signal.SIG_IGN)
    try:
        with open("/dev/zero", "rb") as other:
            env = {**QUICK, "PGPASSWORD": "x", "LC_ALL": "C"}
            run(store.argv("rotate", secret), env=env, pass_fds=[other.fileno()])
    finally:
        for signum in signals:
            signal.signal(signum, signal.SIG_DFL)
    for step in STEPS:
        told = json.loads((rotator.folder / step).read_text())
        assert told["argv"] == [str(rotator.path), step]
        assert told["environment"] == {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "SECRETFS_PATH": secret,
            "SECRETFS_STEP": step,
            "SECRETFS_VERSION": "2",
        }
        assert "value" not in told["caller"]
        kinds = {int(n): re.sub(r":.*", "", link) for n, link in told["descriptors"].items()}
        kinds = {n: kind for n, kind in kinds.items() if n <= 4 or "/proc/" not in kind}
        assert kinds == {0: "/dev/null", 1: "pipe", 2: "pipe", 3: "pipe", 4: "pipe"}
        assert (told["cwd"], told["umask"], told["session"]) == ("/", 0o077, True)
        assert told["core"] == [0, 0]
        masks = dict(re.findall(r"^(Sig(?:Blk|Ign)):\t(\w+)", told["status"], re.MULTILINE))
        # Python itself ignores SIGPIPE and SIGXFSZ.
        assert int(masks["SigBlk"], 16) == 0
        assert not int(masks["SigIgn"], 16) & 1 << (signal.SIGUSR1 - 1)
    assert store.get(secret) == b"second-value"


def test_the_generator_makes_what_the_rotator_does_not(store, secret, rotator):
    store.ctl("rotation", secret, "--generate", "hex:16")
    rotator.does("create", "exit 0")
    store.ctl("rotate", secret)
    value = store.get(secret)
    assert re.fullmatch(b"[0-9a-f]{16}", value)
    assert rotator.calls()[1] == ("set", secret, "2", "first-value", value.decode())


def test_a_create_that_makes_nothing_fails(store, secret, rotator):
    rotator.does("create", "exit 0")
    line = store.refuses(FAILED, "rotate", secret)
    assert "made no value" in line and "--generate" in line
    assert state(store) == (b"first-value", None, "create")
    rotator.does("create", None)
    store.ctl("rotate", secret)
    assert rotator.steps() == ["create", "create", *STEPS[1:]]


def test_values_of_every_size_come_through_whole(store, secret, rotator):
    big = os.urandom(1 << 20)
    store.put(secret, big)
    (rotator.folder / "big").write_bytes(big[::-1])
    rotator.write(
        f"#!/bin/sh\ncat <&3 > {rotator.folder}/old.$1\n"
        f"if [ $1 = create ]; then cat {rotator.folder}/big >&4\n"
        f"else cat <&4 > {rotator.folder}/new.$1; fi\n"
    )
    store.ctl("rotate", secret)
    for step in STEPS:
        assert (rotator.folder / f"old.{step}").read_bytes() == big
    for step in STEPS[1:]:
        assert (rotator.folder / f"new.{step}").read_bytes() == big[::-1]
    assert store.get(secret) == big[::-1]
    (rotator.folder / "big").write_bytes(big + b"1")
    assert "more than 1 MiB" in store.refuses(FAILED, "rotate", secret)
    assert state(store) == (big[::-1], None, "create")


def test_values_that_nobody_reads_hurt_nobody(store, secret, rotator):
    store.put(secret, b"x" * 100_000)
    rotator.write("#!/bin/sh\n[ $1 != create ] || printf second-value >&4\n")
    store.ctl("rotate", secret)
    assert store.get(secret) == b"second-value"


def test_a_revoked_value_is_not_given_to_a_rotator(store, secret, rotator):
    store.ctl("revoke", secret)
    store.ctl("rotate", secret)
    assert {call[3] for call in rotator.calls()} == {"none"}
    assert store.get(secret) == b"new-value-2"


# ---- what fails, and goes on


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_is_gone_on_with(store, secret, rotator, step):
    before = STEPS[: STEPS.index(step)]
    after = STEPS[STEPS.index(step) :]
    current = b"new-value-2" if step == "finish" else b"first-value"
    number = None if step == "create" else 2
    rotator.does(step, "echo no luck >&2; exit 7")
    for attempt in range(2):
        done = run(store.argv("rotate", "--json", secret), status=FAILED, env=QUICK)
        said, line = done.stderr.decode().splitlines()
        assert said == f"secretctl: rotate '{secret}': example: {step}: no luck"
        assert f"exit status 7 in the step '{step}'" in line and "--drop" in line
        made = [{"path": secret, "version": 2}] if step == "finish" and not attempt else []
        assert json.loads(done.stdout) == made
        assert rotator.steps() == ([step] if attempt else [*before, step])
        assert state(store) == (current, number, step)
    text = store.ctl("rotation", secret).decode()
    assert re.search(rf"^step: +{step}" + (" of version 2" if number else ""), text, re.MULTILINE)
    assert f"in the step '{step}'".encode() in store.ctl("show", secret)
    rotator.does(step, None)
    store.ctl("rotate", secret)
    # Whoever asks for a rotation gets one: what had only to be finished is, and another made.
    assert rotator.steps() == (["finish", *STEPS] if step == "finish" else after)
    number = 3 if step == "finish" else 2
    assert state(store) == (f"new-value-{number}".encode(), None, None)


@pytest.mark.parametrize("step", STEPS)
def test_what_is_dropped_begins_anew(store, secret, rotator, step):
    rotator.does(step, "exit 1")
    fails(store, secret)
    current = store.get(secret)
    store.ctl("rotate", "--drop", secret)
    assert state(store) == (current, None, None)
    rotator.does(step, None)
    rotator.calls()
    store.ctl("rotate", secret)
    assert rotator.steps() == STEPS
    assert store.get(secret) == (b"new-value-2" if step == "create" else b"new-value-3")
    assert len(store.json("versions", secret)) == (2 if step == "create" else 3)


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_secretctl_has_kept_its_step(store, secret, rotator, step):
    rotator.does(step, f"touch {rotator.folder}/here; exec sleep {LONG}")
    running = spawn(store.argv("rotate", secret), env=QUICK)
    eventually(rotator.reached)
    running.kill()
    assert end(running) == -signal.SIGKILL
    pgrep = ["pgrep", "-fx", f"sleep {LONG}"]
    [child] = eventually(lambda: run(pgrep, status=None).stdout.split())
    os.kill(int(child), signal.SIGKILL)
    assert state(store)[2] == step
    rotator.does(step, None)
    rotator.calls()
    store.ctl("rotate", secret)
    assert rotator.steps()[0] == step
    store.ctl("check")


# Somebody who checks values: those in a file are accepted.
CHECKED = """#!/bin/sh
cd {folder} && old=$(cat <&3) || exit 9
[ "$1" = create ] || new=$(cat <&4)
case $1 in
create) printf value-of-%s "$SECRETFS_VERSION" >&4 ;;
set) printf '%s\n%s\n' "$old" "$new" > accepted.new ;;
test) grep -qx -e "$new" accepted ;;
finish) printf '%s\n' "$new" > accepted.new ;;
esac || exit
[ ! -e accepted.new ] || mv accepted.new accepted
"""


def test_wherever_secretctl_is_killed_the_current_value_is_accepted(
    store, secret, rotator, mount, measured
):
    rotator.write(CHECKED.format(folder=rotator.folder))
    accepted = rotator.folder / "accepted"
    accepted.write_text("first-value\n")
    path = mount().path / secret
    steps, duration = [], 0
    for number in range(KILLS + 1):
        started = time.monotonic()
        running = spawn(store.argv("rotate", secret), env=QUICK)
        if number:
            time.sleep(random.uniform(0, 1.1) * duration)
            running.kill()
        status = end(running)
        duration = duration or time.monotonic() - started
        # A step that has begun, or is about to, goes on; the next run has to find it ended.
        begun = ["pgrep", "-f", f"secretctl.*{store.path}|{rotator.path}"]
        eventually(lambda argv=begun: run(argv, status=None).returncode)
        value = store.get(secret)
        eventually(lambda: path.read_bytes() == value)
        assert value.decode() in accepted.read_text().split()
        assert status in (0, -signal.SIGKILL)
        steps.append(store.json("rotation", secret)["step"])
        assert status or steps[-1] is None, "said to be done, and is not"
    store.ctl("rotate", secret)
    value = store.get(secret)
    assert accepted.read_text() == value.decode() + "\n" and state(store) == (value, None, None)
    store.ctl("check")
    found = {step or "before or after": steps[1:].count(step) for step in set(steps)}
    measured(f"killed {KILLS} times, in the steps {found}")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_secretctl_takes_the_rotator_with_it(store, secret, rotator, signum):
    rotator.does("set", f"sleep 60 & echo $! > {rotator.folder}/pid; touch {rotator.folder}/here; wait")
    running = spawn(store.argv("rotate", secret), env=QUICK, stderr=subprocess.PIPE)
    eventually(rotator.reached)
    running.send_signal(signum)
    assert end(running) == -signum
    assert "interrupted" in one_line(running.stderr.read(), "secretctl")
    pid = (rotator.folder / "pid").read_text().strip()
    eventually(lambda: gone(pid))
    assert state(store) == (b"first-value", 2, "set")


def gone(pid):
    try:
        return " Z " in open(f"/proc/{pid}/stat", encoding="utf-8").read()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_step_that_takes_too_long_ends_with_all_it_has_started(store, secret, rotator):
    store.ctl("rotation", secret, "--timeout", "1s")
    rotator.does("test", f"trap '' TERM; sleep 60 & echo $! > {rotator.folder}/pid; wait")
    begun = time.monotonic()
    line = fails(store, secret)
    assert "longer than 1 s in the step 'test'" in line
    assert 1 <= time.monotonic() - begun < 30
    eventually(lambda: gone((rotator.folder / "pid").read_text().strip()))
    assert state(store) == (b"first-value", 2, "test")


def test_nothing_that_a_rotator_leaves_behind_goes_on(store, secret, rotator):
    rotator.does("create", f"sleep 60 & echo $! > {rotator.folder}/pid")
    store.ctl("rotate", secret)
    eventually(lambda: gone((rotator.folder / "pid").read_text().strip()))
    assert store.get(secret) == b"new-value-2"


def test_a_rotator_that_a_signal_ends_has_failed(store, secret, rotator):
    rotator.does("set", "kill -ABRT $$")
    assert "signal 6 (Aborted) in the step 'set'" in store.refuses(FAILED, "rotate", secret)


def test_a_program_that_can_not_start_has_failed(store, secret, rotator):
    rotator.write("#!/no/such/interpreter\n")
    line = store.refuses(FAILED, "rotate", secret)
    assert "can't be started" in line and str(rotator.path) in line
    assert state(store) == (b"first-value", None, "create")


# ---- its output


def test_output_is_repeated_without_the_values(store, secret, rotator):
    store.put(secret, b"old-value-of-some-length\n")
    (rotator.folder / "long").write_text("y" * 100)
    rotator.does("create", "echo made new-value-$SECRETFS_VERSION; printf 'no newline'")
    rotator.does("set", 'echo "has <$old> and <$new>"; echo "\033[1mpart: of-some-length" >&2')
    rotator.does("finish", "yes 0123456789 | head -n 2000")
    done = run(store.argv("rotate", secret), env=QUICK)
    lines = done.stderr.decode().splitlines()
    start = f"secretctl: rotate '{secret}': example: "
    assert lines[:4] == [
        start + "create: made ***",
        start + "create: no newline",
        start + "set: has <***> and <***>",
        start + "set: \\x1b[1mpart: ***",
    ]
    assert set(lines[4:-2]) == {start + "finish: 0123456789"}
    assert lines[-1] == start + "finish: (the rest is left out)"
    assert 8000 < sum(len(line) - len(start + "finish:") for line in lines[4:]) < 8400


def test_output_with_a_value_too_short_to_be_masked_is_left_out(store, secret, rotator):
    store.put(secret, b"abc")
    rotator.does("test", "echo $old")
    done = run(store.argv("rotate", secret), env=QUICK)
    assert b"abc" not in done.stderr and b"too short" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# ---- what may run


def distrusted(store, secret, rotator, reason):
    line = store.refuses(FAILED, "rotate", secret)
    assert reason in line and "ROTATORS in secretctl(1)" in line, line
    assert rotator.calls() == []
    store.ctl("rotate", "--drop", secret)


def test_a_program_that_others_can_change_is_refused(store, secret, rotator):
    os.chown(rotator.path, 4242, 0)
    distrusted(store, secret, rotator, "does not belong to root")
    os.chown(rotator.path, 0, 0)
    for mode in (0o775, 0o757):
        rotator.path.chmod(mode)
        distrusted(store, secret, rotator, "can write to it")
    rotator.path.chmod(0o4755)
    distrusted(store, secret, rotator, "set-user-ID")
    rotator.path.chmod(0o644)
    distrusted(store, secret, rotator, "not executable")
    rotator.path.unlink()
    distrusted(store, secret, rotator, "No such file")
    rotator.path.symlink_to("/bin/true")
    distrusted(store, secret, rotator, "not a regular file")
    rotator.path.unlink()
    os.mkfifo(rotator.path, 0o755)
    distrusted(store, secret, rotator, "not a regular file")


def test_a_folder_that_others_can_change_is_refused(store, secret, rotator):
    place = rotator.path.parent
    for directory in (place, place.parent, place.parent.parent):
        for mode in (0o775, 0o757, 0o1777):
            directory.chmod(mode)
            distrusted(store, secret, rotator, f"'{directory}': its group or others can write")
        directory.chmod(0o755)
        os.chown(directory, 4242, 4242)
        distrusted(store, secret, rotator, f"'{directory}': it does not belong to root")
        os.chown(directory, 0, 0)
    place.symlink_to(place.rename(place.with_name("moved")))
    distrusted(store, secret, rotator, f"'{place}': it is no directory")
    place.unlink()
    distrusted(store, secret, rotator, f"'{place}': No such file")


def test_no_variable_chooses_the_folder(store, secret, rotator):
    env = {**QUICK, "SECRETFS_ROTATORS": "/tmp", "HOME": "/tmp", "PATH": "/tmp"}
    run(store.argv("rotate", secret), env=env)
    assert rotator.steps() == STEPS


def test_a_plain_user_runs_a_rotator_with_his_own_rights(store, secret, rotator):
    for path in [store.folder, rotator.folder, store.key, *store.files(), *store.records()]:
        os.chown(path, 4242, 4242)
    rotator.does("set", f"id -u > {rotator.folder}/uid")
    run(store.argv("rotate", secret), env=QUICK, **identity(4242))
    assert (rotator.folder / "uid").read_text() == "4242\n"
    assert store.get(secret) == b"new-value-2"


# ---- others who change the same


def ctl_line(store, *args):
    words = " ".join(str(word) for word in store.argv(*args))
    return f"ASAN_OPTIONS=detect_leaks=0 {words} </dev/null"


CHANGES = {
    "put": ["put", "db/a", "--generate", "uuid"],
    "rm": ["rm", "db/a"],
    "rotation": ["rotation", "db/a", "--timeout", "5s"],
}


@pytest.mark.parametrize("step", STEPS)
def test_what_is_changed_meanwhile_is_not_overwritten(store, secret, rotator, step):
    """The rotator changes it itself, which needs the store's lock: nobody holds it."""
    rotator.does(step, ctl_line(store, "put", secret, "--generate", "uuid"))
    assert f"changed while its rotator was in the step '{step}'" in fails(store, secret)
    value = store.get(secret)
    assert len(value) == 36
    rotator.does(step, None)
    rotator.calls()
    assert "its versions were changed" in fails(store, secret)
    assert rotator.calls() == []
    store.ctl("rotate", "--drop", secret)
    assert store.get(secret) == value
    store.ctl("rotate", secret)
    assert rotator.steps() == STEPS and store.get(secret).startswith(b"new-value-")


def test_what_is_removed_meanwhile_stays_removed(store, secret, rotator):
    rotator.does("set", ctl_line(store, "rm", secret))
    assert "no such path" in fails(store, secret, status=3)
    store.ctl("restore", secret)
    assert state(store) == (b"first-value", 2, "set")


def test_what_is_moved_meanwhile_is_followed(store, secret, rotator):
    rotator.does("set", ctl_line(store, "mv", secret, "b"))
    store.ctl("rotate", secret)
    assert store.get("b") == b"new-value-2"
    assert rotator.calls()[-1] == ("finish", "b", "2", "first-value", "new-value-2")


def test_other_settings_may_change_meanwhile(store, secret, rotator):
    rotator.does("set", ctl_line(store, "rotation", secret, "--timeout", "5s", "--every", "1d"))
    store.ctl("rotate", secret)
    told = store.json("rotation", secret)
    assert (told["timeout"], told["every"], told["step"]) == (5, 86400, None)


def test_a_rotation_in_the_middle_keeps_its_rotator(store, secret, rotator):
    rotator.does("set", "exit 1")
    fails(store, secret)
    for options in (["--off"], ["--rotator", "other"]):
        line = store.refuses(FAILED, "rotation", secret, *options)
        assert "begun and not ended" in line and "--drop" in line
    store.ctl("rotation", secret, "--rotator", "example", "--generate", "uuid")
    assert state(store)[2] == "set"
    store.ctl("rotate", "--drop", secret)
    store.ctl("rotation", secret, "--off")


def test_the_old_value_is_not_finished_off_after_a_rollback(store, secret, rotator):
    rotator.does("finish", "exit 1")
    fails(store, secret)
    store.ctl("rollback", secret)
    rotator.does("finish", None)
    rotator.calls()
    assert "its versions were changed" in fails(store, secret)
    assert rotator.calls() == [] and store.get(secret) == b"first-value"


def test_two_at_once_are_refused(store, secret, rotator):
    store.put("b", b"other")
    store.ctl("rotation", "b", "--rotator", "example")
    rotator.does("set", f"touch {rotator.folder}/here; while [ -e {rotator.folder}/here ]; do sleep 0.01; done")
    running = spawn(store.argv("rotate", secret), env=QUICK)
    eventually(rotator.reached)
    for words in ([secret], ["b"], ["--due"], ["--drop", secret]):
        assert "another run" in store.refuses(FAILED, "rotate", *words)
    (rotator.folder / "here").unlink()
    assert end(running) == 0
    assert state(store) == (b"new-value-2", None, None)


# ---- what is due


def test_due_goes_on_with_what_has_begun_and_past_what_fails(store, secret, rotator):
    for path in ("b", "c", "d"):
        store.put(path, b"first-value")
    for path in ("b", "c"):
        store.ctl("rotation", path, "--rotator", "example", "--every", "1s")
    store.ctl("rotation", "d", "--rotator", "example", "--every", "30d")
    rotator.does("set", "[ $SECRETFS_PATH = c ] || exit 1")
    fails(store, secret)
    eventually(lambda: all(store.json("rotation", path)["overdue"] for path in "bc"))
    done = run(store.argv("rotate", "--due", "--json"), status=FAILED, env=QUICK)
    assert json.loads(done.stdout) == [{"path": "c", "version": 2}]
    assert sorted(re.findall(r"'(b|db/a)'", done.stderr.decode())) == ["b", "db/a"]
    rotator.does("set", None)
    store.ctl("rotation", "c", "--every", "1d")
    assert [node["path"] for node in store.json("rotate", "--due")] == ["db/a", "b"]
    assert state(store)[0] == state(store, "b")[0] == b"new-value-2"


def test_due_finishes_and_begins_no_other(store, secret, rotator):
    store.ctl("rotation", secret, "--every", "30d")
    rotator.does("finish", "exit 1")
    fails(store, secret)
    rotator.does("finish", None)
    rotator.calls()
    assert store.json("rotate", "--due") == []
    assert rotator.steps() == ["finish"]
    assert state(store) == (b"new-value-2", None, None)


# ---- mounts


def test_the_new_value_is_shown_before_the_old_one_is_finished_off(store, secret, rotator, mount):
    served = mount()
    path = served.path / secret
    for step in STEPS:
        rotator.does(step, f"cp {path} {rotator.folder}/seen.{step}")
    assert path.read_bytes() == b"first-value"
    store.ctl("rotate", secret)
    seen = [(rotator.folder / f"seen.{step}").read_text() for step in STEPS]
    assert seen == ["first-value"] * 3 + ["new-value-2"]


def test_a_mount_that_does_not_confirm_keeps_the_old_value_alive(store, secret, rotator, mount):
    served = mount()
    rotator.does("test", f"kill -STOP {served.process.pid}")
    try:
        assert "it is committed" in fails(store, secret, status=UNCONFIRMED)
        assert rotator.steps() == STEPS[:3]
    finally:
        served.process.send_signal(signal.SIGCONT)
    assert state(store)[2] == "finish"
    rotator.does("test", None)
    store.ctl("rotate", "--due")
    assert rotator.steps() == ["finish"]
    assert (served.path / secret).read_bytes() == b"new-value-2"
