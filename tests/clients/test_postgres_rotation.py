"""The rotator for PostgreSQL: two roles take turns, and clients of libpq read a service file."""

import re
import shutil
import subprocess

import pytest

from harness import FAILED, QUICK, ROOT, end, identity, run, spawn
from postgres import BINARIES, Postgres

CLIENT = 20001
SERVICE = "[app]\nhost=127.0.0.1\nport={port}\ndbname=postgres\nuser=app_a\npassword=first-password\n"


@pytest.fixture
def postgres(rotators, folder):
    """A server with both roles and the rotator's, and the rotator in its folder."""
    running = Postgres(folder)
    running.sql("CREATE ROLE app_a LOGIN PASSWORD 'first-password'")
    running.sql("CREATE ROLE app_b LOGIN")
    running.sql("CREATE ROLE rotator LOGIN CREATEROLE PASSWORD 'admin-password'")
    running.sql("GRANT app_a, app_b TO rotator WITH ADMIN OPTION")
    shutil.copy(ROOT / "tools/rotators/postgresql", rotators)
    admin = rotators.parent / "postgresql-rotator.conf"
    text = SERVICE.format(port=running.port).replace("[app]", "[rotator]").replace("app_a", "rotator")
    admin.write_text(text.replace("first-password", "admin-password"))
    admin.chmod(0o600)
    yield running
    running.stop()


@pytest.fixture
def secret(postgres, store):
    store.quick = True
    service = SERVICE.format(port=postgres.port).encode()
    store.put("db/app", service, "-p", "--owner", CLIENT, "--mode", "0400")
    store.ctl("rotation", "db/app", "--every", "30d", "--rotator", "postgresql")
    return "db/app"


def client(path, *words, **options):
    """psql as the application's user, with what the mount shows."""
    env = {"PGSERVICEFILE": str(path), "PGSERVICE": "app", "PATH": "/usr/bin:/bin"}
    argv = [BINARIES / "psql", "-XAtqw", *words]
    return options.pop("by", run)(argv, env=env, cwd="/", **identity(CLIENT), **options)


def logs_in(path):
    return client(path, "-c", "SELECT session_user").stdout.decode().strip()


def password(store, *options):
    return re.search(rb"^password=(.*)$", store.get("db/app", *options), re.MULTILINE)[1]


def test_roles_take_turns_and_nobody_is_cut_off(store, secret, postgres, mount):
    path = mount().path / secret
    assert logs_in(path) == "app_a"
    connected = client(path, by=spawn, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:

        def asks():
            connected.stdin.write(b"SELECT session_user;\n")
            connected.stdin.flush()
            return connected.stdout.readline()

        assert asks() == b"app_a\n"
        for role in ("app_b", "app_a", "app_b"):
            assert store.ctl("rotate", secret) == b""
            assert logs_in(path) == role
            assert asks() == b"app_a\n"
        connected.stdin.close()
    finally:
        assert end(connected) == 0
    assert len(password(store)) == 48
    assert password(store) != password(store, "--label", "previous")
    lines = [line.split(b"=")[0] for line in store.get(secret).splitlines()]
    assert lines == [b"[app]", b"host", b"port", b"dbname", b"user", b"password"]


def test_no_password_is_in_the_log_of_the_server(store, secret, postgres):
    store.ctl("rotate", secret)
    log = postgres.log.read_bytes()
    assert b"ALTER USER app_b PASSWORD 'SCRAM-SHA-256$" in log
    assert password(store) not in log


def test_a_server_that_is_down_changes_nothing_and_is_gone_on_with(store, secret, postgres, mount):
    path = mount().path / secret
    before = store.get(secret)
    postgres.stop()
    done = run(store.argv("rotate", secret), status=FAILED, env=QUICK)
    assert b"postgresql: set: " in done.stderr and b"Connection refused" in done.stderr
    assert b"in the step 'set'" in done.stderr.splitlines()[-1]
    postgres.start()
    assert path.read_bytes() == before == store.get(secret)
    assert logs_in(path) == "app_a"
    pending = store.json("rotation", secret)["version"]
    assert store.json("rotate", "--due") == [{"path": secret, "version": pending}]
    assert logs_in(path) == "app_b"


def test_a_new_password_that_does_not_log_in_is_never_shown(store, secret, postgres, mount):
    path = mount().path / secret
    postgres.sql("ALTER ROLE app_b NOLOGIN")
    done = run(store.argv("rotate", secret), status=FAILED, env=QUICK)
    assert b'role "app_b" is not permitted to log in' in done.stderr
    assert b"in the step 'test'" in done.stderr.splitlines()[-1]
    assert password(store) not in done.stderr
    assert logs_in(path) == "app_a"
    postgres.sql("ALTER ROLE app_b LOGIN")
    store.ctl("rotate", secret)
    assert logs_in(path) == "app_b"


def test_the_old_password_can_be_taken_away(store, secret, postgres, rotators, mount, folder):
    path = mount().path / secret
    kept = folder / "kept"
    kept.write_bytes(path.read_bytes())
    kept.chmod(0o444)
    store.ctl("rotate", secret)
    assert logs_in(kept) == "app_a", "until its next turn"
    program = rotators / "postgresql"
    program.write_text(program.read_text().replace("revoke_old=no", "revoke_old=yes"))
    for role in ("app_a", "app_b"):
        kept.write_bytes(path.read_bytes())
        store.ctl("rotate", secret)
        assert logs_in(path) == role
        done = client(kept, "-c", "SELECT 1", status=2)
        assert b"password authentication failed" in done.stderr


OTHERS = {
    b"[app]\nuser=app_a\n": "the value has no line",
    b"[app]\npassword=first-password\n": "no line 'user='",
    b"[app]\nuser=app\npassword=first-password\n": "ends neither in _a nor in _b",
    b"[app]\nuser=\";_a\npassword=first-password\n": "neither a-z, 0-9 nor _",
}


def test_a_value_of_another_kind_is_left_alone(store, secret):
    for value, reason in OTHERS.items():
        store.put(secret, value)
        done = run(store.argv("rotate", secret), status=FAILED, env=QUICK)
        assert reason in done.stderr.decode() and b"first-password" not in done.stderr
        assert store.get(secret) == value
        store.ctl("rotate", "--drop", secret)
