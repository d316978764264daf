"""A store's file as anybody with SQLite can change it who has no key."""

import sqlite3
from contextlib import closing


def execute(path, *statements):
    """Run statements, each an SQL text or a pair of one and its values."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            text, values = (statement, ()) if isinstance(statement, str) else statement
            database.execute(text, values)


def query(path, text, values=()):
    with closing(sqlite3.connect(path)) as database:
        return database.execute(text, values).fetchall()


def tables(path):
    return [name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type='table'")]


def row_ids(path):
    """The rows of every table: a list of (table, rowid)."""
    return [
        (name, rowid)
        for name in tables(path)
        for (rowid,) in query(path, f"SELECT rowid FROM {name}")
    ]


def row(path, table, rowid, columns="*"):
    """The row's cells, or None where there is none."""
    found = query(path, f"SELECT {columns} FROM {table} WHERE rowid=?", (rowid,))
    return found[0] if found else None


def columns(path, table):
    """The names of a table's columns but the one that is the rowid."""
    return [name for _, name, _, _, _, key in query(path, f"PRAGMA table_info({table})") if not key]
