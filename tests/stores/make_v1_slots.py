#!/usr/bin/env python3
"""Write tests/stores/v1/slots.db: a store of format 1 with a key slot of every kind, and their keys.

Run once, as root, when these kinds were new; never again. See harness.py for the build.
"""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import ROOT, SECRETCTL, Store, fresh_folder, run  # noqa: E402

TARGET = ROOT / "tests" / "stores" / "v1"


def main():
    if (TARGET / "slots.db").exists():
        sys.exit("slots.db exists: a kept store is never written again")
    folder = fresh_folder()
    store = Store.fresh(folder)
    store.put("plain", b"behind four kinds of keys")
    with open(TARGET / "passphrase", "rb") as phrase:
        fd = phrase.fileno()
        store.ctl("key", "add", "--new-passphrase-fd", fd, pass_fds=[fd])
    identity = [SECRETCTL, "identity", "new", "--out", folder / "identity"]
    store.ctl("key", "add", "--recipient", run(identity).stdout.decode().strip())
    (folder / "command.key").write_bytes(os.urandom(32))
    command = folder / "command"
    command.write_text(f"#!/bin/sh\nexec cat {folder}/command.key\n")
    command.chmod(0o755)
    store.ctl("key", "add", "--new-unlock-command", command)
    shutil.copy(store.path, TARGET / "slots.db")
    shutil.copy(store.key, TARGET / "slots.key")
    for name in ("identity", "command.key"):
        shutil.copy(folder / name, TARGET / f"slots.{name}")
        (TARGET / f"slots.{name}").chmod(0o644)
    (TARGET / "slots.key").chmod(0o644)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
