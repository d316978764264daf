"""Key slots are told, added, removed; identities; unlock commands; what wrong keys are told."""

import base64
import json
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import time
from contextlib import closing
from types import SimpleNamespace

import pytest

import database
from harness import (
    FAILED,
    INTEGRITY,
    LOCKED,
    NOT_FOUND,
    SECRETCTL,
    USAGE,
    Store,
    eventually,
    fresh_folder,
    one_line,
    refuses_to_mount,
    remove_folder,
    run,
    status_of,
)

PUBLIC = re.compile(r"secretfs-recipient:[A-Za-z0-9_-]{48}")
SECRET = re.compile(r"secretfs-identity:[A-Za-z0-9_-]{48}\n")


@pytest.fixture(scope="module", autouse=True)
def sleeper(machine):
    """A command that never ends, run at once: its ten seconds pass while other tests run."""
    folder = fresh_folder()
    store = Store.fresh(folder)
    command = script(folder / "sleeper", "sleep 300 & echo $! > pid; wait", cd=folder)
    argv = [SECRETCTL, "--store", store.path, "--unlock-command", command, "ls"]
    begun = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    eventually(lambda: (folder / "pid").read_text().endswith("\n"))
    yield SimpleNamespace(process=process, begun=begun, folder=folder)
    process.terminate()  # with the command, where no test has waited for its end
    process.wait()
    remove_folder(folder)


def script(path, text, cd=None):
    """An executable that runs `text` in a shell."""
    path.write_text("#!/bin/sh\n" + (f"cd {cd}\n" if cd else "") + text + "\n")
    path.chmod(0o755)
    return path


def new_identity(path):
    """The public key of a new identity at `path`."""
    return run([SECRETCTL, "identity", "new", "--out", path]).stdout.decode().strip()


def key_command(folder, name="unlock", key=None):
    """A command that writes a key of its own."""
    (folder / f"{name}.key").write_bytes(key or os.urandom(32))
    return script(folder / name, f"exec cat {folder / name}.key")


def pipe_with(data):
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader


def opening(store, *unlock):
    """The same store with another key."""
    other = Store(store.folder)
    other.unlock = list(unlock)
    return other


def is_dead(pid):
    """Nobody may have been there to reap it."""
    return status_of(pid).get("State", "X")[0] in "XZ"


def slots(store):
    return [(slot["id"], slot["kind"]) for slot in store.json("key", "ls")]


def remove(store, number):
    """Remove a slot; it must say that older copies still open."""
    done = run(store.argv("key", "rm", number))
    assert done.stdout == b""
    assert "copy" in one_line(done.stderr, "secretctl")


# ---- slots


def test_a_new_store_has_one_slot(store):
    assert store.ctl("key", "ls") == b"1   keyfile\n"
    assert store.json("key", "ls") == [
        {"id": 1, "kind": "keyfile", "recipient": None, "command": None}
    ]


def test_a_key_file_is_added_and_removed(store, folder):
    store.put("a", b"value")
    second = opening(store, "--key-file", folder / "made/second")
    assert b"2" in store.ctl("key", "add", "--new-key-file", folder / "made/second")
    status = (folder / "made/second").stat()
    assert (status.st_mode & 0o7777, status.st_size) == (0o600, 32)
    assert second.get("a") == b"value"
    assert slots(second) == [(1, "keyfile"), (2, "keyfile")]
    remove(second, 1)
    assert second.get("a") == b"value"
    line = store.refuses(LOCKED, "get", "a")
    assert "tried 1 of 1 slot)" in line
    second.ctl("check")


def test_an_existing_key_file_is_added_as_it_is(store, folder):
    key = os.urandom(32)
    (folder / "own").write_bytes(key)
    (folder / "own").chmod(0o600)
    slot = store.json("key", "add", "--new-key-file", folder / "own")
    assert slot == {"id": 2, "kind": "keyfile", "recipient": None, "command": None}
    assert (folder / "own").read_bytes() == key
    opening(store, "--key-file", folder / "own").ctl("check")


