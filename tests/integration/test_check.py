"""`secretctl check` names the record that is damaged; a file with another schema is refused at once.

Whoever damages the store here has no key. `test_tamper.py` shows that nothing passes for right.
"""

import os
import shutil

import pytest

import database
from harness import (
    FAILED,
    INTEGRITY,
    LOCKED,
    Store,
    fresh_folder,
    one_line,
    remove_folder,
    run,
)


@pytest.fixture(scope="module")
def made():
    """A store that is made once; the tests damage copies of it."""
    folder = fresh_folder()
    store = Store.fresh(folder)
    store.quick = True
    store.put("dir/a", b"former", "-p")
    store.put("b", b"another")
    store.older = store.folder / "older.db"
    shutil.copy(store.path, store.older)
    store.put("dir/a", b"present")
    store.ctl("chmod", "0440", "b")
    store.ctl("mkdir", "empty")
    assert [path.name for path in store.files()] == ["store.db"]
    yield store
    remove_folder(folder)


@pytest.fixture
def filled(made, folder):
    """As it was made, with damage() to come."""
    store = Store(folder)
    store.unlock, store.older, store.quick = made.unlock, made.older, True
    shutil.copy(made.path, store.path)
    return store


def ids(store, path):
    """The ids of a secret's node and of its versions, oldest first, in the order they are given."""
    known = {"dir/a": (18, [19, 22]), "b": (20, [21]), "empty": (23, []), "dir": (17, [])}
    return known[path]


def damage(store, *statements):
    path = store.folder / "damaged.db"
    shutil.copy(store.path, path)
    database.execute(path, *statements)
    store.path = path


def first_bad(store):
    """What check says between the brackets; and that nothing else does any better."""
    line = store.refuses(INTEGRITY, "check")
    head, _, rest = line.partition(" (")
    assert head.endswith("the store is damaged or was tampered with")
    found, _, tail = rest.rpartition("); ")
    assert tail == "trust nothing in it, and bring back a backup\n"
    return found


def test_the_ids_are_those(filled):
    for path in ("dir/a", "b", "empty", "dir"):
        node, versions = ids(filled, path)
        assert database.row(filled.path, "node", node)
        assert all(database.row(filled.path, "version", version) for version in versions)
    assert len(database.row_ids(filled.path)) == 5 + 3 + 1 + 1


BOX = "its box does not open: it was changed, or is another row's"
MISSING = "its row is missing"

ONE_ROW = {
    "a value is changed": (
        "UPDATE version SET box = zeroblob(length(box)) WHERE id = 22",
        f"version 22, 'dir/a': {BOX}",
    ),
    "a former value is changed": (
        "UPDATE version SET box = zeroblob(length(box)) WHERE id = 19",
        f"version 19, 'dir/a': {BOX}",
    ),
    "two values are exchanged": (
        "UPDATE version SET (seal, box) = (SELECT seal, box FROM version v WHERE v.id = 40 - version.id)"
        " WHERE id IN (19, 21)",
        f"version 19, 'dir/a': {BOX}",
    ),
    "a value is missing": ("DELETE FROM version WHERE id = 21", f"version 21, 'b': {MISSING}"),
    "a secret is missing": ("DELETE FROM node WHERE id = 20", f"node 20: {MISSING}"),
    "a directory is missing": ("DELETE FROM node WHERE id = 17", f"node 17: {MISSING}"),
    "the root directory is missing": ("DELETE FROM node WHERE id = 16", f"node 16: {MISSING}"),
    "an empty directory is missing": (
        "DELETE FROM node WHERE id = 23",
        "node: a row is missing, which no other tells of",
    ),
    "a node is changed": (
        "UPDATE node SET box = randomblob(length(box)) WHERE id = 18",
        f"node 18: {BOX}",
    ),
    "a name leads elsewhere": (
        "UPDATE node SET lookup = randomblob(32) WHERE id = 18",
        "node 18, 'dir/a': its lookup hash was changed",
    ),
    "a node is doubled": (
        "INSERT INTO node SELECT 99, generation, randomblob(32), seal, box FROM node WHERE id = 18",
        f"node 99: {BOX}",
    ),
    "a value is doubled": (
        "INSERT INTO version SELECT 99, generation, seal, box FROM version WHERE id = 22",
        f"version 99: {BOX}",
    ),
    "a slot is doubled": (
        "INSERT INTO slot SELECT 2, generation, box FROM slot",
        "slot: there is a row too many",
    ),
    "a node's commit is later": (
        "UPDATE node SET generation = 1000 WHERE id = 20",
        "node 20, 'b': it is of a later commit than the root record",
    ),
    "a version's commit is later": (
        "UPDATE version SET generation = 1000 WHERE id = 21",
        "version 21, 'b': it is of a later commit than the root record",
    ),
    "a column is too short": (
        "UPDATE node SET lookup = x'00' WHERE id = 18",
        "node 18: its columns are malformed",
    ),
    "the root record is changed": (
        "UPDATE root SET box = randomblob(length(box))",
        "root 1: its seal is broken",
    ),
    "the root record is doubled": (
        "INSERT INTO root SELECT 2, uuid, seal, box FROM root",
        "root: there must be exactly one row",
    ),
}


