"""Who may open what: the same verdict as tmpfs gives with the same owners, modes and ACLs.

50 users (root among them) try 200 nodes on the mount and on a tmpfs mounted with the same flags,
with nothing cached, with everything cached, while policies change, and after.
"""

import os
import random
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import Child, as_user, error_of, eventually, run, sanitized

OWNERS = [0, *range(20001, 20012)]
GROUPS = [0, *range(30001, 30009)]
DIRECTORY_MODES = [0o755, 0o755, 0o755, 0o750, 0o711, 0o710, 0o700, 0o705, 0o501, 0o070, 0o000]
FILE_MODES = [
    0o400,
    0o440,
    0o444,
    0o600,
    0o640,
    0o644,
    0o604,
    0o040,
    0o004,
    0o000,
    0o500,
    0o755,
    0o044,
]
DIRECTORIES, FILES = 40, 160
ANSWERS = 6


@dataclass
class User:
    uid: int
    gid: int
    groups: list


@dataclass
class Node:
    path: str
    directory: bool
    uid: int
    gid: int
    mode: int
    acl: str


def make_users():
    """root; owners; group members by primary and by supplementary group; those who are neither."""
    chance = random.Random(50)
    users = [User(0, 0, [])]
    for index in range(49):
        uid = 20001 + index
        gid = chance.choice([*GROUPS[1:], 40000 + index, 40000 + index])
        users.append(User(uid, gid, chance.sample(GROUPS[1:], chance.choice([0, 0, 1, 2]))))
    return users


def random_acl(chance):
    """An ACL as a setfacl spec: named users and groups, denials among them, at times a mask."""
    entries = {}
    for _ in range(chance.randint(1, 4)):
        kind, ids = chance.choice([("u", range(20001, 20050)), ("g", GROUPS[1:])])
        entries[kind, chance.choice(ids)] = chance.choice(["r", "rx", "rwx", "-", "x"])
    spec = [f"{kind}:{who}:{perm}" for (kind, who), perm in entries.items()]
    if chance.random() < 0.4:
        spec.append("m::" + chance.choice(["r", "rx", "-", "rwx", "x"]))
    return ",".join(spec)


def make_nodes():
    chance = random.Random(200)
    nodes, folders = [], [""]
    for index in range(DIRECTORIES + FILES):
        directory = index < DIRECTORIES
        parent = chance.choice(folders)
        path = f"{parent}/{'d' if directory else 'f'}{index}".lstrip("/")
        if directory and path.count("/") < 3:
            folders.append(path)
        nodes.append(
            Node(
                path,
                directory,
                chance.choice(OWNERS),
                chance.choice(GROUPS),
                chance.choice(DIRECTORY_MODES if directory else FILE_MODES),
                random_acl(chance) if chance.random() < 0.4 else "",
            )
        )
    return nodes


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


class Secrets:
    """The same operations on the store."""

    def __init__(self, store):
        self.store = store
        store.quick = True

    def make(self, node):
        command = "mkdir" if node.directory else "put"
        policy = ["--owner", node.uid, "--group", node.gid, "--mode", f"{node.mode:04o}"]
        if node.acl:
            policy += ["--acl", node.acl]
        self.store.ctl(command, node.path, *policy, input=node.path.encode())

    def chown(self, node):
        self.store.ctl("chown", f"{node.uid}:{node.gid}", node.path)

    def chmod(self, node):
        self.store.ctl("chmod", f"{node.mode:04o}", node.path)

    def setfacl(self, node):
        self.store.ctl("setfacl", "-m", node.acl, node.path)


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


def for_user(user, function, *args):
    return Child(function, *args, uid=user.uid, gid=user.gid, groups=user.groups)


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
