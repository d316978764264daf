"""psql logs in to a PostgreSQL server on loopback with a password file read from the mount."""

import pytest

from harness import eventually, identity, run
from postgres import BINARIES, Postgres

CLIENT = 20001


@pytest.fixture
def postgres(folder):
    running = Postgres(folder)
    yield running
    running.stop()


@pytest.fixture
def server(postgres):
    return postgres.port


@pytest.fixture
def administer(postgres):
    return postgres.sql


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