def test_a_passphrase_is_added(store):
    """From the descriptor that unlocks, line by line, too."""
    store.put("a", b"value")
    reader = pipe_with(b"one phrase\n")
    store.ctl("key", "add", "--new-passphrase-fd", reader, pass_fds=[reader])
    os.close(reader)
    reader = pipe_with(b"one phrase\nanother\n")
    by_phrase = opening(store, "--passphrase-fd", reader)
    by_phrase.ctl("key", "add", "--new-passphrase-fd", reader, pass_fds=[reader])
    os.close(reader)
    reader = pipe_with(b"another")
    other = opening(store, "--passphrase-fd", reader)
    assert other.ctl("get", "a", pass_fds=[reader]) == b"value"
    os.close(reader)
    assert slots(store) == [(1, "keyfile"), (2, "passphrase"), (3, "passphrase")]


def test_the_last_slot_stays(store):
    line = store.refuses(FAILED, "key", "rm", "1")
    assert "last one" in line
    assert slots(store) == [(1, "keyfile")]
    store.refuses(NOT_FOUND, "key", "rm", "2")


def test_there_are_sixteen_slots_at_most(store, folder):
    store.quick = True
    public = new_identity(folder / "identity")
    for _ in range(15):
        store.ctl("key", "add", "--recipient", public)
    line = store.refuses(FAILED, "key", "add", "--new-key-file", folder / "more/key")
    assert "16" in line
    assert not (folder / "more").exists(), "what was made for it is gone again"
    remove(store, 16)
    remove(store, 3)
    assert b"16" in store.ctl("key", "add", "--recipient", public)
    assert len(slots(store)) == 15


@pytest.mark.parametrize(
    "words",
    [
        ["add"],
        ["add", "--new-key-file", "a", "--recipient", "b"],
        ["add", "--new-passphrase", "--new-passphrase-fd", "0"],
        ["add", "--new-passphrase-fd", "x"],
        ["add", "1"],
        ["rm"],
        ["rm", "x"],
        ["rm", "-1"],
        ["rm", "1", "2"],
        ["rm", "1", "--new-passphrase"],
        ["ls", "--new-passphrase"],
        ["ls", "1"],
        ["new"],
        [],
    ],
)
def test_wrong_use_is_refused(store, words):
    store.refuses(USAGE, "key", *words)
    assert slots(store) == [(1, "keyfile")]


def test_only_one_key_opens_the_store(store, folder):
    ways = ["--key-file", "--identity", "--unlock-command"]
    for one, other in [(ways[0], ways[1]), (ways[1], ways[2]), (ways[0], ways[2])]:
        done = run([SECRETCTL, "ls", one, store.key, other, store.key], status=USAGE)
        assert "exclude" in one_line(done.stderr, "secretctl")
    refuses_to_mount(
        USAGE, store.path, folder / "mnt", f"key_file={store.key},identity={store.key}"
    )


def test_a_daemon_follows(store, folder, mount):
    store.put("a", b"value")
    served = mount()
    store.ctl("key", "add", "--new-key-file", folder / "second")
    second = opening(store, "--key-file", folder / "second")
    remove(second, 1)
    second.put("a", b"newer")
    assert (served.path / "a").read_bytes() == b"newer"


def test_an_older_copy_opens_with_a_removed_key(store, folder):
    """As SECURITY.md says: only a rekey ends that."""
    store.put("a", b"value")
    store.ctl("key", "add", "--new-key-file", folder / "second")
    old = folder / "old"
    old.mkdir()
    for path in store.files():
        shutil.copy2(path, old)
    remove(opening(store, "--key-file", folder / "second"), 1)
    copy = Store(old)
    copy.unlock = store.unlock
    assert copy.get("a") == b"value"
    store.refuses(LOCKED, "get", "a")


def test_a_removed_slot_that_is_put_back_is_noticed(store, folder):
    store.ctl("key", "add", "--new-key-file", folder / "second")
    row = database.row(store.path, "slot", 1, "id, generation, box")
    second = opening(store, "--key-file", folder / "second")
    remove(second, 1)
    database.execute(store.path, ("INSERT INTO slot VALUES(?, ?, ?)", row))
    store.refuses(INTEGRITY, "ls")
    second.refuses(INTEGRITY, "ls")


