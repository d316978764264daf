"""The record of who read and changed what: what secretctl writes to it, shows, verifies and sums up."""

import json
import os
import resource
import subprocess
import time
from datetime import datetime, timezone

import pytest

from harness import (
    FAILED,
    INTEGRITY,
    NOT_FOUND,
    QUICK,
    SECRETCTL,
    USAGE,
    end,
    eventually,
    identity,
    one_line,
    run,
    spawn,
)

VALUE = b"canary-value-41d07c"
UID = 4242


@pytest.fixture(autouse=True)
def quick(store):
    store.quick = True


@pytest.fixture
def record(store):
    """The record's file."""
    return store.audit


@pytest.fixture
def disk(store):
    """A small file system of its own, for the record alone."""
    place = store.folder / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def told(store):
    """What the record says: event, path, version, result, detail."""
    return [
        (e["event"], e["path"], e["version"], e["result"], e.get("detail")) for e in store.record()
    ]


def fill(store, count=6):
    store.put("a", VALUE)
    for _ in range(count - 1):
        store.get("a")


# ---- What is recorded ----------------------------------------------------------------------------


def test_each_command_that_reads_or_changes_is_on_record(store):
    for words, lines in (
        (("mkdir", "/dir/"), [("mkdir", "dir", None, "ok", None)]),
        (("put", "dir/a", "--mode", "0440"), [
            ("put", "dir/a", 1, "ok", None),
            ("policy", "dir/a", None, "ok", "mode 0400 -> 0440"),
        ]),
        (("get", "//dir/a"), [("get", "dir/a", 1, "ok", None)]),
        (("chown", "7:8", "dir/a"), [
            ("policy", "dir/a", None, "ok", "owner 0 -> 7, group 0 -> 8")]),
        (("setfacl", "-m", "u:9:r", "dir/a"), [
            ("policy", "dir/a", None, "ok", "ACL of 0 entries -> 1")]),
        (("rotation", "dir/a", "--generate", "hex:32", "--every", "30d"), [
            ("schedule", "dir/a", None, "ok", "every 2592000 s")]),
        (("rotate", "dir/a"), [("rotate", "dir/a", 2, "ok", None)]),
        (("rollback", "dir/a"), [("rollback", "dir/a", 1, "ok", None)]),
        (("label", "dir/a", "pending", "2"), [("label", "dir/a", 2, "ok", "pending")]),
        (("revoke", "dir/a", "--version", "2"), [("revoke", "dir/a", 2, "ok", None)]),
        (("expire", "dir/a", "2100-01-01T00:00:00Z"), [
            ("expire", "dir/a", None, "ok", "2100-01-01T00:00:00Z")]),
        (("mv", "dir/a", "b"), [("move", "dir/a", None, "ok", "to b")]),
        (("rm", "b"), [("remove", "b", None, "ok", "can be restored for 2592000 s")]),
        (("restore", "b"), [("restore", "b", None, "ok", None)]),
        (("rm", "--recovery", "0", "b"), [
            ("remove", "b", None, "ok", "can be restored for 0 s"),
            ("purge", "b", None, "ok", None),
        ]),
        (("key", "rekey", "--drop"), [("rekey", None, None, "ok", None)]),
        (("anchor", "accept"), []),
        (("ls",), []),
        (("show", "/"), []),
    ):
        before = len(store.record())
        run(store.argv(*words), input=VALUE, env=QUICK)
        assert [line for line in told(store)[before:] if line not in lines] == [], words
        assert len(told(store)) == before + len(lines), (words, told(store)[before:])
    assert store.ctl("audit", "verify").startswith(b"the record is as it was written: ")


