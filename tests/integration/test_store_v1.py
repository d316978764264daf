"""A store written by format 1 opens, and holds what it held, in every later version."""

import json
import os
import shutil

import pytest

from harness import ROOT, SECRETCTL, Store, run
from stored import describe

KEPT = ROOT / "tests" / "stores" / "v1"


@pytest.fixture
def kept(folder):
    """A copy of the kept store, since programs may write beside it."""
    copy = Store(folder / "kept")
    copy.folder.mkdir()
    for name, target in (("store.db", copy.path), ("store.key", copy.key)):
        shutil.copy(KEPT / name, target)
        target.chmod(0o600)
    return copy


@pytest.fixture
def expected():
    return json.loads((KEPT / "expected.json").read_text())


def test_every_secret_version_and_policy_is_as_it_was(kept, expected):
    assert len(expected["nodes"]) > 10
    found = describe(kept)
    for path, node in expected["nodes"].items():
        assert found["nodes"].get(path) == node, path
    assert found == expected
    kept.ctl("check")


def test_it_can_be_changed(kept):
    kept.put("plain", b"changed")
    kept.ctl("restore", "removed")
    assert (kept.get("plain"), kept.get("removed")) == (b"changed", b"can be restored")
    kept.ctl("check")


def test_it_can_be_mounted(kept, mount):
    served = mount(of=kept)
    assert (served.path / "plain").read_bytes() == b"a plain value\n"
    assert (served.path / "names/ключ 日本語").read_bytes() == "ünï".encode()


def test_the_passphrase_opens_its_store(folder):
    shutil.copy(KEPT / "passphrase.db", folder / "store.db")
    with open(KEPT / "passphrase", "rb") as passphrase:
        argv = [SECRETCTL, "--store", folder / "store.db", "--passphrase-fd", passphrase.fileno()]
        done = run([*argv, "get", "plain"], pass_fds=[passphrase.fileno()])
    assert (done.stdout, done.stderr) == (b"behind a passphrase", b"")


@pytest.mark.parametrize("kind", ["keyfile", "passphrase", "recipient", "command"])
def test_a_key_of_every_kind_opens_its_store(folder, kind):
    for name in ("slots.db", "slots.key", "slots.identity", "slots.command.key"):
        shutil.copy(KEPT / name, folder)
        (folder / name).chmod(0o600)
    command = folder / "command"
    command.write_text(f"#!/bin/sh\nexec cat {folder}/slots.command.key\n")
    command.chmod(0o700)
    with open(KEPT / "passphrase", "rb") as phrase:
        fd = phrase.fileno()
        unlock = {
            "keyfile": ["--key-file", folder / "slots.key"],
            "passphrase": ["--passphrase-fd", fd],
            "recipient": ["--identity", folder / "slots.identity"],
            "command": ["--unlock-command", command],
        }
        argv = [SECRETCTL, "--store", folder / "slots.db", *unlock[kind]]
        done = run([*argv, "get", "plain"], pass_fds=[fd])
        os.lseek(fd, 0, os.SEEK_SET)
        listed = json.loads(run([*argv, "key", "ls", "--json"], pass_fds=[fd]).stdout)
    assert (done.stdout, done.stderr) == (b"behind four kinds of keys", b"")
    assert [slot["kind"] for slot in listed] == ["keyfile", "passphrase", "recipient", "command"]
