"""The record of reads: each is on it before it is answered, once, and so is each refusal."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time

import pytest

from harness import (
    FAILED,
    INTEGRITY,
    ROOT,
    SECRETFS,
    USAGE,
    Child,
    as_user,
    error_of,
    eventually,
    identity,
    kill_if_lives,
    kill_worker,
    one_line,
    run,
    spawn,
    worker_of,
)
from policies import Secrets, for_user, make_nodes, make_users

OPENS = int(os.environ.get("SECRETFS_RECORD_OPENS", "1000"))  # by each reader; 100000 is the long form
READERS = 4

# Where the kernel drops attributes under memory pressure, which the tests of permissions make, a refusal is
# inferred: those that tell refusals from looks run alone.


def record_of(store):
    """The lines of the record so far; a full disk may have left pieces of some."""
    whole = []
    for line in store.audit.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            whole.append(json.loads(line))
    return whole


def lines(store, *events):
    return [line for line in record_of(store) if line["event"] in events]


def opens(store):
    return lines(store, "open")


def read(path):
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def pid_and_read(path):
    return os.getpid(), read(path)


# ---- What a line says -------------------------------------------------------


def test_an_open_is_one_line(store, mount):
    store.put("db/password", b"canary-7613", "-p", "--mode", "0444")
    store.put("db/password", b"canary-7614")
    served = mount()
    pid, value = as_user(20001, 20002, [], pid_and_read, served.path / "db/password")
    assert value == b"canary-7614"
    (line,) = opens(store)
    assert line["path"] == "db/password" and line["version"] == 2 and line["result"] == "ok"
    assert (line["uid"], line["gid"], line["pid"]) == (20001, 20002, pid)
    assert line["executable"] == os.readlink("/proc/self/exe")
    assert abs(time.time() - time.mktime(time.strptime(line["time"][:19], "%Y-%m-%dT%H:%M:%S"))
               + time.timezone) < 100
    assert b"canary" not in store.audit.read_bytes()


def test_who_read_is_seen_from_outside_their_namespaces(store, mount):
    """A pid and a user namespace of their own hide nobody."""
    store.put("a", b"value", "--mode", "0444")
    served = mount()
    argv = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "cat", served.path / "a"]
    assert run(argv, **identity(20001)).stdout == b"value"
    (line,) = opens(store)
    assert line["uid"] == 20001 and line["executable"].endswith("/cat") and line["pid"] > 2


@pytest.mark.alone
def test_looking_is_not_reading(store, mount):
    store.put("d/a", b"value", "-p")
    served = mount()
    for argv in (["ls", "-lR"], ["stat"], ["getfacl", "-R"], ["find"]):
        run([*argv, served.path])
    assert lines(store, "open", "denied") == []


def test_the_life_of_the_daemon_is_on_record(store, mount):
    served = mount()
    kill_worker(served)
    eventually(lambda: lines(store, "restart"))
    served.stop()
    assert [line["event"] for line in record_of(store)][-3:] == ["mount", "restart", "unmount"]


def test_an_upgrade_is_no_end(store, mount):
    served = mount()
    store.ctl("upgrade")
    eventually(lambda: lines(store, "restart"))
    assert lines(store, "unmount") == []
    served.stop()
    assert len(lines(store, "unmount")) == 1


def test_revoked_and_expired(store, mount):
    for name in ("revoked", "expired"):
        store.put(name, b"value", "--mode", "0444")
    served = mount()
    held = os.open(served.path / "revoked", os.O_RDONLY)
    store.ctl("revoke", "revoked")
    store.ctl("expire", "expired", "2001-01-01T00:00:00Z")
    assert error_of(read, served.path / "revoked") == "EKEYREVOKED"
    assert error_of(read, served.path / "expired") == "EKEYEXPIRED"
    assert error_of(os.read, held, 10) == "EKEYREVOKED"
    os.close(held)
    refusals = [(line["event"], line["path"], line["result"]) for line in lines(store, "revoked", "expired")]
    revoked, expired = ("revoked", "revoked", "EKEYREVOKED"), ("expired", "expired", "EKEYEXPIRED")
    assert refusals[:3] == [revoked, expired, revoked]
    assert set(refusals[3:]) <= {revoked}  # the kernel may try a page again


# ---- Each once, before it is answered ---------------------------------------


def read_and_look(root, names, count, seed, record):
    """Read at random, and after each read look for its line. Returns the names, and what was not there."""
    chance = random.Random(seed)
    mine = b'"pid":%d,' % os.getpid()
    order, missing, seen = [], [], 0
    position, rest = os.fstat(record).st_size, b""
    for number in range(count):
        name = chance.choice(names)
        with open(f"{root}/{name}", "rb", buffering=0) as file:
            assert file.readall() == name.encode()
        order.append(name)
        while data := os.pread(record, 1 << 16, position):
            position += len(data)
            *whole, rest = (rest + data).split(b"\n")
            seen += sum(mine in line and b'"event":"open"' in line for line in whole)
        if seen != number + 1:
            missing.append((number, seen))
            seen = number + 1
    return os.getpid(), order, missing[:3]


@pytest.mark.alone
@pytest.mark.parametrize("killing", [False, True])
def test_exactly_the_opens_that_were_made(store, mount, measured, killing):
    names = [f"d{n % 3}/s{n}" for n in range(30)]
    store.quick = True
    for name in names:
        store.put(name, name.encode(), "-p", "--mode", "0444")
    served = mount()
    chance = random.Random(7)
    record = os.open(store.audit, os.O_RDONLY)
    readers = [
        Child(read_and_look, served.path, names, OPENS, seed, record, uid=20001 + seed % 3)
        for seed in range(READERS)
    ]
    kills, last = 0, None
    while killing and any(
        os.waitid(os.P_PID, r.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for r in readers
    ):
        worker = worker_of(served)
        if worker and worker != last:
            kill_if_lives(worker)
            last, kills = worker, kills + 1
        time.sleep(chance.random() * 0.05)
    results = [reader.result() for reader in readers]
    os.close(record)
    for seed, (pid, order, missing) in enumerate(results):
        assert missing == [], "a read returned before its line was there"
        recorded = [line for line in opens(store) if line["pid"] == pid]
        assert [line["path"] for line in recorded] == order
        assert {line["uid"] for line in recorded} == {20001 + seed % 3}
    assert not killing or kills > 3
    assert len(opens(store)) == READERS * OPENS
    served.stop()
    store.ctl("audit", "verify")
    measured(f"{READERS} × {OPENS} opens under {kills} kills of the worker: each on record once, in order")


# ---- Refusals ---------------------------------------------------------------


def refusals(store):
    return [(line["uid"], line["path"]) for line in lines(store, "denied")]


@pytest.mark.alone
def test_who_is_refused_is_on_record(store, mount):
    store.put("d/mine", b"value", "-p", "--owner", "20001")
    store.ctl("mkdir", "closed", "--mode", "0700")
    served = mount()
    assert as_user(20002, 20002, [], error_of, read, served.path / "d/mine") == "EACCES"
    assert as_user(20003, 20003, [], error_of, os.listdir, served.path / "closed") == "EACCES"
    assert refusals(store) == [(20002, "d/mine"), (20003, "closed")]
    (first, second) = lines(store, "denied")
    assert first["result"] == "EACCES" and first["version"] == 1 and second["version"] is None
    assert "inferred" not in first and first["executable"]
    as_user(20002, 20002, [], os.stat, served.path / "d/mine")
    run(["ls", "-l", served.path / "d"], **identity(20002))
    run(["stat", served.path / "d/mine", served.path / "closed"], **identity(20002))
    assert len(refusals(store)) == 2
    assert as_user(20001, 20001, [], read, served.path / "d/mine") == b"value"
    assert len(refusals(store)) == 2


@pytest.mark.alone
def test_what_can_not_be_told_from_looking_says_so(store, mount):
    """After a READ the kernel asks again for the time of the last access, whoever calls stat(2)."""
    store.put("a", b"value", "--owner", "20001")
    served = mount()
    assert as_user(20001, 20001, [], read, served.path / "a") == b"value"
    assert as_user(20002, 20002, [], error_of, read, served.path / "a") == "EACCES"
    (line,) = lines(store, "denied")
    assert line["inferred"] is True and line["uid"] == 20002
    assert as_user(20002, 20002, [], error_of, read, served.path / "a") == "EACCES"
    assert "inferred" not in lines(store, "denied")[1]


@pytest.mark.alone
def test_a_listing_drops_the_attributes_of_its_directory(store, mount):
    store.put("closed/a", b"value", "-p")
    store.ctl("chown", "20001", "closed")
    store.ctl("chmod", "0700", "closed")
    closed = mount().path / "closed"
    for inferred in (None, True, None):
        if inferred:
            assert as_user(20001, 20001, [], os.listdir, closed) == ["a"]
        assert as_user(20002, 20002, [], error_of, os.listdir, closed) == "EACCES"
        assert lines(store, "denied")[-1].get("inferred") is inferred
    assert refusals(store) == [(20002, "closed")] * 3


@pytest.mark.alone
def test_a_look_that_could_be_a_refusal_is_inferred(store, mount):
    """By who may not read; others are not refused, whatever the kernel has dropped."""
    store.put("a", b"value", "--owner", "20001")
    served = mount("direct_io")
    for number in range(1, 4):  # with direct_io each read drops them
        assert as_user(20001, 20001, [], read, served.path / "a") == b"value"
        as_user(20001, 20001, [], os.stat, served.path / "a")
        assert as_user(20001, 20001, [], read, served.path / "a") == b"value"
        as_user(20002, 20002, [], os.stat, served.path / "a")
        assert [line["inferred"] for line in lines(store, "denied")] == [True] * number
    as_user(20002, 20002, [], os.stat, served.path / "a")
    assert len(refusals(store)) == 3


def attempts(root, nodes):
    """What each node's open, or listing, came to for the calling user."""
    return {
        node.path: error_of(os.listdir if node.directory else read, f"{root}/{node.path}")
        for node in nodes
    }


