"""secretctl may be killed in the middle of any command: all of it is done, or nothing."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

from harness import Store, end, eventually, run, sanitized, spawn

KILLS = int(os.environ.get("SECRETFS_TOOL_KILLS", "40" if sanitized() else "100"))  # 1000: the long form
PATHS = [f"dir{number // 3}/secret{number}" for number in range(9)]
GENERATED = "generated"  # its values are made by `rotate`


def content(number):
    """Tells its number; the size differs from one number to the next."""
    return (b"%d " % number).ljust(20 + number * 6007 % 30000, b"%d" % (number % 10))


def state_of(store):
    """What of a tree a mount shows, with the versions, by path."""
    return {
        entry["path"]: (entry["mode"], entry["version"], entry["size"])
        for entry in store.json("ls", "-R")
    }


def shown_by(served):
    """The same without the versions."""
    found = {}
    for folder, folders, files in os.walk(served.path):
        for name in folders + files:
            path = os.path.join(folder, name)
            status = os.stat(path)
            size = status.st_size if name in files else None
            found[os.path.relpath(path, served.path)] = (f"{status.st_mode & 0o7777:04o}", size)
    return found


def whole_state_of(store):
    """That, the key slots, and how many commits there were."""
    slots = [(slot["id"], slot["kind"]) for slot in store.json("key", "ls")]
    return state_of(store), slots, store.json("check")["generation"]


class Commands:
    """One after the other at random, each of which changes something."""

    def __init__(self, folder):
        self.random, self.number = random.Random(7), 0
        self.value = folder / "value"
        self.key = folder / "another.key"

    def next(self, state):
        state, slots, _ = state
        secrets = sorted(
            path for path, (_, version, _) in state.items() if version and path != GENERATED
        )
        self.number += 1
        self.value.write_bytes(content(self.number))
        rolled = [path for path in secrets if state[path][1] > 1]
        choices = [["put", self.random.choice(PATHS), "-p", "--file", self.value]] * 3
        choices += [["mkdir", "-p", f"made/{self.number}/below"], ["rotate", GENERATED]]
        if len(slots) < 4:
            choices += [["key", "add", "--new-key-file", self.key]]
        else:
            choices += [["key", "rm", slots[-1][0]]]
        choices += [["key", "rekey", "--drop"]]
        if len(secrets) >= 3:
            one, two = self.random.sample(secrets, 2)
            mode = f"{self.number % 0o377 + 1:04o}"  # never that of a new secret
            choices += [["chmod", mode, *secrets], ["rm", one, two]]
            choices += [["mv", one, f"moved{self.number}"]]
        if rolled:
            choices += [["rollback", self.random.choice(rolled)]]
        return self.random.choice(choices)


def copy_of(store, folder):
    """
    The store as SQLite shows it, elsewhere, for what comes of a command that nobody kills. A copied
    log may end with a commit that its writer did not live to announce.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy2(store.key, folder)
    copy = Store(folder)
    with closing(sqlite3.connect(store.path)) as source:
        with closing(sqlite3.connect(copy.path)) as target:
            source.backup(target)
    copy.path.chmod(0o600)
    copy.quick = True
    return copy


def kill_during(store, command, delay):
    """Returns whether the command has said that it is done."""
    process = spawn(store.argv(*command), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    status = end(process)
    assert status in (0, -signal.SIGKILL), (command, status)
    return status == 0


def check_mount(served, state):
    wanted = {path: (mode, size) for path, (mode, _, size) in state.items()}
    eventually(lambda: shown_by(served) == wanted)
    for path, (_, version, size) in state.items():
        if not version:
            continue
        data = (served.path / path).read_bytes()
        if path == GENERATED:
            assert len(data) == size and data.isalnum()
        else:
            assert len(data) == size and data == content(int(data.split(b" ", 1)[0])), path


def test_a_killed_command_is_done_or_is_not(store, mount, folder, measured):
    store.quick = True
    store.put(GENERATED, b"x" * 40)
    store.ctl("rotation", GENERATED, "--generate", "alnum:40")
    served = mount()
    commands = Commands(folder)
    state = whole_state_of(store)
    counts = {"undone": 0, "done, unsaid": 0, "said": 0}
    late = []  # what commands come to that may have written a commit and not announced it
    for _ in range(KILLS):
        command = commands.next(state)
        whole = copy_of(store, folder / "copy")
        begun = time.monotonic()
        run(whole.argv(*command))
        duration = time.monotonic() - begun
        after = whole_state_of(whole)
        assert after != state, command
        said = kill_during(store, command, random.uniform(0, 1.3) * duration)
        found = whole_state_of(store)
        # For a rekey the daemon lets go of the store: who opens it then finds what is in the log.
        assert found in (state, after) or (found in late and "rekey" in command), command
        assert found == after or not said, ("acknowledged and lost", command)
        counts["said" if said else "done, unsaid" if found == after else "undone"] += 1
        late = [*late, after] if found == state else []
        state = found
        check_mount(served, state[0])
    store.ctl("check")
    # A rekey that is killed right after its commit lets a worker begin with the wrong key.
    lines = [line for line in served.log.read_text().splitlines() if "exit status 5" not in line]
    assert all(" serving " in line or "its seal is broken" in line for line in lines), lines
    assert counts["undone"] and counts["said"], counts
    measured(f"{KILLS} commands killed: {counts}")
