"""What secretfs is measured against: the same files, mounted from the distribution's other programs."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import common
from harness import SECRETFS, end, eventually, mounted, run, spawn

OURS = ("tmpfs", "ext4", "bare", "silent", "noting")  # nothing has to be installed for them
PASSWORD = b"only for the benchmark\n"


def workers():
    """How many threads secretfs serves with, so that the bare server has as many."""
    line = next(
        line for line in run([SECRETFS, "--help"]).stdout.decode().splitlines() if "workers=N" in line
    )
    return int(line.rpartition("default ")[2].rstrip(")"))


def names(count):
    return [str(i) for i in range(count)]


def fill(folder, count, size, prefix=""):
    """The files that a store has after bench_fill, all in one folder."""
    base = Path(folder, prefix)
    base.mkdir(parents=True, exist_ok=True)
    for name in names(count):
        (base / name).write_bytes(os.urandom(size))
        (base / name).chmod(0o400)


class Peer:
    """A mount of `count` files of `size` bytes in `folder`; close() leaves nothing of it."""

    def __init__(self, name, folder, count, size):
        self.name = name
        self.folder = folder / name
        self.path = self.folder / "mnt"
        self.count, self.size = count, size
        self.process = None
        self.path.mkdir(parents=True)
        try:
            getattr(self, name)()
        except BaseException:
            self.close()
            raise

    def close(self):
        while mounted(self.path):
            if subprocess.run(["umount", str(self.path)], check=False).returncode != 0:
                run(["umount", "-l", self.path])
        if self.process:
            end(self.process)
        shutil.rmtree(self.folder)

    def _wait(self):
        eventually(lambda: mounted(self.path), timeout=30)

    def fresh(self):
        """As if nothing had been read yet: mounted anew, where that is quick."""
        if self.name in ("tmpfs", "ext4"):
            return
        while mounted(self.path):
            run(["umount", self.path])
        if self.process:
            end(self.process)
            self.process = None
        getattr(self, f"{self.name}_again", getattr(self, self.name))()

    def tmpfs(self):
        run(["mount", "-t", "tmpfs", "-o", "size=4g,nr_inodes=0,mode=755", "tmpfs", self.path])
        fill(self.path, self.count, self.size)

    def ext4(self):
        image = self.folder / "image"
        with open(image, "wb") as file:
            file.truncate(max(256 << 20, self.count * (self.size + 8192)))
        run(["mkfs.ext4", "-q", "-N", self.count + 1000, image])
        run(["mount", "-o", "loop", image, self.path])
        fill(self.path, self.count, self.size)
        run(["mount", "-o", "remount,ro", self.path])

    def bare(self, *words):
        argv = [common.program("bare"), self.path, self.count, self.size, workers(), *words]
        self.process = spawn(argv)
        self._wait()

    def silent(self):
        """The bare server without answers to opens."""
        self.bare("silent")

    def noting(self):
        """The bare server, which makes the system calls of a record for each open."""
        self.bare(self.folder / "record")

    def gocryptfs(self):
        (self.folder / "data").mkdir()
        (self.folder / "password").write_bytes(PASSWORD)
        run(["gocryptfs", "-q", "-init", "-passfile", self.folder / "password", self.folder / "data"])
        self.gocryptfs_again(writable=True)
        fill(self.path, self.count, self.size)
        run(["umount", self.path])
        self.gocryptfs_again()

    def gocryptfs_again(self, writable=False):
        access = [] if writable else ["-ro"]
        run(
            ["gocryptfs", "-q", *access, "-passfile", self.folder / "password"]
            + [self.folder / "data", self.path],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def encfs(self):
        (self.folder / "data").mkdir()
        self.encfs_again()
        fill(self.path, self.count, self.size)
        self.fresh()

    def encfs_again(self):
        run(
            ["encfs", "--standard", "--stdinpass", self.folder / "data", self.path],
            input=PASSWORD,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def securefs(self):
        (self.folder / "data").mkdir()
        run(["securefs", "create", "--pass", PASSWORD.decode().strip(), self.folder / "data"])
        self.securefs_again()
        fill(self.path, self.count, self.size)
        self.fresh()

    def securefs_again(self):
        run(
            ["securefs", "mount", "-b", "--pass", PASSWORD.decode().strip()]
            + ["--log", self.folder / "log", self.folder / "data", self.path],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()


def missing(name):
    """Whether the machine has no such program."""
    return name not in OURS and shutil.which(name) is None


@contextlib.contextmanager
def mounted_peers(folder, wanted, count, size):
    """Those of the wanted peers that there are, by their names."""
    with contextlib.ExitStack() as stack:
        peers = {}
        for name in wanted:
            if missing(name):
                continue
            peers[name] = Peer(name, folder, count, size)
            stack.callback(peers[name].close)
        yield peers


def path_list(folder, name, paths):
    """A file of paths for bench_reader, and the argument that names it."""
    file = folder / f"{name}.paths"
    file.write_text("".join(f"{path}\n" for path in paths))
    return f"{name}={file}"