@pytest.mark.parametrize("statement, wanted", ONE_ROW.values(), ids=ONE_ROW)
def test_the_first_bad_record_is_named(filled, statement, wanted):
    damage(filled, statement)
    if "root record is doubled" in wanted or wanted.startswith("root:"):
        assert wanted in filled.refuses(INTEGRITY, "check")
    else:
        assert first_bad(filled) == wanted


REPLAYED = {
    "a secret from before its last version": (
        "REPLACE INTO node SELECT * FROM old.node WHERE id = 18",
        "node 18, 'dir/a': an earlier row was put back: it does not know of its latest version",
    ),
    "a policy": (
        "REPLACE INTO node SELECT * FROM old.node WHERE id = 20",
        "rows: one is not as it was last committed, though each is good by itself: an earlier one was"
        " put back, or a generation or key slot changed",
    ),
    "the root record": (
        "REPLACE INTO root SELECT * FROM old.root",
        "node 18, 'dir/a': it is of a later commit than the root record",
    ),
}


@pytest.mark.parametrize("statement, wanted", REPLAYED.values(), ids=REPLAYED)
def test_what_was_put_back_is_named_where_others_tell(filled, statement, wanted):
    damage(filled, f"ATTACH '{filled.older}' AS old", statement)
    assert first_bad(filled) == wanted


def test_a_version_that_was_deleted_and_is_back_is_named(store):
    store.quick = True
    for number in range(2):
        store.put("a", str(number).encode())
    shutil.copy(store.path, store.folder / "older.db")
    for number in range(100):
        store.put("a", str(number).encode())
    assert store.files() == [store.path], "what is pruned is no purge, which would leave a mark"
    old = store.folder / "older.db"
    damage(store, f"ATTACH '{old}' AS old", "INSERT INTO version SELECT * FROM old.version WHERE id = 18")
    assert first_bad(store) == "version 18, 'a': it was deleted, and put back"


def test_no_name_is_told_to_who_can_not_unlock(filled):
    damage(filled, ONE_ROW["a value is changed"][0])
    other = filled.folder / "other-key"
    other.write_bytes(os.urandom(32))
    filled.unlock = ["--key-file", other]
    line = filled.refuses(LOCKED, "check")
    assert "dir" not in line and "version" not in line


def test_other_commands_do_not_give_a_value_of_it(filled):
    damage(filled, ONE_ROW["a name leads elsewhere"][0])
    assert "node 18" in filled.refuses(INTEGRITY, "get", "dir/a")


# ---- Schemas

NODE = (
    "CREATE TABLE node(id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, lookup BLOB NOT NULL, "
    "seal BLOB NOT NULL, box BLOB NOT NULL) STRICT"
)


def redefined(text):
    """Statements that put another definition of a table in the place of its own."""
    return ("PRAGMA writable_schema=ON", ("UPDATE sqlite_schema SET sql=? WHERE name='node'", (text,)))