def test_who_it_was(store):
    before = datetime.now(timezone.utc)
    store.put("a", VALUE)
    entry = store.record()[0]
    assert (entry["uid"], entry["gid"], entry["seq"]) == (0, 0, 1)
    assert entry["executable"] == str(store.argv("get")[0].resolve()) and entry["pid"] > 1
    when = datetime.fromisoformat(entry["time"].replace("Z", "+00:00"))
    assert before <= when <= datetime.now(timezone.utc)
    assert "sudo" not in entry
    sudo = {**QUICK, "SUDO_UID": str(UID), "SUDO_GID": "4243"}
    store.ctl("get", "a", env=sudo)
    assert [store.record()[1][name] for name in ("uid", "gid", "sudo")] == [UID, 4243, True]
    for path in store.possessions():
        os.chown(path, UID, UID)
    store.ctl("get", "a", env={**sudo, "SUDO_UID": "7"}, **identity(UID))  # only root is believed
    entry = store.record()[2]
    assert (entry["uid"], entry["gid"], "sudo" in entry) == (UID, UID, False)


def test_a_state_that_is_accepted_is_on_record(store):
    store.put("a", VALUE)
    older = store.path.read_bytes()
    store.put("a", b"another")
    store.path.write_bytes(older)
    store.refuses(INTEGRITY, "get", "a")
    store.ctl("anchor", "accept")
    event, path, version, result, detail = told(store)[-1]
    assert (event, path, version, result) == ("anchor", None, None, "ok")
    assert detail.startswith("generation ") and "accepted, in place of" in detail
    assert store.json("audit", "verify")["lines"] == 3


def test_a_refused_read_is_on_record(store):
    store.put("a", VALUE)
    store.ctl("expire", "a", "2020-01-01T00:00:00Z")
    store.refuses(FAILED, "get", "a")
    store.ctl("revoke", "a")
    store.refuses(FAILED, "get", "a")
    store.refuses(NOT_FOUND, "get", "b")
    results = [line[3] for line in told(store) if line[0] == "get"]
    assert results == ["EKEYEXPIRED", "EKEYREVOKED"]
    assert len(store.ctl("audit", "--denied").splitlines()) == 3  # with the head of the table


def test_what_changes_nothing_leaves_no_line(store):
    store.put("a", VALUE)
    store.put("a", VALUE)
    store.ctl("chmod", "0400", "a")
    store.refuses(FAILED, "mkdir", "a")
    assert len(store.record()) == 1


def test_the_record_has_no_value(store, record):
    store.put("a", VALUE, "--description", "canary-words")
    store.ctl("rotation", "a", "--generate", "hex:64")
    store.ctl("rotate", "a")
    value = store.get("a")
    text = record.read_bytes()
    assert VALUE not in text and value not in text and b"canary-words" not in text
    assert record.stat().st_mode & 0o777 == 0o600


def test_another_record_or_none(store, record):
    elsewhere = store.folder / "elsewhere"
    store.ctl("mkdir", "a", "--audit", "none")
    store.ctl("mkdir", "b", env={**QUICK, "SECRETFS_AUDIT": "none"})
    assert not record.exists()
    store.ctl("mkdir", "c", "--audit", elsewhere)
    store.ctl("mkdir", "d", env={**QUICK, "SECRETFS_AUDIT": str(elsewhere)})
    assert not record.exists() and len(elsewhere.read_text().splitlines()) == 2
    assert b"\n" in store.ctl("audit", "verify", "--file", elsewhere)


# ---- A new store ---------------------------------------------------------------------------------


def forget_store(store):
    for path in [*store.files(), *(store.folder / "anchor").glob("*")]:
        path.unlink()


def init(store, *options, status=0):
    argv = [SECRETCTL, "--store", store.path, "--key-file", store.key, "init", *options]
    return run(argv, status=status, env=QUICK)


def test_a_record_begins_with_its_store(store, record):
    forget_store(store)
    init(store)
    store.put("a", VALUE)
    first, second = store.record()
    assert (first["event"], first["seq"], first["result"], first["uid"]) == ("init", 1, "ok", 0)
    assert first["detail"] == f"the store {store.json('status')['uuid']}"
    assert second["event"] == "put" and record.stat().st_mode & 0o777 == 0o600
    assert store.json("audit", "verify")["lines"] == 2