def test_nothing_of_a_removed_slot_is_left_in_the_files(store, folder):
    store.ctl("key", "add", "--new-key-file", folder / "second")
    (box,) = database.row(store.path, "slot", 2, "box")
    wrapped = box[-48:]
    # Somebody else has the file open, so that closing it does not empty the write-ahead log.
    with closing(sqlite3.connect(store.path)) as other:
        assert other.execute("SELECT count(*) FROM slot").fetchall() == [(2,)]
        store.put("a", b"value")
        remove(store, 2)
        assert len(store.files()) == 3
        assert wrapped not in b"".join(path.read_bytes() for path in store.files())


# ---- wrong keys


def test_wrong_keys_say_what_was_tried(store, folder):
    public = new_identity(folder / "identity")
    store.ctl("key", "add", "--new-key-file", folder / "second")
    store.ctl("key", "add", "--recipient", public)
    (folder / "wrong").write_bytes(os.urandom(32))
    (folder / "wrong").chmod(0o600)
    line = opening(store, "--key-file", folder / "wrong").refuses(LOCKED, "ls")
    assert f"the key file '{folder}/wrong' (tried 2 of 3 slots: the other wants an id" in line
    line = refuses_to_mount(LOCKED, store.path, folder / "mnt", f"key_file={folder}/wrong")
    assert f"the key file '{folder}/wrong' (tried 2 of 3 slots: the other wants an id" in line
    new_identity(folder / "stranger")
    line = opening(store, "--identity", folder / "stranger").refuses(LOCKED, "ls")
    assert "the identity" in line and "tried 1 of 3 slots: the others want a key file" in line
    command = key_command(folder)
    line = opening(store, "--unlock-command", command).refuses(LOCKED, "ls")
    assert "tried 0 of 3 slots: they want a key file or an identity" in line
    line = refuses_to_mount(LOCKED, store.path, folder / "mnt", f"unlock_command={command}")
    assert "tried 0 of 3 slots: they want a key file or an identity" in line
    reader = pipe_with(b"phrase")
    line = opening(store, "--passphrase-fd", reader).refuses(LOCKED, "ls", pass_fds=[reader])
    assert "passphrase" in line and "tried 0 of 3 slots" in line
    os.close(reader)


def field(tag, data):
    return struct.pack("<BI", tag, len(data)) + data


@pytest.mark.parametrize("passes, kib", [(1, 0xFFFFFFFF), (16, 1024 * 1024 + 1), (17, 8)])
def test_what_a_slot_may_ask_for_is_bounded_before_any_work(store, measured, passes, kib):
    """4 TiB; a little more than is allowed, which would take ten seconds; too many passes."""
    box = b"".join(
        [field(1, b"\2"), field(2, bytes(16)), field(3, struct.pack("<I", passes))]
        + [field(4, struct.pack("<I", kib)), field(5, bytes(24)), field(6, bytes(32))]
        + [field(7, bytes(48))]
    )
    database.execute(store.path, ("UPDATE slot SET box=?", (box,)))
    reader = pipe_with(b"phrase")
    argv = opening(store, "--passphrase-fd", reader).argv("ls")
    process = subprocess.Popen(
        [str(word) for word in argv], pass_fds=[reader], stderr=subprocess.PIPE
    )
    line = one_line(process.stderr.read(), "secretctl")
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    os.close(reader)
    assert process.returncode == INTEGRITY and "slot 1" in line
    seconds = usage.ru_utime + usage.ru_stime
    assert seconds < 2
    measured(f"{kib} KiB, {passes} passes: {seconds * 1000:.0f} ms of processor time in all")


# ---- identities


def test_an_identity_is_a_private_file_and_a_public_line(folder):
    path = folder / "made/identity"
    done = run([SECRETCTL, "identity", "new", "--out", path])
    assert PUBLIC.fullmatch(done.stdout.decode().strip()) and done.stdout.count(b"\n") == 1
    assert SECRET.fullmatch(path.read_text())
    status = path.stat()
    assert (status.st_mode & 0o7777, status.st_uid) == (0o600, 0)
    assert run([SECRETCTL, "identity", "show", "--identity", path]).stdout == done.stdout
    env = {**os.environ, "SECRETFS_IDENTITY": str(path)}
    shown = json.loads(run([SECRETCTL, "identity", "show", "--json"], env=env).stdout)
    assert shown == {"identity": str(path), "recipient": done.stdout.decode().strip()}


