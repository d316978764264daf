"""Who may open what: the same verdict as tmpfs gives with the same owners, modes and ACLs.

50 users (root among them) try 200 nodes on the mount and on a tmpfs mounted with the same flags,
with nothing cached, with everything cached, while policies change, and after.
"""

import os
import random
import shlex
from pathlib import Path

import pytest

from harness import as_user, error_of, eventually, run, sanitized
from policies import (
    DIRECTORY_MODES,
    FILE_MODES,
    GROUPS,
    OWNERS,
    Secrets,
    for_user,
    make_nodes,
    make_users,
    random_acl,
)

ANSWERS = 6


class Tmpfs:
    """The yardstick: a tmpfs, and a read-only view of it with the flags of our mount."""

    def __init__(self, folder):
        self.made, self.path = folder / "tmpfs", folder / "yardstick"
        self.made.mkdir()
        self.path.mkdir()
        run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.made])
        run(["mount", "--bind", self.made, self.path])
        run(["mount", "-o", "remount,bind,ro,nosuid,nodev,noexec", self.path])

    def make(self, node):
        path = self.made / node.path
        if node.directory:
            path.mkdir()
        else:
            path.write_bytes(node.path.encode())
        self.chown(node)
        self.chmod(node)
        if node.acl:
            self.setfacl(node)

    def chown(self, node):
        os.chown(self.made / node.path, node.uid, node.gid)

    def chmod(self, node):
        (self.made / node.path).chmod(node.mode)

    def setfacl(self, node):
        run(["setfacl", "-m", node.acl, self.made / node.path])


def read(path):
    with open(path, "rb") as file:
        return file.read()


def accessible(path, mode):
    """What access(2) says; the real and effective ids are the same here."""
    if not os.access(path, mode):
        return error_of(os.stat, path) or "refused"
    return None


def verdicts(root, nodes):
    """For each node what the calling user may do with it."""
    found = {}
    for node in nodes:
        path = f"{root}/{node.path}"
        found[node.path] = (
            error_of(os.listdir if node.directory else read, path),
            error_of(os.stat, path),
            error_of(os.open, path, os.O_WRONLY),
            *(accessible(path, mode) for mode in (os.R_OK, os.X_OK, os.W_OK)),
        )
    return found


def both_verdicts(ours, theirs, nodes):
    return verdicts(ours, nodes), verdicts(theirs, nodes)


def differences(users, nodes, mount, tmpfs, before_each=lambda: None):
    """Every (uid, path) where the two file systems disagree, with both verdicts."""
    found, refused = {}, 0
    for user in users:
        before_each()
        ours, theirs = for_user(
            user, both_verdicts, str(mount.path), str(tmpfs.path), nodes
        ).result()
        assert len(ours) == len(nodes)
        refused += sum(verdict[0] is not None for verdict in theirs.values())
        for path, verdict in ours.items():
            if verdict != theirs[path]:
                found[user.uid, path] = (verdict, theirs[path])
    total = len(users) * len(nodes)
    assert 0.2 * total < refused < 0.95 * total, f"{refused} of {total} refused: a poor sample"
    return found


def drop_caches():
    Path("/proc/sys/vm/drop_caches").write_text("2")


def acl_listing(root):
    command = f"cd {shlex.quote(str(root))} && find . ! -path . | sort | xargs getfacl -n -E"
    return run(["sh", "-c", command]).stdout


def expect_same_policies(mount, tmpfs):
    eventually(lambda: acl_listing(mount.path) == acl_listing(tmpfs.path))


@pytest.fixture
def both(store, folder, mount):
    """Users, nodes, and the two file systems carrying the same tree."""
    users, nodes = make_users(), make_nodes()
    assert (len(users), len(nodes)) == (50, 200)
    if sanitized():  # which make it slow; the verdicts are those of the same code
        users = users[::5]
    tmpfs, secrets = Tmpfs(folder), Secrets(store)
    for node in nodes:
        tmpfs.make(node)
        secrets.make(node)
    return users, nodes, mount(), tmpfs, secrets