def looks(root, nodes):
    return {node.path: error_of(os.stat, f"{root}/{node.path}") for node in nodes}


def by_user(users, function, root, nodes):
    return {user.uid: for_user(user, function, str(root), nodes).result() for user in users}


def is_at_or_above(directory, path):
    return path == directory or path.startswith(f"{directory}/") or directory == "/"


@pytest.mark.alone
def test_every_refusal_and_no_look_is_on_record(store, mount, measured):
    """By 50 users, of 200 nodes with every kind of policy."""
    users, nodes, secrets = make_users(), make_nodes(), Secrets(store)
    for node in nodes:
        secrets.make(node)
    served = mount()
    opened = by_user(users, attempts, served.path, nodes)
    denied = {(line["uid"], line["path"]) for line in lines(store, "denied")}
    refused = {
        (uid, path) for uid, found in opened.items() for path, error in found.items() if error == "EACCES"
    }
    for uid, path in refused:  # itself, or a directory on the way
        assert any(u == uid and is_at_or_above(at, path) for u, at in denied), (uid, path)
    for line in lines(store, "denied"):
        assert "inferred" in line or any(
            uid == line["uid"] and is_at_or_above(line["path"], path) for uid, path in refused
        ), line
    assert len(refused) > 1000

    run(["find", served.path, "-ls"])  # the kernel has all attributes again
    before = len(lines(store, "denied"))
    seen = by_user(users, looks, served.path, nodes)
    for line in lines(store, "denied")[before:]:
        assert "inferred" in line or any(  # what can't be searched hides what is below
            error == "EACCES" and path != line["path"] and is_at_or_above(line["path"], path)
            for path, error in seen[line["uid"]].items()
        ), line
    measured(
        f"{len(users)} users × {len(nodes)} nodes: {len(refused)} refused, each on record;"
        f" {sum(error is None for found in seen.values() for error in found.values())} looks by"
        " stat(2): none on record"
    )


