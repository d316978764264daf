"""An inode is a version: readers get the old one or the new one, whole, and never go back."""

import mmap
import os
import random
import time

import pytest

from harness import NOT_FOUND, Child, as_user, error_of, eventually, run

OLD = b"old " * 65536  # 256 KiB: several pages and several requests
NEW = b"NEW!" * 50000

# The n-th value of the loop, found again by its content. Sizes differ wildly, down to one byte.
SIZES = [1, 64, 4096, 65536, 5, 4097, 20000, 3, 131072, 4095]


def loop_value(number):
    size = SIZES[number % len(SIZES)]
    if size == 1:
        return bytes([number // len(SIZES)])
    return (b"%05d" % number * (size // 5 + 1))[:size] if size >= 5 else b"%03d" % number


VALUES = [loop_value(number) for number in range(1000)]
NUMBERS = {value: number for number, value in enumerate(VALUES)}


def read_in_parts(fd, part):
    data = b""
    while piece := os.read(fd, part):
        data += piece
    return data


def read_until_stopped(path, stop, seed):
    """Open, fstat, read to EOF, close, again and again; what was seen and every fault."""
    chance = random.Random(seed)
    os.nice(10)  # so that the writer gets its turns
    reads, last, faults, inodes = 0, 0, [], {}
    while not os.path.exists(stop):
        fd = os.open(path, os.O_RDONLY)
        status = os.fstat(fd)
        data = read_in_parts(fd, chance.choice([4096, 10000, 1 << 20]))
        os.close(fd)
        number = NUMBERS.get(data)
        if len(data) != status.st_size:
            faults.append(f"size {status.st_size}, read {len(data)}")
        if number is None:
            faults.append(f"torn: {len(data)} bytes {data[:12]!r}…{data[-12:]!r}")
        elif number < last:
            faults.append(f"went back from {last} to {number}")
        elif inodes.setdefault(status.st_ino, number) != number:
            faults.append(f"inode {status.st_ino} was {inodes[status.st_ino]}, is {number}")
        last = number if number is not None else last
        reads += 1
    return reads, last, faults[:5]


@pytest.mark.parametrize("options", [[], ["direct_io"]])
def test_readers_of_a_rotated_secret_see_no_torn_value(store, mount, folder, options, measured):
    assert len(NUMBERS) == len(VALUES)
    store.quick = True
    store.put("dir/a", VALUES[0], "-p")
    path = mount(*options).path / "dir/a"
    readers = [Child(read_until_stopped, path, folder / "stop", seed) for seed in range(3)]
    deadline = time.monotonic() + 6
    for number in range(1, len(VALUES)):
        store.put("dir/a", VALUES[number])
        if time.monotonic() > deadline:
            break
    eventually(lambda: path.read_bytes() == VALUES[number])
    (folder / "stop").touch()
    results = [reader.result() for reader in readers]
    measured(f"{number} rotations under {sum(reads for reads, _, _ in results)} reads by 3 readers")
    assert [faults for _, _, faults in results] == [[], [], []]
    assert all(reads > 100 and last > 2 for reads, last, _ in results), results
    assert number > 5


@pytest.fixture
def rotated(store, mount):
    """The path of a served secret, and a function that rotates it and waits until that is seen."""
    store.put("dir/a", OLD, "-p")
    store.put("dir/beside", b"beside")
    path = mount().path / "dir/a"

    def rotate(value=NEW):
        store.put("dir/a", value)
        eventually(lambda: path.read_bytes() == value)

    return path, rotate


def forget_pages(fd):
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def test_a_handle_reads_its_own_version_to_the_end(rotated):
    path, rotate = rotated
    fd = os.open(path, os.O_RDONLY)
    half = os.read(fd, len(OLD) // 2)
    before = os.fstat(fd)
    rotate()
    forget_pages(fd)
    assert half + read_in_parts(fd, 65536) == OLD
    assert os.fstat(fd).st_size == len(OLD) and os.fstat(fd).st_ino == before.st_ino
    forget_pages(fd)
    assert os.pread(fd, 10, 4096 * 3) == OLD[:10]
    os.close(fd)


def test_a_handle_survives_many_rotations(rotated):
    path, rotate = rotated
    handles = []
    for number in range(8):
        rotate(b"%d" % number * 100000)
        handles.append(os.open(path, os.O_RDONLY))
    for number, fd in enumerate(handles):
        forget_pages(fd)
        assert read_in_parts(fd, 1 << 20) == b"%d" % number * 100000
        os.close(fd)


def test_the_newest_hundred_versions_are_kept(store, mount):
    """What goes beyond them is gone for a handle too: it gets an error, never another value."""
    store.quick = True
    store.put("a", b"value 1")
    path = mount().path / "a"
    oldest = os.open(path, os.O_RDONLY)
    for number in range(2, 102):
        store.put("a", b"value %d" % number)
    eventually(lambda: path.read_bytes() == b"value 101")
    assert [one["version"] for one in store.json("versions", "a")] == list(range(101, 1, -1))
    assert store.get("a", "--version", "2") == b"value 2"
    store.refuses(NOT_FOUND, "get", "a", "--version", "1")
    eventually(lambda: error_of(os.pread, oldest, 100, 0) == "ESTALE")
    os.close(oldest)
    store.ctl("check")


def test_a_mapping_keeps_its_version(rotated):
    path, rotate = rotated
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:4] == OLD[:4]
        rotate()
        mapped.madvise(mmap.MADV_DONTNEED)
        forget_pages(file.fileno())
        assert mapped[:] == OLD


def test_a_mapping_outlives_its_descriptor_and_a_rotation(rotated):
    path, rotate = rotated
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    rotate()
    mapped.madvise(mmap.MADV_DONTNEED)
    assert mapped[:] == OLD
    mapped.close()


def test_a_new_open_gives_the_new_version_in_a_new_inode(rotated):
    path, rotate = rotated
    before, beside = path.stat(), (path.parent / "beside").stat()
    rotate()
    after = path.stat()
    assert after.st_ino != before.st_ino
    assert after.st_size == len(NEW)
    assert after.st_mtime_ns > before.st_mtime_ns
    assert (after.st_mode, after.st_uid, after.st_nlink) == (before.st_mode, before.st_uid, 1)
    assert (path.parent / "beside").stat().st_ino == beside.st_ino
    assert sorted(os.listdir(path.parent)) == ["a", "beside"]
    assert {entry.name: entry.inode() for entry in os.scandir(path.parent)}["a"] == after.st_ino


def test_a_rotation_is_seen_by_those_who_only_ask_for_its_size(store, rotated):
    path, _ = rotated
    assert path.stat().st_size == len(OLD)
    store.put("dir/a", b"short")
    eventually(lambda: path.stat().st_size == 5)
    assert path.read_bytes() == b"short"


def test_rollback_brings_back_the_inode(store, rotated):
    path, rotate = rotated
    inode = path.stat().st_ino
    rotate()
    store.ctl("rollback", "dir/a")
    eventually(lambda: path.read_bytes() == OLD)
    assert path.stat().st_ino == inode
    store.ctl("rollback", "dir/a")
    eventually(lambda: path.read_bytes() == NEW)


def test_many_rollbacks_to_and_fro(store, rotated):
    path, rotate = rotated
    rotate()
    for number in range(10):
        store.ctl("rollback", "dir/a")
        expected = (OLD, NEW)[number % 2]
        eventually(lambda value=expected: path.read_bytes() == value)
        assert path.stat().st_size == len(expected)


def test_rm_takes_the_path_but_not_the_open_handle(store, rotated):
    path, _ = rotated
    fd = os.open(path, os.O_RDONLY)
    os.read(fd, 1000)
    store.ctl("rm", "dir/a")
    eventually(lambda: not path.exists())
    assert os.listdir(path.parent) == ["beside"]
    assert error_of(os.open, path, os.O_RDONLY) == "ENOENT"
    os.lseek(fd, 0, os.SEEK_SET)
    assert read_in_parts(fd, 65536) == OLD
    os.close(fd)


def test_rm_and_restore(store, rotated):
    path, _ = rotated
    inode = path.stat().st_ino
    store.ctl("rm", "dir/a")
    eventually(lambda: not path.exists())
    store.ctl("restore", "dir/a")
    eventually(path.exists)
    assert path.read_bytes() == OLD
    assert path.stat().st_ino == inode


def test_purge_ends_what_was_removed(store, rotated):
    path, _ = rotated
    store.ctl("rm", "dir/a")
    store.ctl("purge", "dir/a")
    eventually(lambda: not path.exists())
    store.put("dir/a", b"a new life")
    eventually(lambda: path.read_bytes() == b"a new life")


def test_mv_of_secrets_and_directories(store, rotated):
    path, _ = rotated
    root = path.parent.parent
    inode = path.stat().st_ino
    store.ctl("mv", "dir/a", "b")
    eventually((root / "b").exists)
    eventually(lambda: not path.exists())
    assert (root / "b").read_bytes() == OLD and (root / "b").stat().st_ino == inode
    store.ctl("mv", "dir", "other")
    eventually((root / "other/beside").exists)
    assert sorted(os.listdir(root)) == ["b", "other"]
    assert (root / "other/beside").read_bytes() == b"beside"


def test_a_mv_then_a_new_secret_at_the_old_place(store, rotated):
    path, _ = rotated
    store.ctl("mv", "dir/a", "dir/b")
    store.put("dir/a", b"successor")
    eventually(lambda: path.read_bytes() == b"successor")
    assert (path.parent / "b").read_bytes() == OLD


def test_a_new_secret_appears_where_its_absence_was_cached(store, rotated):
    path, _ = rotated
    new = path.parent / "new"
    for _ in range(3):
        assert not new.exists()
    assert "new" not in os.listdir(path.parent)
    store.put("dir/new", b"value")
    eventually(new.exists)
    assert new.read_bytes() == b"value"
    assert "new" in os.listdir(path.parent)


def test_directories_come_and_go(store, rotated):
    path, _ = rotated
    links = path.parent.stat().st_nlink
    before = path.parent.stat().st_mtime_ns
    store.ctl("mkdir", "dir/sub")
    eventually((path.parent / "sub").is_dir)
    assert path.parent.stat().st_nlink == links + 1
    assert path.parent.stat().st_mtime_ns > before
    store.ctl("rm", "dir/sub")
    eventually(lambda: not (path.parent / "sub").exists())
    assert path.parent.stat().st_nlink == links


def test_chmod_chown_and_setfacl_are_seen(store, rotated):
    path, _ = rotated
    inode, changed = path.stat().st_ino, path.stat().st_ctime_ns
    store.ctl("chmod", "0444", "dir/a")
    eventually(lambda: path.stat().st_mode & 0o777 == 0o444)
    store.ctl("chown", "20001:20002", "dir/a")
    eventually(lambda: (path.stat().st_uid, path.stat().st_gid) == (20001, 20002))
    store.ctl("setfacl", "-m", "u:20003:r", "dir/a")
    eventually(lambda: b"user:20003:r--" in run(["getfacl", "-np", path]).stdout)
    assert path.stat().st_ino == inode, "a policy belongs to the node, not to the version"
    assert path.stat().st_ctime_ns > changed


def test_a_policy_outlives_a_rotation(store, rotated):
    path, rotate = rotated
    store.ctl("setfacl", "-m", "u:20003:r", "dir/a")
    rotate(b"after")
    assert b"user:20003:r--" in run(["getfacl", "-np", path]).stdout
    assert as_user(20003, 20003, [], error_of, os.open, path, os.O_RDONLY) is None
    assert as_user(20004, 20004, [], error_of, os.open, path, os.O_RDONLY) == "EACCES"
