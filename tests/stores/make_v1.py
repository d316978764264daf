#!/usr/bin/env python3
"""Write tests/stores/v1: a store of format 1 and all that is in it, kept so that it opens forever.

Run once, as root, when the format was final; never again for v1. See harness.py for the build.
"""

import json
import os
import random
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import ROOT, SECRETCTL, Store, fresh_folder, run  # noqa: E402
from stored import describe  # noqa: E402

TARGET = ROOT / "tests" / "stores" / "v1"
PASSPHRASE = b"the passphrase of the kept store"


def fill(store):
    """Something of everything the format knows."""
    noise = random.Random(1)
    store.put("plain", b"a plain value\n", "--description", "as simple as it gets")
    store.put("empty", b"")
    store.put("binary", bytes(range(256)), "--mode", "0444")
    store.put(
        "large", noise.randbytes(20000), "--owner", "1000", "--group", "1001", "--mode", "0640"
    )
    store.put("deep/er/and/deeper/secret", b"down here", "-p")
    store.put("names/ключ 日本語", "ünï".encode(), "-p", "--description", "Δ")
    store.put("names/" + "n" * 255, b"a long name")
    store.put("acl", b"shared", "--mode", "0400", "--acl", "u:1000:r,u:1001:-,g:2000:rw,m::r")
    store.ctl("chmod", "0750", "deep")
    store.ctl("chown", "7:8", "deep")
    store.ctl("setfacl", "-m", "u:1000:rx", "deep/er")
    for number in range(1, 104):
        store.put("rotated", b"value %d" % number)
    store.put("rolled-back", b"one")
    store.put("rolled-back", b"two")
    store.ctl("rollback", "rolled-back")
    store.put("removed", b"can be restored")
    store.ctl("rm", "removed")
    store.put("purged", b"gone")
    store.ctl("rm", "purged")
    store.ctl("purge", "purged")
    store.put("before", b"moved")
    store.ctl("mv", "before", "names/after")


def make_with_passphrase(path):
    """A second store, since `init` makes one slot: unlocked by a passphrase."""
    for words, data in ((["init"], b""), (["put", "plain"], b"behind a passphrase")):
        reader, writer = os.pipe()
        os.write(writer, PASSPHRASE)
        os.close(writer)
        argv = [SECRETCTL, "--store", path, "--passphrase-fd", reader, *words]
        run(argv, input=data, pass_fds=[reader])
        os.close(reader)


def main():
    if TARGET.exists() and any(TARGET.iterdir()):
        sys.exit(f"{TARGET} exists: a kept store is never written again")
    folder = fresh_folder()
    store = Store.fresh(folder)
    fill(store)
    make_with_passphrase(folder / "passphrase.db")
    TARGET.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "passphrase.db", TARGET / "passphrase.db")
    (TARGET / "passphrase").write_bytes(PASSPHRASE)
    shutil.copy(store.path, TARGET / "store.db")
    shutil.copy(store.key, TARGET / "store.key")
    expected = json.dumps(describe(store), indent=1, ensure_ascii=False, sort_keys=True)
    (TARGET / "expected.json").write_text(expected + "\n")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