def refused_often(path, count):
    return [error_of(read, path) for _ in range(count)]


def test_a_flood_of_refusals_is_counted(store, mount):
    store.put("a", b"value")
    served = mount()
    assert as_user(20001, 20001, [], refused_often, served.path / "a", 2000) == ["EACCES"] * 2000
    served.stop()
    denied = lines(store, "denied")
    assert sum(line.get("count", 1) for line in denied) == 2000
    assert len(denied) < 500
    assert {line["path"] for line in denied} == {"a"}


def test_a_rule_refuses_and_is_on_record(store, mount):
    store.put("a", b"value")
    served = mount()
    store.ctl("allow", "a", "--exe", "/bin/no-such-program")
    assert error_of(read, served.path / "a") == "EACCES"
    (line,) = lines(store, "denied")
    assert line["path"] == "a" and line["result"] == "EACCES" and "inferred" not in line


# ---- What it is asked ---------------------------------------------------------


def answers_of_the_manual(store):
    """What each command in the manual's answers prints."""
    page = (ROOT / "tools/secretctl.1").read_text()
    section = page.split(".Ss Questions and answers\n")[1].split(".Sh ")[0]
    commands = re.findall(r"^# secretctl (.*)$", section, re.MULTILINE)
    return {words: store.ctl(*words.split()).decode() for words in commands}