def test_a_new_store_begins_another_record(store, record):
    """The lines of an older one stay, under a name by which they can be read."""
    store.put("a", VALUE)
    record.rename(record.with_name(record.name + "-20261123"))
    record.touch(0o600)
    store.get("a")
    kept = {path.name[len(record.name):]: path.read_bytes() for path in store.records()}
    assert len(kept) == 2
    forget_store(store)
    output = init(store).stdout.decode()
    (former,) = [p for p in store.records() if ".former-" in p.name and p.name.endswith("Z")]
    assert f"The record of an older store that was here is '{former}' now" in output
    found = {p.name[len(former.name):]: p.read_bytes() for p in store.records() if p != record}
    assert found == kept
    store.put("b", VALUE)
    report = store.json("audit", "verify")
    assert (report["valid"], report["lines"], report["unchecked"]) == (True, 2, 0)
    lines = store.ctl("audit", "--json", "--audit", former).splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["put", "get"]
    forget_store(store)
    told = json.loads(init(store, "--json").stdout)["former_record"]
    assert told != str(former) and len([p for p in store.records() if ".former-" in p.name]) == 3
    assert store.json("audit", "verify")["lines"] == 1


def test_a_record_that_was_named_is_no_older_stores_to_move(store):
    other = store.folder / "other.jsonl"
    store.put("a", VALUE, "--audit", other)
    forget_store(store)
    store.key.unlink()
    line = one_line(init(store, "--audit", other, status=FAILED).stderr, "secretctl")
    assert f"the record '{other}' has lines already" in line
    assert not store.path.exists() and not store.key.exists()
    assert len(other.read_text().splitlines()) == 1


def test_without_a_record_nothing_is_touched(store, record):
    store.put("a", VALUE)
    before = record.read_bytes()
    forget_store(store)
    init(store, "--audit", "none")
    assert store.records() == [record] and record.read_bytes() == before


def test_a_store_that_can_not_be_recorded_is_not_made(store, record, folder):
    """Wherever it fails for want of a file, what was there is as it was."""
    store.put("a", VALUE)
    place, outcomes = folder / "few", []
    place.mkdir()
    for files in range(2, 12):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"nr_inodes={files + 1}", "none", place], check=True)
        try:
            (place / "store.db-audit.jsonl").write_bytes(record.read_bytes())
            argv = [SECRETCTL, "--store", place / "store.db", "--key-file", store.key, "init"]
            done = run(argv, status=None, env=QUICK)
            outcomes.append(done.returncode)
            if done.returncode != 0:
                one_line(done.stderr, "secretctl")
                assert os.listdir(place) == ["store.db-audit.jsonl"], done.stderr
                assert (place / "store.db-audit.jsonl").read_bytes() == record.read_bytes()
        finally:
            subprocess.run(["umount", place], check=True)
    assert FAILED in outcomes and outcomes[-1] == 0
    argv = [SECRETCTL, "--store", place / "store.db", "--key-file", store.key, "init", "--audit"]
    line = one_line(run([*argv, place / "no/record"], status=FAILED, env=QUICK).stderr, "secretctl")
    assert "'--audit none'" in line and os.listdir(place) == []


# ---- Where it can't be written -------------------------------------------------------------------


def test_what_cannot_be_recorded_is_not_done(store, record):
    store.put("a", VALUE)
    other = store.folder / "other"
    other.write_bytes(b"")
    for spoil in (
        lambda: record.chmod(0o666),
        lambda: (record.unlink(), record.mkdir()),
        lambda: (record.rmdir(), record.symlink_to(other)),
        lambda: (record.unlink(), os.link(other, record)),
    ):
        spoil()
        for words in (("get", "a"), ("mkdir", "b"), ("rm", "a")):
            assert "'--audit none'" in store.refuses(FAILED, *words), words
    assert other.read_bytes() == b""
    missing = store.folder / "none" / "record"
    assert "'--audit none'" in store.refuses(FAILED, "get", "a", "--audit", missing)
    assert store.get("a", "--audit", "none") == VALUE
    assert store.ctl("ls", "--audit", "none") == b"a\n"


