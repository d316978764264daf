"""It costs one round trip: a warm read makes one request, and its asynchronous RELEASE.

Warm is a file that was read a few times. After the READs of the first time the kernel asks once
more for the attributes, since reading may have changed the access time, and therefore for the ACL.
"""

from harness import eventually, identity, run

WARMING = 3


def requests_of(served, action):
    """The requests the daemon gets for what action() does, up to its RELEASE."""
    before = len(served.requests())
    action()
    eventually(lambda: "RELEASE" in [name for name, *_ in served.requests()[before:]])
    return [name for name, *_ in served.requests()[before:]]


def test_a_warm_cat_is_one_open_and_one_release(store, mount):
    store.put("dir/sub/a", b"x" * 10000, "-p", "--mode", "0444")
    served = mount("debug")
    path = served.path / "dir/sub/a"

    cold, second, _ = (requests_of(served, lambda: run(["cat", path])) for _ in range(WARMING))
    assert "LOOKUP" in cold and "READ" in cold
    assert "LOOKUP" not in second and "READ" not in second
    for _ in range(5):
        assert requests_of(served, lambda: run(["cat", path])) == ["OPEN", "RELEASE"]


def test_a_warm_read_by_another_user_is_one_open_and_one_release(store, mount):
    store.put("dir/a", b"x" * 100, "-p", "--mode", "0400", "--acl", "u:20001:r,u:20002:r")
    served = mount("debug")
    path = served.path / "dir/a"

    def cat_as(uid):
        return requests_of(served, lambda: run(["cat", path], **identity(uid)))

    for _ in range(WARMING):
        cat_as(20001)
    assert cat_as(20002) == ["OPEN", "RELEASE"]


def test_a_warm_read_after_a_rotation_is_one_open_and_one_release(store, mount):
    store.put("a", b"old")
    served = mount("debug")
    path = served.path / "a"
    path.read_bytes()
    store.put("a", b"new")
    eventually(lambda: path.read_bytes() == b"new")
    for _ in range(WARMING):
        requests_of(served, lambda: run(["cat", path]))
    assert requests_of(served, lambda: run(["cat", path])) == ["OPEN", "RELEASE"]


def test_the_debug_log_names_the_caller(store, mount):
    store.put("a", b"value", "--mode", "0444")
    served = mount("debug")
    run(["cat", served.path / "a"], **identity(20001))
    opened = [rest for name, rest in served.requests() if name == "OPEN"]
    inode = (served.path / "a").stat().st_ino
    assert f"nodeid={inode} uid=20001" in opened[-1]