def hold(path, told):
    """As a process of its own: open it, say so, and keep it open."""
    file = os.open(path, os.O_RDONLY)
    os.write(told, b"x")
    time.sleep(300)
    return file


def test_the_questions_of_the_manual_are_answered(store, mount):
    store.put("db/password", b"first", "-p", "--owner", "20001")
    served = mount()
    path = served.path / "db/password"
    assert as_user(20002, 20002, [], error_of, read, path) == "EACCES"
    told, telling = os.pipe()
    holder = Child(hold, path, telling, uid=20001)
    os.read(told, 1)
    store.put("db/password", b"second")
    assert as_user(20001, 20001, [], read, path) == b"second"
    assert store.get("db/password") == b"second"

    answers = answers_of_the_manual(store)
    read_by, refused, readers, opened, verified_as = answers.values()
    table = [row.split()[2:7] for row in read_by.splitlines()[1:]]
    assert [(row[0], row[1], row[2], row[4]) for row in table] == [
        ("open", "ok", "20001", "v1"), ("open", "ok", "20001", "v2"), ("get", "ok", "root", "v2"),
    ]
    (row,) = [row.split() for row in refused.splitlines()[1:]]
    assert row[2:5] == ["denied", "EACCES", "20002"] and "db/password," in row
    assert f"hold an older version: {holder.pid}" in readers
    assert [row.split()[6] for row in opened.splitlines()[1:]] == ["v1", "v2"]
    assert verified_as.startswith("the record is as it was written: ") and "no daemon" not in verified_as
    holder.kill()
    os.close(told)
    os.close(telling)


# ---- When it can't be recorded ----------------------------------------------


@pytest.fixture
def small(folder):
    """A tmpfs for the record, which a file fills."""
    place = folder / "small"
    place.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place])
    yield place
    run(["umount", "-l", place])


def fill(place):
    filler = os.open(place / "filler", os.O_WRONLY | os.O_CREAT, 0o600)
    while error_of(os.write, filler, b"x" * 4096) is None:
        pass
    os.close(filler)


def fail_until_full(served):
    eventually(lambda: error_of(read, served.path / "a") == "EIO")


def test_a_full_disk_refuses_reads_until_there_is_room(store, mount, small):
    store.put("a", b"value")
    record = small / "audit.jsonl"
    served = mount(f"audit={record}")
    assert read(served.path / "a") == b"value"
    fill(small)
    fail_until_full(served)
    assert "cannot record, so answer, reads of" in served.log.read_text()
    (small / "filler").unlink()
    assert read(served.path / "a") == b"value"
    assert "are recorded again" in served.log.read_text()
    served.stop()
    store.audit = record
    store.ctl("audit", "verify", "--file", record)
    answered = [line for line in opens(store) if line["result"] == "ok"]
    assert len(answered) >= 2


