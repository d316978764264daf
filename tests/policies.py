"""50 users and 200 nodes with every kind of policy, as a store has them; always the same ones."""

import random
from dataclasses import dataclass

from harness import Child

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


def for_user(user, function, *args):
    return Child(function, *args, uid=user.uid, gid=user.gid, groups=user.groups)