def test_a_full_disk(store, disk):
    """Nothing is done, nothing is lost of what was, and it goes on when there is room again."""
    file = disk / "audit.jsonl"
    store.put("a", VALUE, "--audit", file)
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as full:
        try:
            while True:
                full.write(bytes(512))
        except OSError:
            pass
    done = 1
    while b"no space" not in (
        line := run(store.argv("mkdir", f"d{done}", "--audit", file), status=None, env=QUICK)
    ).stderr:
        assert line.returncode == 0, line.stderr
        done += 1
    assert "'--audit none'" in one_line(line.stderr, "secretctl")
    assert "no space" in store.refuses(FAILED, "get", "a", "--audit", file)
    assert len(store.json("ls", "--audit", file)) == done
    filler.unlink()
    assert store.get("a", "--audit", file) == VALUE
    store.ctl("mkdir", "again", "--audit", file)
    report = store.json("audit", "verify", "--file", file)
    assert (report["valid"], report["lines"]) == (True, done + 2)


def test_a_read_only_disk(store, disk):
    file = disk / "audit.jsonl"
    store.put("a", VALUE, "--audit", file)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert "'--audit none'" in store.refuses(FAILED, "get", "a", "--audit", file)
    assert "'--audit none'" in store.refuses(FAILED, "rm", "a", "--audit", file)
    assert b"put" in store.ctl("audit", "--file", file)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert store.get("a", "--audit", file) == VALUE
    assert store.json("audit", "verify", "--file", file)["lines"] == 2


# ---- Showing -------------------------------------------------------------------------------------


def made(number, when, **other):
    """A line that nobody verifies."""
    entry = {
        "time": datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "seq": number, "event": "open", "path": "db/password", "version": 3, "uid": 1000,
        "gid": 1000, "pid": 4242, "executable": "/usr/bin/cat", "unit": None, "container": None,
        "result": "ok", **other, "chain": "0" * 32,
    }
    return json.dumps(entry, separators=(",", ":")) + "\n"


def shown(store, *options):
    """The numbers of the lines."""
    lines = store.ctl("audit", *options, "--json").splitlines()
    return [json.loads(line)["seq"] for line in lines]


