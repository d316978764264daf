"""An OpenSSH key pair made by ssh-keygen, read from the mount to log in to an sshd on loopback."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import accepts_connections, end, eventually, free_port, identity, run, spawn

LOGIN = "secretfs-test"

# One user, one process.
pytestmark = pytest.mark.xdist_group("login")


@pytest.fixture
def login(folder):
    """A user who can log in, for the time of the test: ssh and sshd want an entry in passwd."""
    subprocess.run(
        ["userdel", LOGIN], stderr=subprocess.DEVNULL, check=False
    )  # of an interrupted run
    run(
        [
            "useradd",
            "--no-create-home",
            "--home-dir",
            folder,
            "--shell",
            "/bin/sh",
            "--password",
            "*",
            LOGIN,
        ]
    )
    yield pwd.getpwnam(LOGIN)
    run(["userdel", LOGIN])


@pytest.fixture
def keys(folder):
    """Two key pairs made by ssh-keygen, and one of the host."""
    for name in ("first", "second", "host"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name])
    return {name: (folder / name).read_bytes() for name in ("first", "second")}


@pytest.fixture
def sshd(folder, keys):
    """An sshd that lets the first key in; its port."""
    Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)
    port = free_port()
    shutil.copy(folder / "first.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"""
        Port {port}
        ListenAddress 127.0.0.1
        HostKey {folder}/host
        AuthorizedKeysFile {folder}/authorized_keys
        PidFile {folder}/sshd.pid
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        KbdInteractiveAuthentication no
        """
    )
    with open(folder / "sshd.log", "wb") as log:
        server = spawn(
            [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config"],
            stderr=log,
        )
    eventually(lambda: accepts_connections(port))
    host = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}")
    yield port
    server.terminate()
    end(server)


@pytest.fixture
def ssh(login, sshd, folder):
    """Log in with a key file, as the login user; the finished client."""

    def connect(key):
        options = {
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": folder / "known_hosts",
        }
        words = [word for name in options for word in ("-o", f"{name}={options[name]}")]
        argv = [
            "ssh",
            "-F",
            "/dev/null",
            *words,
            "-i",
            key,
            "-p",
            sshd,
            f"{LOGIN}@127.0.0.1",
            "id -un",
        ]
        return run(argv, status=None, **identity(login.pw_uid, login.pw_gid))

    return connect


def logged_in(done):
    return (done.returncode, done.stdout) == (0, f"{LOGIN}\n".encode())


def test_a_key_with_the_right_owner_and_mode_logs_in(store, mount, keys, login, ssh):
    store.put("ssh/id", keys["first"], "-p", "--owner", LOGIN, "--mode", "0400")
    done = ssh(mount().path / "ssh/id")
    assert logged_in(done), done.stderr


@pytest.mark.parametrize("mode", ["0444", "0440", "0640"])
def test_a_key_with_a_wide_mode_is_refused_by_openssh(store, mount, keys, login, ssh, mode):
    store.put("ssh/id", keys["first"], "-p", "--owner", LOGIN, "--mode", mode)
    path = mount().path / "ssh/id"
    done = ssh(path)
    assert done.returncode == 255 and b"UNPROTECTED PRIVATE KEY FILE" in done.stderr
    assert b"Permission denied (publickey)" in done.stderr
    store.ctl("chmod", "0400", "ssh/id")
    eventually(lambda: path.stat().st_mode & 0o777 == 0o400)
    assert logged_in(ssh(path))


def test_a_key_of_another_owner_is_refused_by_the_kernel(store, mount, keys, login, ssh):
    store.put("ssh/id", keys["first"], "-p", "--owner", "root", "--mode", "0400")
    path = mount().path / "ssh/id"
    done = ssh(path)
    assert done.returncode == 255
    assert f'Load key "{path}": Permission denied'.encode() in done.stderr
    store.ctl("chown", LOGIN, "ssh/id")
    eventually(lambda: path.stat().st_uid == login.pw_uid)
    assert logged_in(ssh(path))


def test_a_rotated_key_logs_in_where_the_old_one_no_longer_does(
    store, mount, folder, keys, login, ssh
):
    store.put("ssh/id", keys["first"], "-p", "--owner", LOGIN, "--mode", "0400")
    path = mount().path / "ssh/id"
    assert logged_in(ssh(path))
    shutil.copy(folder / "second.pub", folder / "authorized_keys")
    assert not logged_in(ssh(path))
    store.put("ssh/id", keys["second"])
    eventually(lambda: path.read_bytes() == keys["second"])
    assert logged_in(ssh(path))


def test_ssh_keygen_and_ssh_add_read_the_key(store, mount, folder, keys, login):
    store.put("id", keys["first"], "--owner", LOGIN, "--mode", "0400")
    path = mount().path / "id"
    user = identity(login.pw_uid, login.pw_gid)
    public = run(["ssh-keygen", "-y", "-f", path], **user).stdout
    assert public.split()[:2] == (folder / "first.pub").read_bytes().split()[:2]
    socket = folder / "agent"
    socket.mkdir()
    os.chown(socket, login.pw_uid, login.pw_gid)
    agent = spawn(["ssh-agent", "-D", "-a", socket / "socket"], stdout=subprocess.DEVNULL, **user)
    try:
        eventually((socket / "socket").exists)
        done = run(["ssh-add", path], env={"SSH_AUTH_SOCK": str(socket / "socket")}, **user)
        assert b"Identity added" in done.stderr
    finally:
        agent.terminate()
        end(agent)