def watch(root, nodes, stop):
    """Every answer seen to each question about each node, until the file `stop` is there."""
    seen = {node.path: set() for node in nodes}
    rounds = 0
    while not os.path.exists(stop):
        for path, verdict in verdicts(root, nodes).items():
            seen[path].update(enumerate(verdict))
        rounds += 1
    return rounds, seen


def change_one_thing(chance, node, targets):
    what = chance.choice(["chown", "chmod", "setfacl"])
    if what == "chown":
        node.uid, node.gid = chance.choice(OWNERS), chance.choice(GROUPS)
    elif what == "chmod":
        node.mode = chance.choice(DIRECTORY_MODES if node.directory else FILE_MODES)
    else:
        node.acl = random_acl(chance)
    for target in targets:
        getattr(target, what)(node)


def test_the_verdicts_are_those_of_tmpfs(both, folder, measured):
    users, nodes, mount, tmpfs, secrets = both
    chance = random.Random(3)
    expect_same_policies(mount, tmpfs)
    assert not differences(users, nodes, mount, tmpfs, before_each=drop_caches), "nothing cached"
    assert not differences(users, nodes, mount, tmpfs), "everything cached"

    # While files change, one thing each, a watcher gets the old or the new answers, no third.
    files = [node for node in nodes if not node.directory]
    changing = chance.sample(files, 40)
    watchers = chance.sample(users[1:], 3)
    before = [for_user(user, verdicts, str(tmpfs.path), changing).result() for user in watchers]
    watching = [
        for_user(user, watch, str(mount.path), changing, folder / "stop") for user in watchers
    ]
    for node in changing:
        change_one_thing(chance, node, (tmpfs, secrets))
    expect_same_policies(mount, tmpfs)
    (folder / "stop").touch()
    after = [for_user(user, verdicts, str(tmpfs.path), changing).result() for user in watchers]
    for index, watcher in enumerate(watching):
        rounds, seen = watcher.result()
        assert rounds > 2
        for node in changing:
            allowed = {*enumerate(before[index][node.path]), *enumerate(after[index][node.path])}
            assert seen[node.path] <= allowed, (watchers[index], node, seen[node.path] - allowed)
    assert before != after, "something changed at all"
    assert not differences(users, nodes, mount, tmpfs), "after files changed"

    for node in chance.sample([node for node in nodes if node.directory], 15):
        change_one_thing(chance, node, (tmpfs, secrets))
    expect_same_policies(mount, tmpfs)
    assert not differences(users, nodes, mount, tmpfs), "after directories changed"
    assert not differences(
        users[:: len(users) // 10], nodes, mount, tmpfs, before_each=drop_caches
    ), "uncached again"
    measured(f"{len(users)} users × {len(nodes)} nodes × {ANSWERS} questions, 5 times: as on tmpfs")


def test_a_secret_is_for_its_owner_only_by_default(store, mount):
    store.put("a", b"value", "--owner", "20001")
    path = mount().path / "a"
    assert as_user(20001, 20001, [], read, path) == b"value"
    for uid, gid, groups in ((20002, 20002, []), (20002, 0, [0]), (65534, 65534, [20001])):
        assert as_user(uid, gid, groups, error_of, read, path) == "EACCES"


def test_a_taken_away_permission_is_gone_for_those_who_cached_it(store, mount):
    store.put("a", b"value", "--mode", "0444")
    path = mount().path / "a"
    assert as_user(20001, 20001, [], read, path) == b"value"
    store.ctl("chmod", "0400", "a")
    eventually(lambda: as_user(20001, 20001, [], error_of, read, path) == "EACCES")
    store.ctl("setfacl", "-m", "u:20001:r", "a")
    eventually(lambda: as_user(20001, 20001, [], read, path) == b"value")
    store.ctl("setfacl", "-b", "a")
    eventually(lambda: as_user(20001, 20001, [], error_of, read, path) == "EACCES")
