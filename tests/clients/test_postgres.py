"""psql logs in to a PostgreSQL server on loopback with a password file read from the mount."""

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from harness import accepts_connections, eventually, free_port, identity, run

CLIENT = 20001
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]


def as_postgres(*argv, **options):
    user = pwd.getpwnam("postgres")
    return run(argv, cwd="/", **identity(user.pw_uid, user.pw_gid), **options)


@pytest.fixture
def server(folder):
    """A server that asks for passwords; its port. The administrator comes by the socket."""
    home = folder / "postgres"
    home.mkdir()
    user = pwd.getpwnam("postgres")
    os.chown(home, user.pw_uid, user.pw_gid)
    port = free_port()
    as_postgres(
        BINARIES / "initdb",
        "--no-sync",
        "--auth-local=peer",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        "-D",
        home / "data",
    )
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [BINARIES / "pg_ctl", "-D", home / "data", "-l", home / "log"]
    as_postgres(*control, "-w", "-o", options, "start", stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: accepts_connections(port))
        yield port
    finally:
        as_postgres(*control, "-m", "immediate", "stop")


@pytest.fixture
def administer(server, folder):
    def sql(statement):
        as_postgres(BINARIES / "psql", "-h", folder / "postgres", "-p", server, "-qc", statement)

    return sql


def query(port, pgpass):
    """Run psql as the client, with its password file on the mount."""
    server = f"-h 127.0.0.1 -p {port} -U app -w".split()
    variables = {"PGPASSFILE": str(pgpass), "PATH": "/usr/bin:/bin"}
    argv = [BINARIES / "psql", *server, "-Atc", "SELECT current_user", "postgres"]
    return run(argv, status=None, env=variables, cwd="/", **identity(CLIENT))


def pgpass_line(port, password):
    return f"127.0.0.1:{port}:*:app:{password}\n".encode()


def test_psql_logs_in_with_the_password_file_and_after_a_rotation(store, mount, server, administer):
    administer("CREATE ROLE app LOGIN PASSWORD 'first'")
    store.put("db/pgpass", pgpass_line(server, "first"), "-p", "--owner", CLIENT, "--mode", "0400")
    path = mount().path / "db/pgpass"
    done = query(server, path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"app\n", b"")

    administer("ALTER ROLE app PASSWORD 'second'")
    assert b"password authentication failed" in query(server, path).stderr
    rotated = pgpass_line(server, "second")
    store.put("db/pgpass", rotated)
    eventually(lambda: path.read_bytes() == rotated)
    assert query(server, path).stdout == b"app\n"


def test_psql_ignores_a_password_file_that_others_may_read(store, mount, server, administer):
    administer("CREATE ROLE app LOGIN PASSWORD 'first'")
    store.put("pgpass", pgpass_line(server, "first"), "--owner", CLIENT, "--mode", "0444")
    path = mount().path / "pgpass"
    for mode in ("0444", "0440"):
        store.ctl("chmod", mode, "pgpass")
        eventually(lambda expected=int(mode, 8): path.stat().st_mode & 0o777 == expected)
        done = query(server, path)
        assert done.returncode == 2 and b"has group or world access" in done.stderr
        assert b"no password supplied" in done.stderr
    store.ctl("chmod", "0400", "pgpass")
    eventually(lambda: path.stat().st_mode & 0o777 == 0o400)
    assert query(server, path).stdout == b"app\n"


def test_psql_cannot_use_the_password_file_of_another_user(store, mount, server, administer):
    administer("CREATE ROLE app LOGIN PASSWORD 'first'")
    store.put("pgpass", pgpass_line(server, "first"), "--owner", CLIENT + 1, "--mode", "0400")
    done = query(server, mount().path / "pgpass")
    assert done.returncode == 2 and b"no password supplied" in done.stderr