def test_an_identity_is_never_written_over(folder):
    path = folder / "identity"
    new_identity(path)
    before = path.read_bytes()
    done = run([SECRETCTL, "identity", "new", "--out", path], status=FAILED)
    assert "exists" in one_line(done.stderr, "secretctl") and done.stdout == b""
    assert path.read_bytes() == before
    for words in (["new", "--identity", path], ["show", "--out", path], ["other"], []):
        done = run([SECRETCTL, "identity", *words], status=USAGE)
        one_line(done.stderr, "secretctl")


def test_any_recipient_opens_the_store(store, folder, mount):
    store.put("a", b"value")
    for name in ("alice", "bob"):
        store.ctl("key", "add", "--recipient", new_identity(folder / name))
    for name in ("alice", "bob"):
        assert opening(store, "--identity", folder / name).get("a") == b"value"
    env = {**os.environ, "SECRETFS_IDENTITY": str(folder / "bob")}
    assert opening(store).ctl("get", "a", env=env) == b"value"
    listed = store.json("key", "ls")
    shown = run([SECRETCTL, "identity", "show", "--identity", folder / "bob"]).stdout.decode()
    assert listed[2] == {"id": 3, "kind": "recipient", "recipient": shown.strip(), "command": None}
    assert f"3   recipient  {shown}" in store.ctl("key", "ls").decode()

    bob = SimpleNamespace(path=store.path, unlock=[])
    served = mount(f"identity={folder}/bob", of=bob)
    assert (served.path / "a").read_bytes() == b"value"
    served = mount(of=bob, env=env)
    assert (served.path / "a").read_bytes() == b"value"


def test_the_identity_of_the_host_is_found(store, rotators, mount):
    """Where neither a key file nor the environment is there for it."""
    etc = rotators.parent
    public = run([SECRETCTL, "identity", "new"]).stdout.decode().strip()
    assert SECRET.fullmatch((etc / "identity").read_text())
    store.put("a", b"value")
    store.ctl("key", "add", "--recipient", public)
    bare = opening(store)
    assert bare.get("a") == b"value"
    served = mount(of=SimpleNamespace(path=store.path, unlock=[]))
    assert (served.path / "a").read_bytes() == b"value"
    shutil.copy(store.key, etc / "key")
    (etc / "identity").unlink()
    assert bare.get("a") == b"value"
    (etc / "key").unlink()
    bare.refuses(LOCKED, "ls")


def test_a_store_is_made_for_a_recipient(folder):
    public = new_identity(folder / "identity")
    store = opening(Store(folder), "--identity", folder / "identity")
    run([SECRETCTL, "--store", store.path, "init", "--recipient", public])
    assert sorted(path.name for path in folder.iterdir()) == ["identity", "store.db", store.audit.name]
    store.put("a", b"value")
    assert store.get("a") == b"value"
    assert slots(store) == [(1, "recipient")]
    done = run(store.argv("init"), status=USAGE)
    assert "--recipient" in one_line(done.stderr, "secretctl")


def test_the_store_has_no_identity_and_no_key_of_a_command_in_it(store, folder):
    public = new_identity(folder / "identity")
    command = key_command(folder)
    store.ctl("key", "add", "--recipient", public)
    store.ctl("key", "add", "--new-unlock-command", command)
    text = (folder / "identity").read_text().strip().partition(":")[2]
    identity = base64.urlsafe_b64decode(text)[:32]
    files = b"".join(path.read_bytes() for path in store.files())
    for secret in (identity, text.encode(), (folder / "unlock.key").read_bytes()):
        assert secret not in files
    assert str(command).encode() in files, "what is public is there, so it was looked for rightly"


def mistyped(public):
    swapped = public[:30] + ("A" if public[30] != "A" else "B") + public[31:]
    return [swapped, public[:-1], public + "A", public.split(":")[1], public.upper(), "alice"]


def test_a_mistyped_public_key_is_refused(store, folder):
    public = new_identity(folder / "identity")
    for text in mistyped(public):
        store.refuses(FAILED, "key", "add", "--recipient", text)
    argv = [SECRETCTL, "--store", folder / "new.db", "init", "--recipient", mistyped(public)[0]]
    one_line(run(argv, status=FAILED).stderr, "secretctl")
    assert not (folder / "new.db").exists()
    assert slots(store) == [(1, "keyfile")]


