"""Secrets on the mount are ordinary files: true sizes, times, numbers, listings and contents."""

import ctypes
import mmap
import os
import stat
import subprocess
import time

import pytest

from harness import Child, error_of, eventually, mounted, run

MIB = 1024 * 1024


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 65536, MIB])
def test_get_and_the_file_agree_byte_for_byte(store, mount, size):
    value = os.urandom(size)
    store.put("a", value)
    path = mount().path / "a"
    assert path.stat().st_size == size
    assert path.read_bytes() == value
    assert store.get("a") == value


@pytest.fixture
def tree(store, mount):
    """A mount of a small tree; root of it."""
    store.put(
        "db/main/password", b"hunter2", "-p", "--owner", "1234", "--group", "2345", "--mode", "0640"
    )
    store.put("db/token", b"x" * 10000)
    store.put("top", b"0123456789" * 1000)
    store.ctl("chmod", "0710", "db")
    store.ctl("chown", "11:12", "db")
    return mount()


def test_the_mount_has_its_type_source_and_flags(store, tree):
    mount = mounted(tree.path)
    assert (mount["type"], mount["source"]) == ("fuse.secretfs", str(store.path))
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(mount["options"].split(","))


def test_stat_of_a_file(tree):
    status = (tree.path / "db/main/password").lstat()
    assert stat.S_ISREG(status.st_mode)
    assert status.st_mode & 0o7777 == 0o640
    assert (status.st_uid, status.st_gid) == (1234, 2345)
    assert (status.st_size, status.st_nlink) == (7, 1)
    assert status.st_blocks * 512 >= status.st_size
    for when in (status.st_mtime, status.st_ctime, status.st_atime):
        assert abs(time.time() - when) < 60


def test_stat_of_directories(tree):
    root, db, main = (os.stat(tree.path / part) for part in ("", "db", "db/main"))
    for status in (root, db, main):
        assert stat.S_ISDIR(status.st_mode)
        assert abs(time.time() - status.st_mtime) < 60
    assert [root.st_nlink, db.st_nlink, main.st_nlink] == [3, 3, 2]
    assert (root.st_mode & 0o7777, root.st_uid, root.st_gid) == (0o755, 0, 0)
    assert (db.st_mode & 0o7777, db.st_uid, db.st_gid) == (0o710, 11, 12)


def walk(path):
    found = {}
    for folder, _, files in os.walk(path):
        for name in ("", *files):
            status = os.lstat(os.path.join(folder, name))
            found[os.path.join(os.path.relpath(folder, path), name)] = (
                status.st_ino,
                status.st_mode,
                status.st_uid,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_nlink,
            )
    return found


def test_numbers_and_times_are_the_same_after_a_restart(tree, mount):
    before = walk(tree.path)
    assert len(before) == 6
    inodes = [entry[0] for entry in before.values()]
    assert len(set(inodes)) == len(inodes)
    tree.stop()
    assert walk(mount(at=tree.path).path) == before


def test_readdir_tells_the_same_inode_numbers_and_types_as_stat(tree):
    for folder in (tree.path, tree.path / "db"):
        for entry in os.scandir(folder):
            assert entry.inode() == entry.stat(follow_symlinks=False).st_ino
            assert entry.is_dir() == stat.S_ISDIR(os.lstat(entry).st_mode)


def test_ls_of_the_whole_tree(tree):
    lines = [
        line.split()[:5] for line in run(["ls", "-lRn", tree.path]).stdout.decode().splitlines()
    ]
    assert ["-rw-r-----", "1", "1234", "2345", "7"] in lines
    assert ["drwx--x---", "3", "11", "12", "0"] in lines
    found = run(["find", tree.path, "-type", "f", "-printf", "%P %s\n"]).stdout.decode()
    assert sorted(found.splitlines()) == ["db/main/password 7", "db/token 10000", "top 10000"]


def test_what_is_not_there(tree):
    assert error_of(os.stat, tree.path / "nothing") == "ENOENT"
    assert error_of(os.stat, tree.path / "top" / "below") == "ENOTDIR"
    assert error_of(os.listdir, tree.path / "top") == "ENOTDIR"
    assert error_of(open, tree.path / "db") == "EISDIR"
    assert error_of(os.stat, tree.path / ("x" * 256)) == "ENAMETOOLONG"
    assert error_of(os.readlink, tree.path / "top") == "EINVAL"
    for hidden in ("stage", "inode", "tree", "..tree", "@current", "@"):
        assert error_of(os.stat, tree.path / hidden) == "ENOENT"


def test_the_parent_of_the_mount_is_not_the_store(tree):
    assert os.stat(tree.path / "..").st_ino == os.stat(tree.path.parent).st_ino
    assert os.stat(tree.path / "db" / "..").st_ino == os.stat(tree.path).st_ino


def test_statfs(tree):
    status = os.statvfs(tree.path)
    assert status.f_namemax == 255
    assert status.f_files >= 6
    assert status.f_bsize == 4096 and status.f_bavail == 0
    assert status.f_flag & os.ST_RDONLY
    run(["df", tree.path])


def test_pread_and_lseek(tree):
    content = b"0123456789" * 1000
    fd = os.open(tree.path / "top", os.O_RDONLY)
    try:
        for offset, length in ((0, 1), (9, 4), (4095, 2), (4096, 4096), (8191, 5000), (9999, 10)):
            assert os.pread(fd, length, offset) == content[offset : offset + length]
        for offset in (10000, 10001, 1 << 40):
            assert os.pread(fd, 10, offset) == b""
        assert os.lseek(fd, 0, os.SEEK_END) == 10000
        assert os.lseek(fd, -3, os.SEEK_CUR) == 9997
        assert os.read(fd, 100) == b"789"
        assert error_of(os.lseek, fd, -1, os.SEEK_SET) == "EINVAL"
    finally:
        os.close(fd)


