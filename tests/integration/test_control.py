"""The control socket: status of the daemons, upgrades, and who may ask."""

import os
import signal
import socket
import struct
from pathlib import Path

import harness
from harness import (
    FAILED,
    SECRETFS,
    eventually,
    exchange,
    freeze,
    identity,
    kill_worker,
    one_line,
    run,
    worker_now,
    worker_of,
)

FOLDER = Path("/run/secretfs")


def socket_of(served):
    """The socket of a daemon, which is there some moments after the mount."""
    return eventually(lambda: next(iter(FOLDER.glob(f"*.{served.process.pid}")), None))


def answers(store, count):
    """What so many daemons say, by their mounts, once all of them answer in time."""

    def all_of_them():
        daemons = store.json("status")["daemons"]
        told = {daemon["mount"]: daemon for daemon in daemons if "error" not in daemon}
        return len(told) == len(daemons) == count and told

    return eventually(all_of_them)


def test_status_tells_of_each_daemon(store, mount):
    store.put("a", b"value")
    one, two = mount(), mount()
    daemons = answers(store, 2)
    assert set(daemons) == {str(one.path), str(two.path)}
    assert daemons[str(one.path)]["pid"] == one.process.pid
    assert daemons[str(one.path)]["restarts"] == 0
    generation = store.json("status")["generation"]
    eventually(lambda: {d["generation"] for d in answers(store, 2).values()} == {generation})
    kill_worker(one)
    eventually(lambda: sorted(d["restarts"] for d in answers(store, 2).values()) == [0, 1])
    assert f"{two.path}, pid {two.process.pid}, shows generation" in store.ctl("status").decode()


def test_a_daemon_that_does_not_answer_is_told(store, mount):
    served = mount()
    socket_of(served)
    freeze(served.process.pid)
    daemons = store.json("status")["daemons"]
    os.kill(served.process.pid, signal.SIGCONT)
    assert [daemon["error"] for daemon in daemons] == ["Connection timed out"]


def test_the_socket_is_gone_with_its_daemon(store, mount):
    killed = mount()
    left = socket_of(killed)
    killed.killed()
    assert store.json("status")["daemons"] == []
    ended = mount()
    at = socket_of(ended)
    assert not left.exists()
    ended.stop()
    assert not at.exists()


def test_only_root_and_the_owner_of_the_store_may_ask(store, mount):
    for path in store.possessions():
        os.chown(path, 4242, 4242)
    at = socket_of(mount())
    status = at.stat()
    assert (status.st_uid, status.st_mode & 0o777) == (4242, 0o600)
    run(store.argv("upgrade"), **identity(4242))
    store.folder.chmod(0o755)
    for path in store.files():
        path.chmod(0o666)
    line = one_line(run(store.argv("upgrade"), status=FAILED, **identity(4343)).stderr, "secretctl")
    assert "Permission denied" in line


def test_nobody_can_hold_the_daemon_up(store, mount):
    """Connections that say nothing, too little, or nonsense."""
    store.put("a", b"value")
    served = mount()
    at = str(socket_of(served))
    status = store.path.stat()
    connections = []
    request = struct.pack("IIQQQ", 1, 99, 0, status.st_dev, status.st_ino)
    for message in (b"", b"\1", request, struct.pack("II", 77, 1), request * 100):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(at)
        if message:
            connection.send(message)
        connections.append(connection)
    kill_worker(served)
    assert (served.path / "a").read_bytes() == b"value"
    eventually(lambda: [d["pid"] for d in store.json("status")["daemons"]] == [served.process.pid])
    for connection in connections:
        connection.close()


def test_upgrade_goes_on_with_the_new_program(store, mount, movable):
    store.put("a", b"value")
    served = mount()
    socket_of(served)
    for _ in range(3):
        before = worker_of(served)
        exchange(movable, SECRETFS)
        assert store.ctl("upgrade") == b""
        assert worker_now(served) != before
        assert os.path.samefile(f"/proc/{worker_of(served)}/exe", movable)
        assert (served.path / "a").read_bytes() == b"value"


def test_a_broken_program_is_told(store, mount, movable):
    store.put("a", b"value")
    served = mount()
    socket_of(served)
    exchange(movable, "/bin/false")
    line = store.refuses(FAILED, "upgrade")
    assert str(served.path) in line and "does not serve" in line
    assert (served.path / "a").read_bytes() == b"value"
    movable.unlink()
    assert "No such file" in store.refuses(FAILED, "upgrade")
    assert (served.path / "a").read_bytes() == b"value"


def test_without_a_daemon_there_is_nothing_to_upgrade(store):
    assert "no daemon serves it" in store.refuses(FAILED, "upgrade")


def test_the_worker_runs_as_the_user_that_is_asked_for(store, mount):
    store.put("a", b"value")
    for path in [store.folder, *store.files(), *store.records()]:
        os.chown(path, 1, 1)
    served = mount("user=daemon")
    status = Path(f"/proc/{worker_of(served)}/status").read_text()
    assert "\nUid:\t1\t1\t1\t1\n" in status and "\nGid:\t1\t1\t1\t1\n" in status
    assert (served.path / "a").read_bytes() == b"value"


def test_a_user_who_cannot_read_the_store_is_told(store, folder):
    line = harness.refuses_to_mount(
        FAILED, store.path, folder / "mnt", f"key_file={store.key}", "user=nobody"
    )
    assert "Permission denied" in line
