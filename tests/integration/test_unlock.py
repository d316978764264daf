"""Making and unlocking a store: key files, passphrases, and files that are no store of ours."""

import os
from types import SimpleNamespace

import pytest

import database
from harness import (
    FAILED,
    INTEGRITY,
    LOCKED,
    SECRETCTL,
    USAGE,
    Store,
    fresh_folder,
    mounted,
    one_line,
    refuses_to_mount,
    remove_folder,
    run,
)

PASSPHRASE = b"correct horse battery"


def pipe_with(data):
    """The reading end of a pipe that gives `data`."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader


def with_passphrase(program, words, passphrase, status=0):
    """Run a program with --passphrase-fd reading `passphrase`."""
    reader = pipe_with(passphrase)
    try:
        argv = [program, "--passphrase-fd", reader, *words]
        return run(argv, status=status, pass_fds=[reader])
    finally:
        os.close(reader)


def test_init_makes_a_private_store_and_key(folder):
    store = Store.fresh(folder)
    for path in (store.path, store.key):
        status = path.stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o600, 0, 0), path
    assert store.key.stat().st_size == 32
    assert len(set(store.key.read_bytes())) > 8, "it is random"
    assert store.ctl("ls") == b""


def test_init_uses_a_key_file_that_is_there(folder):
    key = os.urandom(32)
    (folder / "key").write_bytes(key)
    (folder / "key").chmod(0o600)
    store = Store.fresh(folder)
    assert store.key.read_bytes() == key
    store.ctl("check")


def test_init_leaves_an_existing_store_alone(store):
    store.put("a", b"value")
    before = {path: path.read_bytes() for path in (store.path, store.key)}
    line = store.refuses(FAILED, "init")
    assert "exists" in line
    assert {path: path.read_bytes() for path in before} == before
    assert store.get("a") == b"value"


def test_a_failed_init_leaves_nothing_behind(folder):
    (folder / "file").touch()
    argv = [
        SECRETCTL,
        "--store",
        folder / "file/store.db",
        "--key-file",
        folder / "made/key",
        "init",
    ]
    one_line(run(argv, status=FAILED).stderr, "secretctl")
    assert list(folder.iterdir()) == [folder / "file"]


def test_init_makes_the_folders_it_needs(folder):
    argv = [SECRETCTL, "--store", folder / "a/b/store.db", "--key-file", folder / "c/key", "init"]
    run(argv)
    for path in (folder / "a/b", folder / "c"):
        assert path.stat().st_mode & 0o077 == 0, f"{path} is for root only"


@pytest.mark.parametrize("size", [0, 31, 33, 4096])
def test_a_key_file_of_another_size_is_refused(store, size):
    store.key.write_bytes(os.urandom(size))
    line = store.refuses(LOCKED, "ls")
    assert "key" in line


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o666, 0o602])
def test_a_key_file_that_others_may_touch_is_refused(store, folder, mode):
    store.key.chmod(mode)
    line = store.refuses(LOCKED, "ls")
    assert str(store.key) in line
    refuses_to_mount(LOCKED, store.path, folder / "mnt", f"key_file={store.key}")


def test_another_key_is_refused(store, folder):
    store.key.write_bytes(os.urandom(32))
    line = store.refuses(LOCKED, "ls")
    assert line.count("'") >= 2, "it names what could not be unlocked"
    refuses_to_mount(LOCKED, store.path, folder / "mnt", f"key_file={store.key}")
    assert mounted(folder / "mnt") is None


def test_a_missing_key_file_is_refused(store):
    store.key.unlink()
    store.refuses(LOCKED, "ls")
    assert not store.key.exists(), "only init makes one"


@pytest.fixture(scope="module")
def behind_passphrase(machine):
    """A store without a key file, with one secret. Stretching takes a second each time."""
    folder = fresh_folder()
    path = folder / "store.db"
    with_passphrase(SECRETCTL, ["--store", path, "init", "--audit", "none"], PASSPHRASE)
    assert list(folder.iterdir()) == [path] and path.stat().st_mode & 0o7777 == 0o600
    with_passphrase(SECRETCTL, ["--store", path, "put", "a", "--generate", "hex:16"], PASSPHRASE)
    yield path
    remove_folder(folder)


def test_a_passphrase_unlocks(behind_passphrase):
    words = ["--store", behind_passphrase, "get", "a"]
    done = with_passphrase(SECRETCTL, words, PASSPHRASE + b"\n")
    assert len(done.stdout) == 16 and done.stderr == b"", "a passphrase may end with a newline"
    for wrong in (b"another phrase", PASSPHRASE + b" ", b""):
        done = with_passphrase(SECRETCTL, words, wrong, status=LOCKED)
        assert PASSPHRASE.decode() not in one_line(done.stderr, "secretctl")


def test_a_daemon_unlocks_with_a_passphrase(behind_passphrase, mount):
    reader = pipe_with(PASSPHRASE)
    store = SimpleNamespace(path=behind_passphrase, unlock=[])
    served = mount(f"passphrase_fd={reader}", of=store, pass_fds=[reader])
    os.close(reader)
    assert len((served.path / "a").read_bytes()) == 16


def test_init_takes_one_way_of_unlocking(folder):
    reader = pipe_with(PASSPHRASE)
    argv = [
        SECRETCTL,
        "--store",
        folder / "store.db",
        "--key-file",
        folder / "key",
        "--passphrase-fd",
        reader,
        "init",
        "--passphrase",
    ]
    one_line(run(argv, status=USAGE, pass_fds=[reader]).stderr, "secretctl")
    os.close(reader)
    assert list(folder.iterdir()) == []


# ---- what is no store of ours


def test_an_unknown_format_version_is_refused_with_a_sentence(store, folder):
    database.execute(store.path, "PRAGMA user_version=99")
    line = store.refuses(FAILED, "ls")
    assert "99" in line and "format" in line
    line = refuses_to_mount(FAILED, store.path, folder / "mnt", f"key_file={store.key}")
    assert "99" in line and "format" in line


def test_another_database_is_refused(store):
    database.execute(store.path, "PRAGMA application_id=1")
    store.refuses(FAILED, "ls")


@pytest.mark.parametrize("content", [b"", b"x", b"not a database at all\n" * 400, b"\0" * 8192])
def test_a_file_that_is_no_database_is_refused(store, content):
    store.path.write_bytes(content)
    store.refuses(FAILED, "ls")
    assert store.path.read_bytes() == content


def test_a_missing_store_is_said_to_be_missing(store):
    store.path.unlink()
    line = store.refuses(FAILED, "ls")
    assert "init" in line, "it says what to do next"
    assert not store.path.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE extra (a)",
        "CREATE VIEW extra AS SELECT 1",
        "CREATE TRIGGER extra AFTER UPDATE ON {table} BEGIN SELECT 1; END",
        "CREATE INDEX extra ON {table} ({column})",
        "ALTER TABLE {table} ADD COLUMN extra INTEGER",
    ],
)
def test_a_store_with_more_in_its_schema_is_refused(store, folder, statement):
    store.put("a", b"value")
    table = database.tables(store.path)[0]
    column = database.columns(store.path, table)[0]
    database.execute(store.path, statement.format(table=table, column=column))
    done = run(store.argv("get", "a"), status=None)
    assert done.returncode in (FAILED, INTEGRITY) and done.stdout == b"", done
    one_line(done.stderr, "secretctl")
