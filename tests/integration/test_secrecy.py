"""Nothing leaks: not into the store's files, argv, the environment, a log or a core."""

import threading
from pathlib import Path

from harness import eventually, run

VALUE = "canary-value-7f3a91"
NAME = "canary-name-52be"
FOLDER = "canary-folder-9c1d"
DESCRIPTION = "canary-words-e8f0"


def leaks(data):
    """The canaries found in some bytes, as they are, in hexadecimal or as UTF-16."""
    found = []
    for canary in (VALUE, NAME, FOLDER, DESCRIPTION):
        forms = (canary.encode(), canary.encode().hex().encode(), canary.encode("utf-16-le"))
        found += [canary for form in forms if form in data]
    return found


def fill(store):
    store.put(f"{FOLDER}/{NAME}", VALUE.encode() * 10, "-p", "--description", DESCRIPTION)
    store.put(f"{FOLDER}/{NAME}", VALUE.encode())
    store.ctl("mv", f"{FOLDER}/{NAME}", f"{FOLDER}/{NAME}-moved")
    store.put(f"{FOLDER}/gone-{NAME}", VALUE.encode())
    store.ctl("rm", f"{FOLDER}/gone-{NAME}")


def test_the_store_and_its_log_hold_neither_values_nor_names(store, mount):
    served = mount()
    fill(store)
    path = served.path / FOLDER / f"{NAME}-moved"
    eventually(lambda: path.read_bytes() == VALUE.encode())
    files = store.files()
    assert {"store.db", "store.db-wal", "store.db-shm"} == {file.name for file in files}
    assert (store.folder / "store.db-wal").stat().st_size > 0
    assert {file.name: leaks(file.read_bytes()) for file in files} == {
        file.name: [] for file in files
    }
    strings = run(["strings", "-n", "6", *files]).stdout
    assert b"canary" not in strings
    served.stop()
    assert leaks(store.path.read_bytes()) == []
    record = b"".join(file.read_bytes() for file in store.records())  # it has names, and no more
    assert set(leaks(record)) == {NAME, FOLDER}


def test_equal_values_and_names_do_not_look_equal(store):
    """No block of 16 bytes appears twice in the sealed part, as it would under a repeated nonce."""
    for number in range(4):
        store.put(f"d{number}/same", b"same value" * 1000, "-p")
    data = store.path.read_bytes()
    blocks = [data[at : at + 16] for at in range(0, len(data), 16)]
    kept = [block for block in blocks if len(set(block)) > 8]
    assert len(kept) - len(set(kept)) < len(kept) / 100


class Sampler(threading.Thread):
    """Reads argv and environment of every process, again and again."""

    def __init__(self):
        super().__init__()
        self.found, self.programs, self.stop = set(), set(), threading.Event()

    def run(self):
        while not self.stop.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for part in ("cmdline", "environ"):
                    try:
                        data = (process / part).read_bytes()
                    except OSError:
                        continue
                    self.programs.add(data.split(b"\0")[0].rpartition(b"/")[2])
                    if VALUE.encode() in data:
                        self.found.add((process.name, part))


def test_values_are_in_no_argv_and_no_environment(store, mount):
    store.quick = True
    served = mount()
    sampler = Sampler()
    sampler.start()
    try:
        for number in range(15):
            store.put("a", f"{VALUE}{number}".encode())
            store.get("a")
        eventually(lambda: (served.path / "a").read_bytes() == f"{VALUE}14".encode())
    finally:
        sampler.stop.set()
        sampler.join()
    assert {b"secretctl", b"secretfs"} <= sampler.programs
    assert sampler.found == set()


def test_the_debug_log_holds_neither_values_nor_names(store, mount):
    served = mount("debug")
    fill(store)
    path = served.path / FOLDER / f"{NAME}-moved"
    eventually(lambda: path.read_bytes() == VALUE.encode())
    run(["ls", "-lR", served.path])
    served.stop()
    assert len(served.requests()) > 5
    assert VALUE not in served.log.read_text()


def test_no_command_but_get_prints_a_value(store):
    fill(store)
    path = f"{FOLDER}/{NAME}-moved"
    for command in (
        ["ls", "-lR"],
        ["ls", "--deleted"],
        ["show", path],
        ["versions", path],
        ["readers", path],
        ["getfacl", path],
        ["status"],
        ["check"],
    ):
        assert VALUE.encode() not in store.ctl(*command)
        assert VALUE.encode() not in store.ctl(*command, "--json")


def test_the_daemon_leaves_no_core(store, mount):
    served = mount(prefix=["prlimit", "--core=unlimited:unlimited"])
    limits = Path(f"/proc/{served.process.pid}/limits").read_text().splitlines()
    (core,) = [line for line in limits if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


def test_purge_leaves_no_byte_of_the_sealed_value(store):
    """What the file held of the purged secret is overwritten, not only forgotten."""
    store.put("keep", b"kept")
    before = store.path.read_bytes()
    store.put("a", b"z" * 60000)
    filled = store.path.read_bytes()
    store.ctl("rm", "a")
    store.ctl("purge", "a")
    assert store.files() == [store.path], "the log is folded in"
    samples = {filled[at : at + 32] for at in range(0, len(filled), 512)}
    sealed = {block for block in samples if len(set(block)) > 16 and block not in before}
    assert len(sealed) > 50
    left = store.path.read_bytes()
    assert not [block for block in sealed if block in left]