def test_an_identity_in_place_of_a_public_key_is_not_repeated(store, folder):
    new_identity(folder / "identity")
    secret = (folder / "identity").read_text().strip()
    line = store.refuses(FAILED, "key", "add", "--recipient", secret)
    assert "secret" in line and secret.partition(":")[2] not in line


def break_identity(path, how):
    text = path.read_text()
    if how == "mode":
        path.chmod(0o644)
    elif how == "public":
        path.write_text("secretfs-recipient:" + text.partition(":")[2])
    elif how == "mistyped":
        path.write_text(text[:30] + ("A" if text[30] != "A" else "B") + text[31:])
    elif how == "missing":
        path.unlink()
    elif how == "key":
        path.write_bytes(os.urandom(32))
    else:
        path.write_text({"short": text[:-2], "more": text + "\n", "none": ""}[how])


@pytest.mark.parametrize(
    "how", ["mode", "public", "mistyped", "missing", "key", "short", "more", "none"]
)
def test_what_is_no_identity_is_refused(store, folder, how):
    path = folder / "identity"
    store.ctl("key", "add", "--recipient", new_identity(path))
    secret = path.read_text()[25:45]
    break_identity(path, how)
    line = opening(store, "--identity", path).refuses(LOCKED, "ls")
    assert str(path) in line and secret not in line
    line = refuses_to_mount(LOCKED, store.path, folder / "mnt", f"identity={path}")
    assert str(path) in line and secret not in line


# ---- commands


def test_a_command_opens_the_store(store, folder, mount):
    store.put("a", b"value")
    command = key_command(folder)
    store.ctl("key", "add", "--new-unlock-command", command)
    assert opening(store, "--unlock-command", command).get("a") == b"value"
    assert f"2   command    {command}\n" in store.ctl("key", "ls").decode()
    served = mount(
        f"unlock_command={command}", of=SimpleNamespace(path=store.path, unlock=[])
    )
    assert (served.path / "a").read_bytes() == b"value"


def test_a_store_is_made_for_a_command(folder):
    command = key_command(folder)
    store = opening(Store(folder), "--unlock-command", command)
    store.ctl("init")
    assert slots(store) == [(1, "command")]
    line = run([SECRETCTL, "--store", store.path, "ls"], status=LOCKED).stderr
    assert "--unlock-command" in one_line(line, "secretctl")
    line = refuses_to_mount(LOCKED, store.path, folder / "mnt")
    assert "unlock_command" in line


def test_what_the_slot_names_is_never_run(store, folder):
    """Whoever can write the file can write any path there."""
    command = key_command(folder)
    store.ctl("key", "add", "--new-unlock-command", command)
    remove(store, 1)
    command.rename(folder / "real")
    script(folder / "unlock", f"touch {folder}/was-run; exec cat {folder}/unlock.key")
    for words in (["ls"], ["key", "ls"], ["check"], ["status"]):
        run([SECRETCTL, "--store", store.path, *words], status=LOCKED)
    refuses_to_mount(LOCKED, store.path, folder / "mnt")
    real = opening(store, "--unlock-command", folder / "real")
    assert slots(real) == [(2, "command")]
    assert not (folder / "was-run").exists()


def test_what_a_command_is_given(store, folder):
    report = folder / "report"
    command = script(
        folder / "unlock",
        f"exec > {report} 2>&1; env | sort; pwd; echo $#; wc -c; ls /proc/self/fd | wc -l;"
        "cut -d' ' -f5,6 /proc/$$/stat; echo $$; umask",
    )
    with open(folder / "open", "wb") as extra:
        os.set_inheritable(extra.fileno(), True)
        env = {**os.environ, "LEAKED": "x", "SECRETFS_STORE": "y"}
        other = opening(store, "--unlock-command", command)
        other.refuses(LOCKED, "ls", env=env, close_fds=False)
    lines = report.read_text().splitlines()
    pid = lines[-2]
    assert lines == [
        "LANG=C.UTF-8",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/",
        "/",
        "0",
        "0",
        "4",  # its three, and the one of ls itself
        f"{pid} {pid}",
        pid,
        "0077",
    ]


