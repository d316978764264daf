"""Rotation by the secret's own generator: what is set, what is due, and runs over all that is due."""

import calendar
import fcntl
import os
import random
import re
import signal
import subprocess
import time

import pytest

from harness import (
    FAILED,
    NOT_FOUND,
    QUICK,
    SECRETCTL,
    UNCONFIRMED,
    USAGE,
    Store,
    end,
    eventually,
    freeze,
    identity,
    one_line,
    run,
    spawn,
)

KILLS = int(os.environ.get("SECRETFS_ROTATE_KILLS", "10"))  # of runs in the middle; 30 is the long form


def seconds(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def policy(store, path):
    told = store.json("rotation", path)
    return told["every"], told["generator"]


def version(store, path):
    return store.json("show", path)["version"]


def versions(store):
    return {node["path"]: node["version"] for node in store.json("ls", "-R") if node["version"]}


def generation(store):
    return store.json("status")["generation"]


def rotated(store, *paths, every="1s", generator="alnum:20"):
    """New secrets of that policy."""
    for path in paths:
        store.put(path, b"first", "-p")
        store.ctl("rotation", path, "--every", every, "--generate", generator)


def all_due(store, *paths):
    eventually(lambda: all(store.json("rotation", path)["overdue"] for path in paths))


# ---- rotation: what is set


def test_what_is_set_is_told(store):
    store.put("dir/a", b"first", "-p")
    assert policy(store, "dir/a") == (None, None)
    assert store.json("show", "dir/a")["rotation"] is None
    assert b"rotation" not in store.ctl("show", "dir/a")
    assert store.ctl("rotation", "dir/a", "--every", "30d", "--generate", "password:24") == b""
    told = store.json("rotation", "/dir//a")
    assert (told["path"], told["every"], told["generator"]) == ("dir/a", 30 * 86400, "password:24")
    assert seconds(told["due"]) - seconds(told["rotated"]) == 30 * 86400
    assert told["rotated"] == store.json("versions", "dir/a")[0]["created"]
    assert told["overdue"] is False
    shown = store.json("show", "dir/a")["rotation"]
    assert shown == {name: value for name, value in told.items() if name != "path"}
    text = store.ctl("rotation", "dir/a").decode()
    for line in (r"path: +dir/a", r"every: +30d", r"generator: +password:24", r"rotated: +\d.*",
                 r"due: +\d.*"):
        assert re.search(f"^{line}$", text, re.MULTILINE), (line, text)
    assert re.search(r"^rotation: +every 30d, password:24, due \d", store.ctl("show", "dir/a").decode(),
                     re.MULTILINE)


def test_each_option_leaves_the_other_as_it_is(store):
    store.put("a", b"first")
    store.ctl("rotation", "a", "--generate", "uuid")
    assert policy(store, "a") == (None, "uuid")
    assert b"every:       never" in store.ctl("rotation", "a")
    assert b"only by hand, uuid" in store.ctl("show", "a")
    store.ctl("rotation", "a", "--every", "12h")
    assert policy(store, "a") == (12 * 3600, "uuid")
    assert store.json("rotation", "a", "--generate", "hex:8")["generator"] == "hex:8"
    assert policy(store, "a") == (12 * 3600, "hex:8")
    store.ctl("rotation", "a", "--off")
    assert policy(store, "a") == (None, None)
    assert store.json("show", "a")["rotation"] is None


def test_setting_the_same_again_commits_nothing(store):
    rotated(store, "a")
    before = generation(store)
    store.ctl("rotation", "a", "--every", "1s", "--generate", "alnum:20")
    store.ctl("rotation", "a")
    assert generation(store) == before


def test_a_policy_stays_with_its_secret(store):
    rotated(store, "a", every="1h", generator="uuid")
    store.put("a", b"second")
    store.ctl("mv", "a", "b")
    store.ctl("rm", "b")
    store.ctl("restore", "b")
    assert policy(store, "b") == (3600, "uuid")


DURATIONS = {
    "1s": 1, "90s": 90, "15m": 900, "12h": 43200, "1d12h": 129600, "1w": 604800,
    "030d": 2592000, "3650d": 315360000,
}


@pytest.mark.parametrize("text", DURATIONS)
def test_durations(store, text):
    store.put("a", b"first")
    assert store.json("rotation", "a", "--every", text)["every"] == DURATIONS[text]


@pytest.mark.parametrize(
    "text",
    ["", "0s", "30", "d", "-1d", "+1d", "1.5h", "1 d", "12h1d", "1dd", "3651d", "87601h", "9" * 30 + "s"],
)
def test_a_wrong_duration_is_refused(store, text):
    store.put("a", b"first")
    assert "--every" in store.refuses(USAGE, "rotation", "a", "--every", text)
    assert policy(store, "a") == (None, None)


@pytest.mark.parametrize("spec", ["", "words:3", "hex", "hex:0", "uuid:4", "hex:" + "0" * 61 + "8"])
def test_a_wrong_generator_is_refused(store, spec):
    store.put("a", b"first")
    assert "--generate" in store.refuses(USAGE, "rotation", "a", "--generate", spec)
    assert policy(store, "a") == (None, None)


def test_what_can_not_be_rotated_has_no_policy(store):
    store.ctl("mkdir", "dir")
    for options in ([], ["--every", "1d"], ["--off"]):
        store.refuses(FAILED, "rotation", "dir", *options)
        store.refuses(NOT_FOUND, "rotation", "nothing", *options)
    store.put("a", b"first")
    store.refuses(USAGE, "rotation", "a", "--off", "--every", "1d")
    store.refuses(USAGE, "rotation", "a", "--off", "--generate", "uuid")
    store.refuses(USAGE, "rotation", "a", "b")


# ---- rotate: secrets that are named


def test_rotate_makes_a_version_by_the_generator(store):
    rotated(store, "a", "dir/b", every="30d", generator="hex:16")
    assert store.ctl("rotate", "a") == b""
    value = store.get("a")
    assert re.fullmatch(rb"[0-9a-f]{16}", value)
    assert store.get("a", "--label", "previous") == b"first"
    assert store.json("rotate", "/a", "dir//b") == [
        {"path": "a", "version": 3},
        {"path": "dir/b", "version": 2},
    ]
    assert store.get("a") != value
    told = store.json("rotation", "a")
    assert told["rotated"] == store.json("versions", "a")[0]["created"]


def test_a_value_that_is_the_same_by_chance_is_a_version(store):
    rotated(store, "a", generator="digits:1")
    for number in range(2, 30):
        assert store.json("rotate", "a") == [{"path": "a", "version": number}]


def test_a_secret_without_a_generator_is_not_rotated(store):
    store.put("a", b"first")
    store.ctl("rotation", "a", "--every", "1s")
    before = generation(store)
    line = store.refuses(FAILED, "rotate", "a")
    assert "'a'" in line and "generator" in line and "secretctl rotation" in line
    assert generation(store) == before


def test_rotate_goes_on_after_one_that_fails(store):
    rotated(store, "a", "c")
    store.put("b", b"no generator")
    store.ctl("mkdir", "dir")
    done = run(store.argv("rotate", "--json", "a", "b", "nothing", "dir", "c"), status=FAILED)
    lines = done.stderr.decode().splitlines()
    assert [re.search("'(.*?)'", line)[1] for line in lines] == ["b", "nothing", "dir"]
    assert re.findall(rb'"path": "(.)"', done.stdout) == [b"a", b"c"]
    assert versions(store) == {"a": 2, "b": 1, "c": 2}
    store.refuses(NOT_FOUND, "rotate", "nothing")
    store.refuses(FAILED, "rotate", "dir")


def test_rotate_takes_paths_or_due(store):
    rotated(store, "a")
    store.refuses(USAGE, "rotate", "--due", "a")
    store.refuses(USAGE, "rotate")


# ---- rotate --due


def test_a_run_rotates_what_is_due_and_nothing_else(store):
    assert store.json("rotate", "--due") == []
    rotated(store, "later", every="1h")
    rotated(store, "due", "dir/due", "gone")
    store.put("hand", b"first")
    store.ctl("rotation", "hand", "--generate", "uuid")
    store.put("plain", b"first")
    store.ctl("rm", "gone")
    all_due(store, "due", "dir/due")
    assert b"overdue:" in store.ctl("rotation", "due")
    assert b"overdue since" in store.ctl("show", "due")
    store.ctl("rotation", "due", "--every", "1h")
    assert store.json("rotate", "--due") == [{"path": "dir/due", "version": 2}]
    assert versions(store) == {"later": 1, "due": 1, "dir/due": 2, "hand": 1, "plain": 1}
    store.ctl("rotation", "dir/due", "--every", "1h")
    before = generation(store)
    assert store.ctl("rotate", "--due") == b""
    assert generation(store) == before, "a run with nothing to do commits nothing"
    store.ctl("restore", "gone")
    assert store.json("rotate", "--due") == [{"path": "gone", "version": 2}]


def test_a_secret_that_was_rolled_back_is_as_old_as_its_version(store):
    rotated(store, "a", every="3s")
    first = store.json("rotation", "a")["rotated"]
    eventually(lambda: store.json("rotation", "a")["overdue"])
    assert store.json("rotate", "--due") == [{"path": "a", "version": 2}]
    assert store.json("rotation", "a")["overdue"] is False
    store.ctl("rollback", "a")
    told = store.json("rotation", "a")
    assert (told["rotated"], told["overdue"]) == (first, True)


def test_one_that_fails_does_not_stop_the_rest(store):
    rotated(store, "a", "b", "c")
    store.ctl("rotation", "b", "--off")
    store.ctl("rotation", "b", "--every", "1s")
    all_due(store, "a", "b", "c")
    done = run(store.argv("rotate", "--due", "--json"), status=FAILED)
    assert "'b'" in one_line(done.stderr, "secretctl")
    assert re.findall(rb'"path": "(.)"', done.stdout) == [b"a", b"c"]
    assert versions(store) == {"a": 2, "b": 1, "c": 2}


def test_a_mount_shows_each_rotation_when_it_is_done(store, mount):
    store.quick = True
    rotated(store, "a", "dir/b")
    root = mount().path
    for _ in range(5):
        seen = {path: (root / path).read_bytes() for path in ("a", "dir/b")}
        all_due(store, *seen)
        store.ctl("rotate", "--due")
        for path, old in seen.items():
            new = (root / path).read_bytes()
            assert new != old and new == store.get(path)
        store.ctl("rotate", "a")
        assert (root / "a").read_bytes() == store.get("a")


def test_what_was_done_since_the_run_looked_is_not_done_again(store, mount):
    """The run waits at its first secret for a daemon that stands still."""
    store.quick = True
    store.wait = False
    rotated(store, "a")
    rotated(store, "b", "c", "d", every="4s")
    served = mount()
    all_due(store, *"abcd")
    freeze(served.process.pid)
    try:
        argv = [SECRETCTL, "--store", store.path, *store.unlock, "rotate", "--due"]
        running = spawn(argv, env=QUICK)
        eventually(lambda: version(store, "a") == 2)
        store.ctl("rotate", "b")
        store.ctl("rm", "c")
        store.ctl("mv", "d", "e")
    finally:
        served.process.send_signal(signal.SIGCONT)
    assert end(running) == 0
    store.ctl("restore", "c")
    assert versions(store) == {"a": 2, "b": 2, "c": 1, "e": 2}


def test_a_rotation_that_is_not_confirmed_is_done_and_told(store, mount):
    rotated(store, "a")
    served = mount()
    freeze(served.process.pid)
    try:
        done = run(store.argv("rotate", "a", "--json"), status=UNCONFIRMED)
    finally:
        served.process.send_signal(signal.SIGCONT)
    assert b'"version": 2' in done.stdout
    assert "it is committed" in one_line(done.stderr, "secretctl")


# ---- one run at a time


def test_a_run_leaves_the_store_to_one_that_is_at_it(store):
    rotated(store, "a")
    all_due(store, "a")
    lock = store.path.with_name("store.db-rotate")
    with open(lock, "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another run" in store.refuses(FAILED, "rotate", "--due")
        assert version(store, "a") == 1
        store.ctl("rotate", "a")  # by name needs no run
    assert store.json("rotate", "--due") in ([], [{"path": "a", "version": 3}])


def test_three_runs_at_once_rotate_once(folder):
    """In three stores, so that none is due again while its runs are at it."""
    paths = [f"dir/{number}" for number in range(20)]
    stores = []
    for number in range(3):
        (folder / f"{number}").mkdir()
        stores.append(Store.fresh(folder / f"{number}"))
        stores[-1].quick = True
        rotated(stores[-1], *paths, every="10s")
    for store in stores:
        all_due(store, *paths)
        runs = [spawn(store.argv("rotate", "--due"), stderr=subprocess.PIPE) for _ in range(3)]
        statuses = [end(running) for running in runs]
        for running, status in zip(runs, statuses):
            if status:
                assert status == FAILED and b"another run" in running.stderr.read()
        assert 0 in statuses
        assert versions(store) == dict.fromkeys(paths, 2)


def test_the_lock_belongs_to_the_owner_of_the_store(store):
    for path in [store.folder, store.key, store.path]:
        os.chown(path, 4242, 4242)
    store.ctl("rotate", "--due")
    lock = store.path.with_name("store.db-rotate")
    assert (lock.stat().st_uid, lock.stat().st_mode & 0o777, lock.stat().st_size) == (4242, 0o600, 0)
    run(store.argv("rotate", "--due"), **identity(4242))


def test_a_link_in_the_place_of_the_lock_is_not_followed(store, folder):
    target = folder / "elsewhere"
    store.path.with_name("store.db-rotate").symlink_to(target)
    assert "store.db-rotate" in store.refuses(FAILED, "rotate", "--due")
    assert not target.exists()
    target.write_bytes(b"")
    store.refuses(FAILED, "rotate", "--due")


def test_a_killed_run_has_done_whole_rotations_and_the_next_goes_on(store, mount, measured):
    store.quick = True
    paths = [f"dir/{number}" for number in range(6)]
    rotated(store, *paths)
    root = mount().path
    counts = []
    for number in range(3 * KILLS + 1):
        if number > KILLS and any(0 < count < len(paths) for count in counts):
            break
        all_due(store, *paths)
        before = versions(store)
        begun = time.monotonic()
        running = spawn(store.argv("rotate", "--due"), env=QUICK)
        if number:
            time.sleep(random.uniform(0, 1.1) * duration)
            running.kill()
        status = end(running)
        if status == 0:
            duration = time.monotonic() - begun
        after = versions(store)
        steps = [after[path] - before[path] for path in paths]
        assert set(steps) <= {0, 1} and status in (0, -signal.SIGKILL)
        assert status or all(steps), "said to be done, and is not"
        counts.append(sum(steps))
        for path in paths:
            eventually(lambda: (root / path).read_bytes() == store.get(path))
            assert re.fullmatch(rb"[A-Za-z0-9]{20}|first", store.get(path))
    all_due(store, *paths)
    before = versions(store)
    store.ctl("rotate", "--due")
    assert versions(store) == {path: count + 1 for path, count in before.items()}
    store.ctl("check")
    assert counts[0] == len(paths) and any(0 < count < len(paths) for count in counts), counts
    measured(f"{len(counts) - 1} runs over {len(paths)} due secrets killed after {counts[1:]} rotations")