def test_lines_are_picked(store, record):
    now = time.time()
    record.write_text(
        made(1, now - 7200, uid=0, event="put")
        + '{"time":"2026-11-24T18\n'
        + made(2, now - 3000, path="db", event="policy")
        + made(3, now - 2000, result="EACCES", event="denied")
        + "no line at all\n"
        + made(4, now - 1000, path="dbx")
        + made(5, now - 10, path="db/a")
    )
    past = datetime.fromtimestamp(now - 2500, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for options, numbers in (
        ((), [1, 2, 3, 4, 5]),
        (("/",), [1, 2, 3, 4, 5]),
        (("db",), [1, 2, 3, 5]),
        (("/db/password/",), [1, 3]),
        (("--since", "1h"), [2, 3, 4, 5]),
        (("--since", past), [3, 4, 5]),
        (("--until", past), [1, 2]),
        (("--since", "1h", "--until", "15m"), [2, 3, 4]),
        (("--uid", "0"), [1]),
        (("--uid", "root"), [1]),
        (("--denied",), [3]),
        (("--event", "put", "--event", "policy"), [1, 2]),
        (("--event", "mount"), []),
    ):
        assert shown(store, *options) == numbers, options
    assert store.ctl("audit", "--json") == b"".join(
        line for line in record.read_bytes().splitlines(True) if line.endswith(b'"}\n')
    )


def test_the_table(store, record):
    record.write_text(
        made(1, time.time(), path='a\x1b[31m"', executable="/bin/\u00e9", unit="x.service",
             detail="said", count=3, inferred=True, sudo=True)
        + made(2, time.time(), uid=None, pid=None, path=None, version=None, executable=None)
    )
    head, first, second = store.ctl("audit").decode().splitlines()
    assert head.split()[:5] == ["TIME", "EVENT", "RESULT", "USER", "PID"]
    assert first.endswith('a\\x1b[31m", /bin/\u00e9 (x.service) by sudo; said; 3 times; inferred')
    assert second.split()[2:] == ["open", "ok", "-", "-", "-", "-"]


def test_wrong_use(store):
    for words in (
        ("--since", "never"), ("--since", "yesterday"), ("--until", ""), ("--uid", "no-such-user"),
        ("--event", "opened"), ("a", "b"), ("verify", "--since", "1h"), ("summary", "--denied"),
    ):
        store.refuses(USAGE, "audit", *words)
    assert "nothing is recorded yet" in store.refuses(FAILED, "audit")
    assert "nothing is recorded yet" in store.refuses(FAILED, "audit", "verify")


def test_rotated_files_are_read_as_far_as_needed(store, record):
    now = time.time()
    for name, number, age in (
        ("store.db-audit.jsonl.2", 1, 9000), ("store.db-audit.jsonl.1", 3, 5000),
        ("store.db-audit.jsonl-20261124", 5, 3000), ("store.db-audit.jsonl", 7, 1000),
    ):
        (store.folder / name).write_text(
            made(number, now - age) + made(number + 1, now - age + 1500)
        )
    (store.folder / "store.db-audit.jsonl.bak").write_text(made(99, now))
    assert shown(store) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert shown(store, "--since", "2h") == [3, 4, 5, 6, 7, 8]
    assert shown(store, "--since", "20m") == [7, 8]


def test_the_last_hour_of_a_long_record(store, record, measured):
    """The beginning is not read: it takes a fraction of the time that all takes."""
    count, now = 60_000, time.time()
    lines = [made(i + 1, now - (count - i) * 10 + 1) for i in range(0, count, 1000)]
    record.write_bytes(b"".join(line.encode() * 1000 for line in lines))

    def cost(*options):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        found = shown(store, *options)
        return len(found), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    all_lines, whole = cost()
    last_lines, part = cost("--since", "3h")
    assert (all_lines, last_lines) == (count, 1000)
    assert part < whole / 5
    measured(f"{count} lines: {whole:.2f} s of a processor, the last {last_lines} of them {part:.2f} s")


def test_following_survives_a_rotation(store, record):
    store.put("a", VALUE)
    with open(store.folder / "out", "wb") as out:
        process = spawn(store.argv("audit", "--follow", "--json"), stdout=out, env=QUICK)

    def numbers():
        text = (store.folder / "out").read_text()
        return [json.loads(line)["seq"] for line in text.splitlines()]

    eventually(lambda: numbers() == [1])
    store.get("a")
    eventually(lambda: numbers() == [1, 2])
    record.rename(record.with_name(record.name + ".1"))
    store.get("a")  # goes on in the file that was just rotated away
    eventually(lambda: numbers() == [1, 2, 3])
    record.touch(0o600)
    store.get("a")
    eventually(lambda: numbers() == [1, 2, 3, 4])
    assert len(record.read_text().splitlines()) == 1
    process.terminate()
    end(process)


# ---- Verifying -----------------------------------------------------------------------------------


def verify_fails(store, *options):
    line = store.refuses(INTEGRITY, "audit", "verify", *options)
    report = json.loads(
        run(store.argv("audit", "verify", *options, "--json"), status=INTEGRITY, env=QUICK).stdout
    )
    assert not report["valid"] and report["file"] in line
    return line, report["flaw"], report["line"]


def test_tampering_is_found_and_named(store, record):
    fill(store)
    original = record.read_bytes()
    lines = original.splitlines(True)
    for text, flaw, number, words in (
        ([lines[0], lines[1].replace(b'"uid":0', b'"uid":7'), *lines[2:]], "changed", 2,
         "line 2 was changed"),
        ([*lines[:3], *lines[4:]], "missing", 4, "1 lines are missing before line 4"),
        ([*lines[:2], lines[3], lines[2], *lines[4:]], "missing", 3, "before line 3"),
        ([*lines, lines[-1]], "doubled", 7, "line 7 stands there a second time"),
        (lines[:-2], "cut", 4, "lines are missing behind line 4"),
        ([], "cut", 0, "lines are missing behind line 0"),
    ):
        record.write_bytes(b"".join(text))
        if flaw == "cut":  # the store knows the end from its last commit only
            record.write_bytes(original)
            store.ctl("mkdir", "d")
            original = record.read_bytes()
            record.write_bytes(b"".join(text))
        line, found, at = verify_fails(store)
        assert (found, at) == (flaw, number), (flaw, found, at)
        assert words in line
        record.write_bytes(original)
        assert store.json("audit", "verify")["valid"]
        if flaw == "cut":
            store.ctl("rm", "--recovery", "0", "d")
            original = record.read_bytes()


def test_writing_on_does_not_hide_what_is_missing(store, record):
    fill(store)
    store.ctl("mkdir", "d")
    lines = record.read_bytes().splitlines(True)
    record.write_bytes(b"".join(lines[:3]))
    done = run(store.argv("mkdir", "e"), env=QUICK)
    assert "lines are missing" in one_line(done.stderr, "secretctl")
    store.get("a")
    assert verify_fails(store)[1:] == ("missing", 4)


def test_verifying_over_a_rekey_and_rotated_files(store, record):
    fill(store)
    run(store.argv("key", "rekey", "--drop"), env=QUICK)
    store.get("a")
    record.rename(record.with_name(record.name + ".1"))
    record.touch(0o600)
    store.get("a")
    store.ctl("mkdir", "d")
    report = store.json("audit", "verify")
    assert (report["valid"], report["lines"], report["unchecked"]) == (True, 10, 0)
    alone = store.json("audit", "verify", "--file", record)
    assert (alone["valid"], alone["lines"], alone["unchecked"]) == (True, 2, 1)
    old = record.with_name(record.name + ".1")
    lines = old.read_bytes().splitlines(True)
    old.write_bytes(b"".join(lines[:-1]))
    line, flaw, at = verify_fails(store)
    assert (flaw, at) == ("missing", 1) and f"{record}'" in line
    old.write_bytes(b"".join([lines[0].replace(b"put", b"get"), *lines[1:]]))
    line, flaw, at = verify_fails(store)
    assert (flaw, at) == ("changed", 1) and f"{old}'" in line


def test_many_commands_at_once(store):
    """None waits for another, and the record of all is right."""
    store.put("a", VALUE)
    commands = [spawn(store.argv("get", "a"), stdout=subprocess.PIPE, env=QUICK) for _ in range(12)]
    assert [command.communicate(timeout=60)[0] for command in commands] == [VALUE] * 12
    assert [end(command) for command in commands] == [0] * 12
    assert store.json("audit", "verify")["lines"] == 13


# ---- Summing up ----------------------------------------------------------------------------------


def test_summary(store, record):
    for path in ("db/password", "unread", "dir/original"):
        store.put(path, VALUE, "-p")
    store.put("db/password", b"another")
    store.put("unread", b"another")
    now = time.time()
    lines = record.read_text() + "".join(
        made(100 + i, now + 1, uid=1000 + i % 2, **({"result": "EACCES"} if i == 4 else {}))
        for i in range(7)
    )
    record.write_text(lines + made(200, now + 2, path="db/password", count=5))
    report = store.json("audit", "summary")
    readers = {(r["path"], r["uid"]): (r["reads"], r["refused"]) for r in report["readers"]}
    assert readers == {("db/password", 1000): (8, 1), ("db/password", 1001): (3, 0)}
    assert sum(report["readers"][0]["columns"]) == 8 and len(report["readers"][0]["columns"]) == 24
    assert (report["unread"], report["never_rotated"]) == (["dir/original", "unread"], ["dir/original"])
    text = store.ctl("audit", "summary").decode()
    assert "db/password\n" in text and "\u2588" in text and "never rotated:\n  dir/original\n" in text
    store.unlock = ["--key-file", store.folder / "no-key"]
    text = store.ctl("audit", "summary", "--since", "1h").decode()
    assert "it takes the key" in text and "never rotated:" not in text
    assert store.json("audit", "summary")["unread"] is None
