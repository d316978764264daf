"""Nothing on the mount can be changed, not by root and not by the owner."""

import ctypes
import mmap
import os
import socket
import stat

from harness import as_user, error_of

OWNER = 20001
LIBC = ctypes.CDLL(None, use_errno=True)
RENAME_EXCHANGE = 2


def libc(name, *args):
    """A system call Python does not offer."""
    if getattr(LIBC, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), name)


def bind_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


def on_handle(path, function, *args):
    """Try something on a descriptor opened for reading."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return error_of(function, fd, *args)
    finally:
        os.close(fd)


def attempts(root):
    """Every call that would change something, and the error it fails with."""
    os.chdir(root)
    by_path = {
        "open O_WRONLY": (os.open, "dir/a", os.O_WRONLY),
        "open O_RDWR": (os.open, "dir/a", os.O_RDWR),
        "open O_WRONLY|O_APPEND": (os.open, "dir/a", os.O_WRONLY | os.O_APPEND),
        "open O_TRUNC": (os.open, "dir/a", os.O_RDONLY | os.O_TRUNC),
        "open O_CREAT": (os.open, "dir/new", os.O_RDONLY | os.O_CREAT),
        "open O_CREAT|O_WRONLY": (os.open, "dir/new", os.O_WRONLY | os.O_CREAT),
        "open O_TMPFILE": (os.open, "dir", os.O_TMPFILE | os.O_WRONLY),
        "truncate": (os.truncate, "dir/a", 0),
        "unlink": (os.unlink, "dir/a"),
        "rmdir": (os.rmdir, "dir/empty"),
        "mkdir": (os.mkdir, "dir/new"),
        "rename": (os.rename, "dir/a", "dir/new"),
        "rename over": (os.rename, "dir/a", "dir/b"),
        "rename of a directory": (os.rename, "dir/empty", "dir/new"),
        "renameat2 exchange": (libc, "renameat2", -100, b"dir/a", -100, b"dir/b", RENAME_EXCHANGE),
        "link": (os.link, "dir/a", "dir/new"),
        "symlink": (os.symlink, "a", "dir/new"),
        "mknod file": (os.mknod, "dir/new", stat.S_IFREG | 0o644),
        "mknod fifo": (os.mkfifo, "dir/new"),
        "bind socket": (bind_socket, "dir/new"),
        "chmod": (os.chmod, "dir/a", 0o777),
        "chmod of a directory": (os.chmod, "dir", 0o777),
        "chown": (os.chown, "dir/a", OWNER, -1),
        "utimensat": (os.utime, "dir/a"),
        "utimensat with times": (os.utime, "dir/a", (1, 1)),
        "setxattr user": (os.setxattr, "dir/a", "user.x", b"y"),
        "setxattr acl": (os.setxattr, "dir/a", "system.posix_acl_access", b"\2\0\0\0"),
        "removexattr": (os.removexattr, "dir/a", "user.x"),
        "removexattr acl": (os.removexattr, "dir/a", "system.posix_acl_access"),
    }
    outcome = {name: error_of(call, *args) for name, (call, *args) in by_path.items()}
    for name, call, *args in (
        ("fchmod", os.fchmod, 0o777),
        ("fchown", os.fchown, OWNER, -1),
        ("futimens", os.utime),
        ("fsetxattr", os.setxattr, "user.x", b"y"),
    ):
        outcome[name] = on_handle("dir/a", call, *args)
    return outcome


def attempts_on_read_only_handles():
    """Calls that a descriptor for reading refuses on every file system."""
    return {
        "write": on_handle("dir/a", os.write, b"x"),
        "pwrite": on_handle("dir/a", os.pwrite, b"x", 0),
        "ftruncate": on_handle("dir/a", os.ftruncate, 0),
        "fallocate": on_handle("dir/a", os.posix_fallocate, 0, 100),
        "mmap shared writable": on_handle(
            "dir/a", lambda fd: mmap.mmap(fd, 1, mmap.MAP_SHARED, mmap.PROT_WRITE)
        ),
        "copy_file_range": on_handle("dir/a", lambda fd: os.copy_file_range(fd, fd, 1, 0, 1)),
    }


def both(root):
    return attempts(root), attempts_on_read_only_handles()


def snapshot(root):
    found = {}
    for folder, _, files in os.walk(root):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            status = os.stat(path)
            content = open(path, "rb").read() if path != folder else None
            found[path] = (status, content, os.listxattr(path))
    return found


def refuse_all(store, mount, uid):
    for name in ("a", "b"):
        store.put(f"dir/{name}", name.encode() * 100, "-p", "--owner", OWNER, "--mode", "0600")
    store.ctl("mkdir", "dir/empty")
    for path in ("dir", "dir/empty"):
        store.ctl("chown", OWNER, path)
    root = mount().path
    before = snapshot(root)
    by_path, on_handles = as_user(uid, uid, [], both, root)
    assert {name: error for name, error in by_path.items() if error != "EROFS"} == {}
    assert on_handles == {
        "write": "EBADF",
        "pwrite": "EBADF",
        "ftruncate": "EINVAL",
        "fallocate": "EBADF",
        "mmap shared writable": "EACCES",
        "copy_file_range": "EBADF",
    }
    assert snapshot(root) == before


def test_root_can_change_nothing(store, mount):
    refuse_all(store, mount, 0)


def test_the_owner_can_change_nothing(store, mount):
    refuse_all(store, mount, OWNER)


def test_the_mount_cannot_be_made_writable_by_its_users(store, mount):
    """A remount without CAP_SYS_ADMIN is refused, so read-only is not for the owner to lift."""
    store.put("a", b"value", "--owner", OWNER, "--mode", "0600")
    root = mount().path
    remount = (libc, "mount", None, os.fsencode(root), None, ctypes.c_ulong(32 | 4096), None)
    assert as_user(OWNER, OWNER, [], error_of, *remount) == "EPERM"
