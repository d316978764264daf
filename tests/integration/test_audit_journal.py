"""Copies of the record for the journal, or syslog: what they say, and that nobody waits for them."""

import contextlib
import json
import os
import shutil
import socket
import struct

import pytest

from harness import (
    FAILED,
    QUICK,
    SECRETCTL,
    as_user,
    error_of,
    eventually,
    kill_worker,
    make_bare_dev,
    mount_namespace,
    one_line,
    refuses_to_mount,
    run,
)

JOURNAL, SYSLOG = "/run/systemd/journal/socket", "/dev/log"
VALUE = b"canary-value-93be"
AUTHPRIV = 10 << 3
INFO, WARNING = 6, 4


def listen(address):
    """A socket at which a journal, or syslog, is found."""
    os.makedirs(os.path.dirname(address), exist_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    server.bind(address)
    os.chmod(address, 0o666)
    server.settimeout(30)
    return server


@pytest.fixture(autouse=True)
def machine_without(machine):
    """A mount namespace for the test, in which there is neither."""
    with mount_namespace():
        run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run"])
        make_bare_dev()
        yield


@pytest.fixture
def journal(machine_without):
    with listen(JOURNAL) as server:
        yield server


@pytest.fixture
def served(store, journal, mount):
    store.put("db/a", VALUE, "-p", "--owner", "20001")
    return mount("audit_journal")


def fields_of(message):
    """The native protocol of journald(8): NAME=value, or NAME, length and value of any bytes."""
    fields = {}
    while message:
        name, _, rest = message.partition(b"\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
        else:
            (size,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        fields[name.decode()] = value.decode()
        message = rest
    return fields


def received(journal):
    """What has come so far."""
    messages = []
    journal.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            messages.append(fields_of(journal.recv(1 << 17)))
    return messages


def read(path):
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def assert_says(fields, line):
    """A message has all that a line of the record has."""
    for name, value in line.items():
        if name == "time" or value is None:
            assert f"SECRETFS_{name.upper()}" not in fields
        else:
            said = json.dumps(value) if isinstance(value, bool) else str(value)
            assert fields[f"SECRETFS_{name.upper()}"] == said, name


def test_each_line_is_sent_with_its_fields(store, served, journal):
    assert as_user(20001, 20001, [], read, served.path / "db/a") == VALUE
    assert as_user(20002, 20002, [], error_of, read, served.path / "db/a") == "EACCES"
    messages, lines = received(journal), store.record()[-3:]
    assert [m["SECRETFS_EVENT"] for m in messages] == ["mount", "open", "denied"]
    for fields, line in zip(messages, lines, strict=True):
        assert_says(fields, line)
        assert fields["SECRETFS_STORE"] == str(store.path)
        assert fields["SYSLOG_IDENTIFIER"] == "secretfs" and fields["SYSLOG_FACILITY"] == "10"
        assert len(fields["MESSAGE_ID"]) == 32
        assert VALUE.decode() not in str(fields)
    assert [m["PRIORITY"] for m in messages] == ["6", "6", "4"]
    program = os.readlink("/proc/self/exe")
    assert messages[1]["MESSAGE"] == f"open 'db/a' version 1 by user 20001 with {program}: ok"
    kill_worker(served)  # the next one has the socket as well
    eventually(lambda: [m["SECRETFS_EVENT"] for m in received(journal)] == ["restart"])


def test_a_program_with_a_strange_name_makes_no_field_up(store, journal, folder):
    """Its newline stays inside of its value, and out of the sentence."""
    strange = folder / "cat\nSECRETFS_UID=0"
    store.put("a", VALUE)
    shutil.copy2(SECRETCTL, strange)
    run([strange, *store.argv("get", "a")[1:], "--audit-journal"], env=QUICK)
    (fields,) = received(journal)
    assert fields["SECRETFS_EXECUTABLE"] == str(strange)
    assert "\n" not in fields["MESSAGE"]


def test_the_tool_sends_its_lines_too(store, journal):
    store.quick = True
    store.put("a", VALUE)
    assert received(journal) == []
    store.put("a", VALUE + b"2", "--audit-journal")
    store.ctl("get", "a", env={**QUICK, "SECRETFS_AUDIT_JOURNAL": "1"})
    messages = received(journal)
    assert [m["SECRETFS_EVENT"] for m in messages] == ["put", "get"]
    for fields, line in zip(messages, store.record()[1:], strict=True):
        assert_says(fields, line)
        assert fields["SYSLOG_IDENTIFIER"] == "secretctl"
    store.ctl("get", "a", "--audit-journal", "--audit", "none")
    assert received(journal) == []


def test_a_journal_that_is_full_or_away_holds_nobody_up_and_is_told_once(store, served, journal):
    """Once that lines get lost, and once that they don't any more; the file has all."""
    path = served.path / "db/a"
    for _ in range(1000):  # more than the queue holds
        assert read(path) == VALUE
    eventually(lambda: "don't get to the journal" in served.log.read_text())
    sent = len(received(journal))
    assert 0 < sent < 1000
    os.unlink(JOURNAL)
    assert read(path) == VALUE
    with listen(JOURNAL) as other:

        def comes_again():
            assert read(path) == VALUE
            assert {m["SECRETFS_EVENT"] for m in received(other)} == {"open"}
            return "get to the journal again" in served.log.read_text()

        eventually(comes_again)
    text = served.log.read_text()
    assert text.count("don't get to the journal") == text.count("get to the journal again") == 1
    served.stop()
    assert store.json("audit", "verify")["lines"] == len(store.record()) > 1000


def test_the_tool_goes_on_without_a_journal(store):
    done = run(store.argv("put", "a", "--audit-journal"), input=VALUE)
    assert "don't get to the journal" in one_line(done.stderr, "secretctl")
    assert len(store.record()) == 1


def test_syslog_gets_the_lines_where_there_is_no_journal(store, mount):
    store.put("a", VALUE, "--owner", "20001")
    with listen(SYSLOG) as syslog:
        served = mount("audit_journal")
        as_user(20002, 20002, [], error_of, read, served.path / "a")
        store.ctl("get", "a", "--audit-journal")
        heard = [syslog.recv(1 << 16).decode() for _ in range(3)]
    texts = [line.rstrip("\n") for line in store.audit.read_text().splitlines()[-3:]]
    for message, text, level, program in zip(
        heard, texts, (INFO, WARNING, INFO), ("secretfs", "secretfs", "secretctl"), strict=True
    ):
        head, _, said = message.partition(": @cee: ")
        assert head.startswith(f"<{AUTHPRIV | level}>{program}[") and said == text
        assert json.loads(said)["event"] in ("mount", "denied", "get")


def test_a_daemon_that_is_to_send_copies_to_nobody_does_not_start(store, folder, monkeypatch):
    key = f"key_file={store.key}"
    line = refuses_to_mount(FAILED, store.path, folder / "mnt", key, "audit_journal")
    assert f"nothing takes it at {JOURNAL} or {SYSLOG}" in line
    monkeypatch.setenv("SECRETFS_AUDIT_JOURNAL", "1")
    assert "nothing takes it" in refuses_to_mount(FAILED, store.path, folder / "mnt", key)


def test_without_a_record_there_is_nothing_to_send(store, mount, monkeypatch):
    store.put("a", VALUE)
    monkeypatch.setenv("SECRETFS_AUDIT_JOURNAL", "1")
    assert read(mount("audit=none").path / "a") == VALUE
