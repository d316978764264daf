"""Beyond the bars: sizes, readers, numbers of secrets, depths, ACLs, rotation, the record, other programs.

Each grid has a line for each case and a column for each filesystem; the figures are medians.
"""

import contextlib
import os
import subprocess
from dataclasses import dataclass, field

from common import MS, US, LargeMount, filled, measured, number, summary, timed
from harness import fresh_folder, identity, remove_folder
from peers import missing, mounted_peers
from reads import MANY_PHASE_MS, PHASE_MS, lists_of

FILES = 100
SIZES = [64, 4096, 65536]
READERS = [1, 2, 8, 64]
DEPTHS = [1, 2, 4, 8, 16]
ACLS = [0, 1, 8]
FIRST_USER = 20000  # of those that bench_fill names in an ACL
OTHERS = ["tmpfs", "ext4", "bare", "gocryptfs", "encfs", "securefs"]


@dataclass
class Grid:
    title: str
    unit: str
    lines: dict = field(default_factory=dict)  # case: {column: figure}

    def add(self, case, figures):
        self.lines.setdefault(case, {}).update(figures)

    def columns(self):
        """In the order in which they came up."""
        return list(dict.fromkeys(column for line in self.lines.values() for column in line))

    def cells(self):
        columns = self.columns()
        yield ["", *columns]
        for case, line in self.lines.items():
            yield [case, *(number(line.get(column)) for column in columns)]

    def markdown(self):
        head, *lines = self.cells()
        shown = [head, ["---"] + ["---:"] * (len(head) - 1), *lines]
        body = "\n".join("| " + " | ".join(line) + " |" for line in shown)
        return f"**{self.title}** ({self.unit})\n\n{body}\n"

    def text(self):
        lines = list(self.cells())
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        body = (
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
            for line in lines
        )
        return "\n".join([f"{self.title} ({self.unit})", *body])

    def as_json(self):
        return self.__dict__


def size_name(size):
    return f"{size} B" if size < 1024 else f"{size // 1024} KiB"


@contextlib.contextmanager
def mounts_of(count, *kinds, **shape):
    """A store, mounted in each kind's way: (store, {name: folder}, paths)."""
    folder = fresh_folder()
    served = []
    try:
        store, paths = filled(folder, count, **shape)
        places = {}
        for name, *options in kinds:
            (folder / name).mkdir()
            served.append(LargeMount(store, folder / name / "mnt", *options))
            places[name] = served[-1].path
        yield store, places, paths
    finally:
        for mount in served:
            mount.close()
        remove_folder(folder)


PLAIN = ("secretfs",)
UNRECORDED = ("audit-none", "audit=none")


def warm(folder, places, paths, ms, readers=1, **options):
    phase = PHASE_MS if readers == 1 else MANY_PHASE_MS
    lists = lists_of(folder, places, paths)
    return measured("reader", "warm", readers, ms, phase, *lists, **options)


def p50s(figures):
    return {name: times["p50"] / US for name, times in figures.items()}


# ---- The grids


def sizes_and_readers(ms):
    """Every peer, with files of each size; and with the smallest, several readers at once."""
    cold_grid = Grid("first read of a file, one reader", "µs")
    warm_grid = Grid("warm open+fstat+read+close, one reader", "µs")
    many_grid = Grid("the same by several readers at once, 64 B", "thousands a second")
    for size in SIZES:
        with mounts_of(FILES, PLAIN, UNRECORDED, size=size) as (store, places, paths):
            wanted = [name for name in OTHERS if not missing(name)]
            with mounted_peers(store.folder, wanted, FILES, size) as peers:
                places |= {name: peer.path for name, peer in peers.items()}
                lists = lists_of(store.folder, places, paths)
                cold_grid.add(size_name(size), p50s(measured("reader", "cold", 10, *lists)))
                warm_grid.add(size_name(size), p50s(warm(store.folder, places, paths, ms)))
                for readers in READERS if size == SIZES[0] else []:
                    found = warm(store.folder, places, paths, ms, readers)
                    rates = {name: times["rate"] / 1000 for name, times in found.items()}
                    many_grid.add(f"{readers}", rates)
    return [warm_grid, cold_grid, many_grid]