HOSTILE = {
    "a trigger": ["CREATE TRIGGER t AFTER INSERT ON node BEGIN DELETE FROM slot; END"],
    "a view": ["CREATE VIEW v AS SELECT * FROM node"],
    "a view like a table": ["DROP TABLE version", "CREATE VIEW version AS SELECT 1 AS id"],
    "another table": ["CREATE TABLE extra(x)"],
    "another index": ["CREATE INDEX extra ON version(generation)"],
    "a partial index": ["CREATE INDEX extra ON node(id) WHERE generation > 1"],
    "an index on an expression": ["CREATE INDEX extra ON node(abs(generation))"],
    "a missing index": ["DROP INDEX node_lookup"],
    "a missing table": ["DROP TABLE slot"],
    "a table for counters": ["CREATE TABLE n(id INTEGER PRIMARY KEY AUTOINCREMENT)", "DROP TABLE n"],
    "statistics": ["ANALYZE"],
    "a virtual table": ["CREATE VIRTUAL TABLE v USING fts4(x)"],
    "another column": ["ALTER TABLE node ADD COLUMN extra BLOB"],
    "a generated column": redefined(NODE.replace(") STRICT", ", g AS (id + 1)) STRICT")),
    "a default": redefined(NODE.replace("box BLOB NOT NULL", "box BLOB NOT NULL DEFAULT 'x'")),
    "a check": redefined(NODE.replace("box BLOB NOT NULL", "box BLOB NOT NULL CHECK (box > 1)")),
    "no STRICT": redefined(NODE.replace(" STRICT", "")),
    "other types": redefined(NODE.replace("box BLOB", "box TEXT")),
    "WITHOUT ROWID": redefined(NODE + ", WITHOUT ROWID"),
    "other letters": redefined(NODE.replace("CREATE TABLE", "create table")),
    "no text": redefined(None),
    "nonsense": redefined("SELECT 1"),
    "a type that is not its own": [
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_schema SET type='view' WHERE name='node'",
    ],
    "one table's pages for another": [
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_schema SET rootpage=(SELECT rootpage FROM sqlite_schema WHERE name='slot')"
        " WHERE name='version'",
    ],
    "larger pages": ["PRAGMA journal_mode=DELETE", "PRAGMA page_size=65536", "VACUUM"],
    "smaller pages": ["PRAGMA journal_mode=DELETE", "PRAGMA page_size=512", "VACUUM"],
    "a huge row": ["UPDATE node SET box = zeroblob(100000000) WHERE id = 18"],
}


@pytest.mark.parametrize("statements", HOSTILE.values(), ids=HOSTILE)
def test_another_schema_is_refused(filled, statements):
    damage(filled, *statements)
    for command in (["get", "b"], ["check"], ["put", "b"]):
        line = filled.refuses(INTEGRITY, *command)
        assert " (" in line, "it says what is wrong"


FORMATS = {
    "another application": "PRAGMA application_id = 1",
    "no application": "PRAGMA application_id = 0",
    "a later format": "PRAGMA user_version = 2",
    "no format": "PRAGMA user_version = 0",
    "a negative format": "PRAGMA user_version = -1",
}


@pytest.mark.parametrize("statement", FORMATS.values(), ids=FORMATS)
def test_another_format_is_no_store(filled, statement):
    damage(filled, statement)
    for command in (["get", "b"], ["check"]):
        assert "not a store that this version knows" in filled.refuses(FAILED, *command)


def test_what_the_schema_has_too_much_is_named(filled):
    damage(filled, "CREATE TABLE \"evil\nname\"(x)")
    line = filled.refuses(INTEGRITY, "check")
    assert "evil\\x0aname: it is not of a secretfs store" in line
    assert "slot: it is missing" in missing(filled)


def missing(store):
    database.execute(store.path, 'DROP TABLE "evil\nname"', "DROP TABLE slot")
    return store.refuses(INTEGRITY, "check")


def test_schemas_are_refused_before_a_key_is_asked_for(filled):
    damage(filled, HOSTILE["a trigger"][0])
    argv = filled.argv("check")
    argv[argv.index("--key-file") + 1] = filled.folder / "no-key"
    line = one_line(run(argv, status=INTEGRITY).stderr, "secretctl")
    assert "t: it is not of a secretfs store" in line