def test_reads_that_go_on_leave_a_gap_on_record(store, mount, small):
    store.put("a", b"value")
    store.audit = small / "audit.jsonl"
    served = mount(f"audit={store.audit}", "audit_optional")
    fill(small)
    count = 0
    while "cannot record reads of" not in served.log.read_text():
        assert read(served.path / "a") == b"value"
        count += 1
    for _ in range(10):
        assert read(served.path / "a") == b"value"
    count += 10
    (small / "filler").unlink()
    assert read(served.path / "a") == b"value"
    (gap,) = lines(store, "gap")
    assert gap["count"] >= 10 and len(opens(store)) + gap["count"] == count + 1
    served.stop()
    store.ctl("audit", "verify", "--file", store.audit)


def test_a_removed_file_refuses_reads_until_there_is_one(store, mount):
    store.put("a", b"value")
    served = mount()
    assert read(served.path / "a") == b"value"
    store.audit.unlink()
    assert error_of(read, served.path / "a") == "EIO"
    assert "the record's file was removed; make one" in served.log.read_text()
    run(["touch", store.audit])
    store.audit.chmod(0o600)
    assert eventually(lambda: read(served.path / "a")) == b"value"
    assert len(opens(store)) == 1


def test_a_rotated_file(store, mount):
    """logrotate(8) moves it, and tells the daemon."""
    store.put("a", b"value")
    served = mount()
    assert read(served.path / "a") == b"value"
    before = store.audit.rename(f"{store.audit}.1")
    assert read(served.path / "a") == b"value"  # still in the old one
    served.process.send_signal(signal.SIGUSR1)
    eventually(store.audit.exists)

    def in_new_file():
        read(served.path / "a")
        return opens(store)

    eventually(in_new_file)
    assert before.read_text().count('"event":"open"') >= 2
    served.stop()
    store.ctl("audit", "verify")


def test_a_file_that_others_may_write_is_refused(store, folder):
    store.audit.touch()
    for mode in (0o666, 0o620):
        store.audit.chmod(mode)
        done = run([SECRETFS, "-o", f"key_file={store.key}", store.path, folder], status=FAILED)
        assert "record" in one_line(done.stderr, "secretfs")


def test_options(store, mount, folder):
    for option in ("audit_sync=never", "audit_sync", "audit="):
        done = run([SECRETFS, "-o", option, store.path, folder], status=USAGE)
        assert "audit" in one_line(done.stderr, "secretfs")


# ---- Lines that are cut off the end -----------------------------------------


def read_and_cut(store, served, count):
    """Let `count` lines disappear behind the store's last commit."""
    for _ in range(count + 1):
        read(served.path / "a")
    whole = store.audit.read_bytes().splitlines(True)
    store.audit.write_bytes(b"".join(whole[:-count]))
    return len(whole) - count


def verified(store, status=0):
    return json.loads(run(store.argv("audit", "verify", "--json"), status=status).stdout)


def test_a_daemon_tells_how_far_the_record_goes(store, mount):
    store.put("a", b"value")
    first, second = mount(), mount()  # of two, one may know of more
    assert read(second.path / "a") == b"value"
    assert verified(store)["daemons"] == 2 and b"no daemon" not in store.ctl("audit", "verify")
    last = read_and_cut(store, first, 2)
    report = verified(store, INTEGRITY)
    assert (report["flaw"], report["line"], report["missing"]) == ("cut", last, 2)
    assert f"2 lines are missing behind line {last}" in store.refuses(INTEGRITY, "audit", "verify")
    kill_worker(first)  # which does not change what was known
    assert verified(store, INTEGRITY)["flaw"] in ("cut", "missing")


def test_without_a_daemon_nobody_knows(store, mount):
    store.put("a", b"value")
    served = mount()
    served.killed()
    assert verified(store)["daemons"] == 0
    assert b"no daemon tells how far it goes" in store.ctl("audit", "verify")