def numbers_of_secrets(ms, counts):
    grid = Grid("64 B, by the number of secrets in the store", "µs")
    for count in counts:
        with mounts_of(count, PLAIN, per_folder=1000) as (store, places, paths):
            some = paths[:: max(1, count // 1000)]
            for path in {path.partition("/")[0] for path in some}:
                os.stat(places["secretfs"] / path / ".")
            lists = lists_of(store.folder, places, some)
            cold = measured("reader", "cold", 10, *lists)["secretfs"]["p50"]
            found = warm(store.folder, places, some[:FILES], ms)["secretfs"]["p50"]
            grid.add(f"{count:,}", {"cold": cold / US, "warm": found / US})
    return [grid]


def depths(ms):
    grid = Grid("warm, 64 B, by depth", "µs")
    for depth in DEPTHS:
        with mounts_of(FILES, PLAIN, UNRECORDED, depth=depth) as (store, places, paths):
            grid.add(f"{depth}", p50s(warm(store.folder, places, paths, ms)))
    return [grid]


def acls(ms):
    """As the user of the first entry; without one, as the owner, which is root."""
    grid = Grid("warm, 64 B, by the number of ACL entries", "µs")
    for count in ACLS:
        who = identity(FIRST_USER) if count else {}
        with mounts_of(FILES, PLAIN, UNRECORDED, acl=count) as (store, places, paths):
            lists = lists_of(store.folder, places, paths)
            found = measured("reader", "warm", 1, ms, PHASE_MS, *lists, **who)
            grid.add(f"{count}", p50s(found))
    return [grid]


def rotated(ms):
    """Cold, warm, right after a rotation, and warm again after that."""
    grid = Grid("64 B, before and after a rotation", "µs")
    with mounts_of(FILES, PLAIN) as (store, places, paths):
        lists = lists_of(store.folder, places, paths)

        def once():
            return measured("reader", "cold", 10, *lists)["secretfs"]["p50"] / US

        grid.add("first read", {"secretfs": once()})
        grid.add("warm", p50s(warm(store.folder, places, paths, ms)))
        measured("confirm", store.path, store.key, FILES, *paths)
        grid.add("first after a rotation", {"secretfs": once()})
        grid.add("warm again", p50s(warm(store.folder, places, paths, ms)))
    return [grid]


def recorded(ms):
    grid = Grid("warm, 64 B, by audit_sync", "µs")
    kinds = [UNRECORDED, ("batch",), ("open", "audit_sync=open")]
    with mounts_of(FILES, *kinds) as (store, places, paths):
        grid.add("median", p50s(warm(store.folder, places, paths, ms)))
    return [grid]


# ---- As people do it without a daemon


def shell_ways(folder, store, place, path):
    """What gives one secret's value out: {name: argv}. `file` has the same value."""
    value = (place / path).read_bytes()
    (folder / "value").write_bytes(value)
    ways = {"cat, secretfs": ["cat", place / path], "secretctl get": store.argv("get", path)}
    if not missing("age"):
        subprocess.run(["age-keygen", "-o", folder / "age.key"], check=True, capture_output=True)
        key = (folder / "age.key").read_text()
        recipient = key.partition("public key: ")[2].split()[0]
        argv = ["age", "-r", recipient, "-o", folder / "value.age", folder / "value"]
        subprocess.run(argv, check=True)
        ways["age -d"] = ["age", "-d", "-i", folder / "age.key", folder / "value.age"]
    if not missing("gpg"):
        home = folder / "gnupg"
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--no-permission-warning"]
        gpg += ["--trust-model", "always"]
        make = ["--passphrase", "", "--quick-gen-key", "bench", "rsa3072", "encr", "never"]
        subprocess.run([*gpg, *make], check=True, capture_output=True)
        subprocess.run([*gpg, "-o", folder / "value.gpg", "-e", "-r", "bench", folder / "value"], check=True)
        ways["gpg -d"] = [*gpg, "-d", folder / "value.gpg"]
    if not missing("systemd-creds"):
        argv = ["systemd-creds", "--with-key=host", "encrypt", folder / "value", folder / "value.cred"]
        subprocess.run(argv, check=True, capture_output=True)
        ways["systemd-creds decrypt"] = ["systemd-creds", "decrypt", folder / "value.cred", "-"]
    return ways


def without_daemon(runs):
    grid = Grid("one secret by a program that is started for it, 64 B", "ms")
    with mounts_of(FILES, PLAIN) as (store, places, paths):
        folder = store.folder / "ways"
        folder.mkdir()
        ways = shell_ways(folder, store, places["secretfs"], paths[0])
        taken = {name: [] for name in ways}
        try:
            for _ in range(runs):
                for name, argv in ways.items():
                    taken[name].append(timed(argv, stderr=subprocess.DEVNULL))
        finally:
            subprocess.run(["gpgconf", "--homedir", folder / "gnupg", "--kill", "all"], check=False)
    grid.add("median", {name: summary(times)["p50"] / MS for name, times in taken.items()})
    return [grid]


def grids(quick, counts):
    ms = 300 if quick else 1500
    return [
        *sizes_and_readers(ms),
        *numbers_of_secrets(ms, counts),
        *depths(ms),
        *acls(ms),
        *rotated(ms),
        *recorded(ms),
        *without_daemon(10 if quick else 40),
    ]
