"""Whoever can write the store but has no key gets a refusal, never a wrong answer.

A light version: a few hundred bytes, every row. The whole of it belongs to the fault suite.
"""

import itertools
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

import database
from harness import FAILED, INTEGRITY, LOCKED, QUICK, one_line, run

VALUE = b"the right value" * 20
REFUSALS = {FAILED, LOCKED, INTEGRITY}


@pytest.fixture
def small(store):
    store.put("dir/a", b"the former value", "-p")
    store.put("dir/a", VALUE)
    store.put("b", b"another")
    store.ctl("key", "add", "--new-key-file", store.folder / "another-key")
    assert [path.name for path in store.files()] == ["store.db"], "everything is in the one file"
    return store


def verdict(store, path, *command):
    """What a command says of a damaged copy: 'right', 'refused', or a description of the harm."""
    argv = store.argv(*command)
    argv[argv.index(store.path)] = path
    done = run(argv, status=None, env=QUICK)
    if done.returncode == 0:
        return (
            "right"
            if command[0] != "get" or done.stdout == VALUE
            else f"wrong value {done.stdout!r}"
        )
    if done.returncode not in REFUSALS:
        return f"exit status {done.returncode}: {done.stderr!r}"
    if done.stdout:
        return f"refused, but printed {done.stdout!r}"
    one_line(done.stderr, "secretctl")
    return "refused"


def test_flipped_bytes_give_the_right_value_or_a_refusal(small, measured):
    original = small.path.read_bytes()
    used = [offset for offset, byte in enumerate(original) if byte]
    offsets = sorted({*range(0, len(original), 397), *used[:: len(used) // 250]})

    def flip(offset):
        damaged = bytearray(original)
        damaged[offset] ^= 0x55
        path = small.folder / f"flipped-{offset}.db"
        path.write_bytes(damaged)
        command = ("check",) if offset % 2 else ("get", "dir/a")
        result = verdict(small, path, *command)
        for made in small.folder.glob(f"flipped-{offset}.db*"):
            made.unlink()
        return result

    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(offsets, pool.map(flip, offsets)))
    harm = {offset: what for offset, what in results.items() if what not in ("right", "refused")}
    assert not harm
    refused = list(results.values()).count("refused")
    assert refused > 100, "flips are noticed at all"
    measured(f"{len(results)} flipped bytes: {refused} refused, the others harmless")


def test_truncations_are_refused(small):
    original = small.path.read_bytes()
    for size in range(0, len(original), 4096 * 3):
        path = small.folder / "short.db"
        path.write_bytes(original[:size])
        assert verdict(small, path, "get", "dir/a") == "refused", size


def copy_with(store, *statements):
    path = store.folder / "changed.db"
    shutil.copy(store.path, path)
    database.execute(path, *statements)
    return path


def test_every_deleted_row_is_missed(small):
    rows = database.row_ids(small.path)
    assert len(rows) > 6
    for table, rowid in rows:
        path = copy_with(small, (f"DELETE FROM {table} WHERE rowid=?", (rowid,)))
        assert verdict(small, path, "get", "dir/a") == "refused", (table, rowid)


def swap(path, table, first, second):
    """The statements that exchange what two rows hold, their ids aside."""
    columns = database.columns(path, table)
    one, other = (database.row(path, table, rowid, ", ".join(columns)) for rowid in (first, second))
    away = [-1 if isinstance(cell, int) else b"-" for cell in one]  # some columns are unique
    text = f"UPDATE {table} SET {', '.join(f'{column}=?' for column in columns)} WHERE rowid=?"
    return (text, (*away, first)), (text, (*one, second)), (text, (*other, first))


def test_swapped_rows_are_noticed(small):
    rows = database.row_ids(small.path)
    pairs = [pair for pair in itertools.combinations(rows, 2) if pair[0][0] == pair[1][0]]
    assert len(pairs) > 8
    for (table, first), (_, second) in pairs:
        path = copy_with(small, *swap(small.path, table, first, second))
        assert verdict(small, path, "get", "dir/a") == "refused", (table, first, second)


def test_doubled_rows_are_noticed(small):
    for table, rowid in database.row_ids(small.path):
        columns = database.columns(small.path, table)
        row = dict(zip(columns, database.row(small.path, table, rowid, ", ".join(columns))))
        if "lookup" in row:
            row["lookup"] = os.urandom(32)  # the same is refused by an index
        names, marks = ", ".join(["id", *row]), ", ".join("?" * (1 + len(row)))
        path = copy_with(small, (f"INSERT INTO {table}({names}) VALUES({marks})", (99, *row.values())))
        assert verdict(small, path, "get", "dir/a") == "refused", (table, rowid)


def test_a_row_of_an_older_state_is_noticed(small):
    old = small.folder / "old.db"
    shutil.copy(small.path, old)
    small.put("dir/a", b"a newer value")
    replayed = 0
    for table, rowid in database.row_ids(old):
        row = database.row(old, table, rowid)
        if database.row(small.path, table, rowid) in (None, row):
            continue
        marks = ", ".join("?" * len(row))
        path = copy_with(small, (f"REPLACE INTO {table} VALUES ({marks})", row))
        assert verdict(small, path, "check") == "refused", (table, rowid)
        replayed += 1
    assert replayed >= 2
