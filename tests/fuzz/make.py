#!/usr/bin/python3
"""
Makes stores/ with secretctl, and the corpora to begin with from the vectors. Written once: the files
are kept, and what fuzzing has found since is beside them.

    tests/fuzz/make.py BUILD
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
RECORDS = {"record_root": "root", "record_version": "version", "slot_": "slot", "record_": "node"}
TEXTS = {
    "duration": ["90s", "12h", "30d", "1d12h", "0s", "w", "99999999999999999999w"],
    "aclspec": ["u:root:r", "g:0:rwx,m::r", "u::rw,g::r,o::-", "user:17:7,mask::rx", "x", "u:1", ""],
}


def make_stores(build):
    stores = HERE / "stores"
    stores.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def ctl(*args, value=None):
            options = ["--store", folder / "db", "--key-file", folder / "key"]
            subprocess.run([build / "tools/secretctl", *options, *args], input=value, check=True)

        ctl("init")
        ctl("mkdir", "dir")
        ctl("put", "dir/secret", value=b"first")
        ctl("put", "dir/other", value=b"the same")
        ctl("put", "old", value=b"gone")
        shutil.copy(folder / "db", stores / "a.db")
        shutil.copy(folder / "key", stores / "key")
        ctl("put", "dir/secret", value=b"second")
        ctl("put", "new", value=b"there")
        ctl("rm", "old")
        ctl("chmod", "0440", "dir/other")
        shutil.copy(folder / "db", stores / "b.db")


def seed(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def make_record(vectors):
    lines = [bytes.fromhex(vectors[f"audit_line_{which}"]) for which in ("1", "2", "late")]
    seed("record", "lines", b"".join(lines))
    seed("record", "without_the_first", b"".join(lines[1:]))
    seed("record", "doubled", lines[0] * 3 + lines[1])
    seed("record", "pieces", lines[0][:100] + b"\n" + lines[0] + lines[1][:50] + lines[1] + b"\n\n{")
    seed("record", "numbers", lines[0].replace(b'"seq":1', b'"seq":999999999999999999') + lines[1])


def make_corpora():
    vectors = {}
    for line in (HERE.parent / "vectors/v1.txt").read_text().splitlines()[1:]:
        name, data = line.split(" ")
        vectors[name] = data
        for prefix, target in RECORDS.items():
            if name.startswith(prefix) and not (name == "record_root_directory" and target == "root"):
                seed(target, name, bytes.fromhex(data))
                break
    make_record(vectors)
    for target, texts in TEXTS.items():
        for number, text in enumerate(texts):
            seed(target, f"text{number}", text.encode())
    for number, acl in enumerate(["", "04", "05" "0104e8030000" "0206e9030000"]):
        seed("policy", f"acl{number}", bytes.fromhex("00000000" "07000000" "a001" + acl))
    seed("store", "as_it_is", b"")
    seed("store", "changed", bytes.fromhex("10100001" "00204042" "0020c010"))
    seed("feed", "b", bytes.fromhex("02000000" "02010000" "02020000" "02030000"))
    seed("feed", "mixed", bytes.fromhex("00011200" "00030100" "01011300" "03021407"))
    # All of state B but what `chmod` did: what only the sum over all rows tells.
    nodes = "".join(f"0001{row:02x}00" for row in (16, 17, 18, 22, 25))
    seed("feed", "all_but_one", bytes.fromhex("02000000" "02020000" "02030000" + nodes))
    seed("feed", "as_it_is", b"")


if __name__ == "__main__":
    make_stores(pathlib.Path(sys.argv[1]))
    make_corpora()