@pytest.mark.parametrize("flags", [mmap.MAP_PRIVATE, mmap.MAP_SHARED])
def test_mmap(tree, flags):
    with open(tree.path / "top", "rb") as file:
        with mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ) as mapped:
            assert mapped[:] == b"0123456789" * 1000
            assert mapped[4090:4100] == b"0123456789"


def test_direct_io_reads_and_maps_privately(store, mount):
    value = os.urandom(70000)
    store.put("a", value)
    path = mount("direct_io").path / "a"
    assert path.stat().st_size == len(value)
    assert path.read_bytes() == value
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as mapped:
            assert mapped[:] == value


def test_sendfile(tree, folder):
    source = os.open(tree.path / "top", os.O_RDONLY)
    target = os.open(folder / "copy", os.O_RDWR | os.O_CREAT)
    assert os.sendfile(target, source, 0, 20000) == 10000
    os.close(source)
    os.close(target)
    assert (folder / "copy").read_bytes() == b"0123456789" * 1000


def test_o_path_handles(tree):
    handle = os.open(tree.path / "db/main", os.O_PATH)
    try:
        assert os.stat("password", dir_fd=handle).st_size == 7
        assert error_of(os.read, handle, 1) == "EBADF"
        fd = os.open("password", os.O_RDONLY, dir_fd=handle)
        assert os.read(fd, 100) == b"hunter2"
        os.close(fd)
    finally:
        os.close(handle)


def test_extended_attributes_other_than_the_acl(tree):
    path = tree.path / "top"
    assert os.listxattr(path) == []
    assert error_of(os.getxattr, path, "user.none") in ("ENODATA", "EOPNOTSUPP")
    assert error_of(os.getxattr, path, "security.capability") in ("ENODATA", "EOPNOTSUPP")
    assert error_of(os.getxattr, path, "system.posix_acl_access") == "ENODATA"
    assert error_of(os.getxattr, tree.path, "system.posix_acl_default") in ("ENODATA", "EOPNOTSUPP")


def test_acls_as_getfacl_shows_them(store, mount):
    store.put("a", b"value", "--mode", "0440", "--acl", "u:1234:r,g:2345:rw,m::r")
    served = mount()
    lines = run(
        ["getfacl", "-n", "-E", "--omit-header", "--absolute-names", served.path / "a"]
    ).stdout
    assert lines.decode().split() == [
        "user::r--",
        "user:1234:r--",
        "group::r--",
        "group:2345:rw-",
        "mask::r--",
        "other::---",
    ]
    assert "system.posix_acl_access" in os.listxattr(served.path / "a")
    assert run(["ls", "-l", served.path / "a"]).stdout.startswith(b"-r--r-----+")


def test_utf8_and_odd_names(store, mount):
    odd = [
        "ключ",
        "日本語",
        "with space",
        "quote'\"",
        "-dash",
        ".hidden",
        "back\\slash",
        "é" * 127,
        "a@b",
        "*",
    ]
    store.ctl("mkdir", "names")
    for name in odd:
        store.put(f"names/{name}", name.encode())
    path = mount().path / "names"
    assert sorted(os.listdir(path)) == sorted(odd)
    assert all((path / name).read_bytes() == name.encode() for name in odd)


def test_the_deepest_path(store, mount):
    deepest = "/".join(["n" * 100] * 31 + ["secret"])
    store.put(deepest, b"deep", "-p")
    assert (mount().path / deepest).read_bytes() == b"deep"


def test_a_large_folder_is_listed_completely(store, mount):
    count = 2000
    store.ctl(
        "mkdir",
        *(f"a name long enough to fill several buffers of readdir {n:04}" for n in range(count)),
    )
    path = mount().path
    for _ in range(2):
        listed = os.listdir(path)
        assert len(listed) == count and len(set(listed)) == count
    assert os.stat(path).st_nlink == count + 2
    assert len(run(["ls", "-l", path]).stdout.splitlines()) == count + 1


def read_part(path, offset, length, times):
    for _ in range(times):
        with open(path, "rb", buffering=0) as file:
            assert (
                os.pread(file.fileno(), length, offset)
                == (b"0123456789" * 1000)[offset : offset + length]
            )
    return True


def test_readers_at_once(tree):
    readers = [Child(read_part, tree.path / "top", 7 * n, 5000, 300) for n in range(8)]
    assert all(reader.result() for reader in readers)


def test_subdir_serves_a_part_of_the_tree(store, mount):
    store.put("a/b/c", b"inside", "-p")
    store.put("outside", b"outside")
    served = mount("subdir=a/b")
    assert os.listdir(served.path) == ["c"]
    assert (served.path / "c").read_bytes() == b"inside"
    store.put("a/b/d", b"new")
    store.put("a/x", b"beside")
    assert eventually(lambda: (served.path / "d").read_bytes() == b"new")
    assert sorted(os.listdir(served.path)) == ["c", "d"]


def test_a_file_is_the_size_it_says_to_those_who_ask_the_kernel(tree):
    """statx, as newer tools use it, through its own system call."""
    buffer = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.statx(-100, os.fsencode(tree.path / "top"), 0, 0x7FF, buffer) == 0
    assert int.from_bytes(buffer.raw[40:48], "little") == 10000
    out = subprocess.run(
        ["stat", "-c", "%s %F", tree.path / "top"], capture_output=True, check=True
    )
    assert out.stdout == b"10000 regular file\n"