def test_what_a_command_says_is_passed_on(store, folder):
    command = script(folder / "unlock", "echo the TPM is locked >&2; exit 3")
    done = run(opening(store, "--unlock-command", command).argv("ls"), status=LOCKED)
    first, second = done.stderr.decode().splitlines()
    assert first == "the TPM is locked"
    assert second.startswith("secretctl: cannot use the unlock command") and "exit status" in second


@pytest.mark.parametrize(
    "text, reason",
    [
        ("head -c 31 /dev/zero", "32 bytes"),
        ("head -c 33 /dev/zero", "32 bytes"),
        ("cat /dev/zero", "32 bytes"),
        ("exit 0", "32 bytes"),
        ("head -c 32 /dev/zero; exit 1", "exit status"),
        ("head -c 32 /dev/zero; kill -TERM $$", "signal"),
    ],
)
def test_a_command_that_gives_no_key_is_refused(store, folder, text, reason):
    command = script(folder / "unlock", text)
    line = opening(store, "--unlock-command", command).refuses(LOCKED, "ls")
    assert reason in line and str(command) in line
    line = store.refuses(LOCKED, "key", "add", "--new-unlock-command", command)
    assert reason in line
    assert slots(store) == [(1, "keyfile")]


def test_a_child_that_keeps_the_output_open_is_not_waited_for(store, folder):
    command = key_command(folder)
    store.ctl("key", "add", "--new-unlock-command", command)
    child = f"setsid sh -c 'echo $$ > {folder}/pid; exec sleep 60' 2>/dev/null &"
    script(command, f"{child} while [ ! -s {folder}/pid ]; do sleep 0.01; done; cat {command}.key")
    begun = time.monotonic()
    opening(store, "--unlock-command", command).ctl("ls")
    assert time.monotonic() - begun < 30
    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)


def spoil_command(folder, how):
    """A command that must not run; returns its path."""
    command = script(folder / "unlock", f"touch {folder}/was-run; head -c 32 /dev/zero")
    if how == "missing":
        command.unlink()
    elif how == "directory":
        return folder
    elif how == "fifo":
        command.unlink()
        os.mkfifo(command, 0o700)
    elif how == "owner":
        os.chown(command, 1, 1)
    elif how == "group":
        command.chmod(0o775)
    elif how == "others":
        command.chmod(0o757)
    elif how == "not executable":
        command.chmod(0o644)
    elif how == "folder":
        folder.chmod(0o777)
    elif how == "folder's owner":
        os.chown(folder, 1, 1)
    elif how == "linked":
        (folder / "target").mkdir()
        command.rename(folder / "target/unlock")
        (folder / "target").chmod(0o777)
        command.symlink_to(folder / "target/unlock")
    elif how == "relative":
        return os.path.relpath(command)
    return command


@pytest.mark.parametrize(
    "how",
    ["missing", "directory", "fifo", "owner", "group", "others", "not executable", "folder"]
    + ["folder's owner", "linked", "relative"],
)
def test_a_command_that_others_could_change_is_not_run(store, folder, how):
    command = spoil_command(folder, how)
    line = opening(store, "--unlock-command", command).refuses(LOCKED, "ls")
    assert str(command) in line
    line = refuses_to_mount(LOCKED, store.path, folder / "mnt", f"unlock_command={command}")
    assert str(command) in line
    assert not (folder / "was-run").exists()


def test_an_interrupted_command_is_dead(store, folder):
    command = script(folder / "unlock", f"echo $$ > {folder}/pid; exec sleep 300")
    argv = opening(store, "--unlock-command", command).argv("ls")
    process = subprocess.Popen([str(word) for word in argv], stderr=subprocess.PIPE)
    pid = int(eventually((folder / "pid").read_text))
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM, stderr
    eventually(lambda: is_dead(pid))


def test_a_command_has_ten_seconds(sleeper):
    _, stderr = sleeper.process.communicate(timeout=60)
    assert time.monotonic() - sleeper.begun >= 10
    assert sleeper.process.returncode == LOCKED
    assert "10 s" in one_line(stderr, "secretctl")
    eventually(lambda: is_dead(int((sleeper.folder / "pid").read_text())))
