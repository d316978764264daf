"""A PostgreSQL server on loopback that asks for passwords; its administrator comes by the socket."""

import os
import pwd
import subprocess
from pathlib import Path

from harness import accepts_connections, eventually, free_port, identity, run

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]


def as_postgres(*argv, **options):
    user = pwd.getpwnam("postgres")
    return run(argv, cwd="/", **identity(user.pw_uid, user.pw_gid), **options)


class Postgres:
    """A server of the test's own; it runs from start() to stop()."""

    def __init__(self, folder):
        self.home = folder / "postgres"
        self.home.mkdir()
        self.log = self.home / "log"
        user = pwd.getpwnam("postgres")
        os.chown(self.home, user.pw_uid, user.pw_gid)
        self.port = free_port()
        as_postgres(
            BINARIES / "initdb",
            "--no-sync",
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "-D",
            self.home / "data",
        )
        self.start()

    def control(self, *args):
        argv = [BINARIES / "pg_ctl", "-D", self.home / "data", "-l", self.log, *args]
        as_postgres(*argv, stdout=subprocess.DEVNULL)

    def start(self):
        options = f"-p {self.port} -k {self.home} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.control("-w", "-o", f"{options} -c log_statement=all", "start")
        eventually(lambda: accepts_connections(self.port))

    def stop(self):
        self.control("-m", "immediate", "stop")

    def sql(self, statement):
        where = ["-h", self.home, "-p", self.port]
        return as_postgres(BINARIES / "psql", *where, "-AtXqc", statement).stdout.decode().strip()