def test_a_daemon_with_another_record_tells_nothing_of_this_one(store, mount, folder):
    store.put("a", b"value")
    elsewhere = folder / "elsewhere.jsonl"
    served = mount(f"audit={elsewhere}")
    for _ in range(3):
        read(served.path / "a")
    assert verified(store)["daemons"] == 0
    report = json.loads(store.ctl("audit", "verify", "--json", "--audit", folder / "." / elsewhere.name))
    assert report["daemons"] == 1
    store.audit = elsewhere
    read_and_cut(store, served, 1)
    store.refuses(INTEGRITY, "audit", "verify", "--audit", elsewhere)
    store.ctl("audit", "verify", "--file", elsewhere)  # a copy somewhere has an end of its own


# ---- Durable, or none -------------------------------------------------------


@contextlib.contextmanager
def traced(store, served, *more):
    """The system calls by which the worker writes and syncs: a list that is filled at the end."""
    calls, file = [], store.folder / "trace"
    words = ["-e", "trace=fdatasync,writev,write", *more]
    argv = ["strace", "-f", *words, "-p", worker_of(served), "-o", file]
    trace = spawn(argv, stderr=subprocess.PIPE)
    assert b"attached" in trace.stderr.readline()
    yield calls
    trace.send_signal(signal.SIGINT)
    trace.wait()
    calls.extend(file.read_text().splitlines())


def test_each_line_is_durable_before_the_answer(store, mount):
    store.put("a", b"value")
    served = mount("audit_sync=open")
    with traced(store, served) as calls:
        assert read(served.path / "a") == b"value"
    line = next(n for n, call in enumerate(calls) if '"time\\' in call)
    assert "fdatasync" in calls[line + 1] and "= 0" in calls[line + 1]


def test_readers_that_come_together_share_a_sync(store, mount, measured):
    readers, each = 16, 20
    store.put("a", b"value", "--mode", "0444")
    served = mount("audit_sync=open", f"workers={readers}")
    with traced(store, served, "-e", "inject=fdatasync:delay_enter=20000") as calls:  # a slow disk
        children = [
            Child(lambda: [read(served.path / "a") for _ in range(each)]) for _ in range(readers)
        ]
        assert all(child.result() == [b"value"] * each for child in children)
    assert len(opens(store)) == readers * each
    syncs = sum("fdatasync(" in call for call in calls)
    assert 0 < syncs < 0.3 * readers * each
    measured(f"{readers} readers, {readers * each} opens, each durable before its answer, a sync takes 20 ms: {syncs} fdatasync(2)")


def test_rules_need_each_open(store, mount, folder):
    """Without a record there are no opens to judge: refused at the mount, and where they come later."""
    store.put("a", b"value")
    store.put("b", b"value")
    served = mount("audit=none")
    assert read(served.path / "a") == b"value"
    store.ctl("allow", "a", "--exe", os.readlink("/proc/self/exe"))
    assert error_of(read, served.path / "a") == "EACCES"
    assert read(served.path / "b") == b"value"
    served.stop()
    argv = [SECRETFS, "-o", f"key_file={store.key},audit=none", store.path, folder / "mnt0"]
    line = one_line(run(argv, status=FAILED).stderr, "secretfs")
    assert "it has rules for units or executables" in line
    assert read(mount().path / "a") == b"value"


def test_without_a_record_what_is_cached_is_read_without_the_daemon(store, mount):
    store.put("a", b"value", "--mode", "0444")
    served = mount("audit=none", "debug")
    assert read(served.path / "a") == b"value"
    store.put("a", b"rotated")
    for _ in range(2):
        assert read(served.path / "a") == b"rotated"
    before = served.requests()
    for _ in range(10):
        assert read(served.path / "a") == b"rotated"
    assert served.requests() == before
    store.ctl("revoke", "a")
    assert error_of(read, served.path / "a") == "EKEYREVOKED"
    kill_worker(served)
    store.put("a", b"third")
    assert read(served.path / "a") == b"third"
    served.stop()
    assert lines(store, "open", "mount", "unmount", "restart") == []
