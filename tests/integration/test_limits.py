"""The limits of names, depth, values and descriptions, at their edges."""

import os

import pytest

from harness import FAILED, NOT_FOUND, USAGE

MIB = 1024 * 1024


def test_a_name_of_255_bytes_and_no_more(store):
    store.put("x" * 255, b"value")
    assert store.get("x" * 255) == b"value"
    for long in ("x" * 256, "é" * 128):
        store.refuses(FAILED, "put", long, input=b"value")
    store.put("é" * 127 + "x", b"value")


@pytest.mark.parametrize(
    "name",
    [
        b"a\nb",
        b"a\tb",
        b"\x01",
        b"a\x7fb",
        b"a\x1bb",
        b"\xff\xfe",
        b"\xc3",
        b"\xed\xa0\x80",
        b"a\xc2\x80b",
    ],
)
def test_control_bytes_and_broken_utf8_are_no_names(store, name):
    line = store.refuses(FAILED, "put", os.fsdecode(name), input=b"value")
    assert name not in line.encode(
        "utf-8", "surrogateescape"
    ), "an error never carries control bytes"
    store.refuses(FAILED, "mkdir", os.fsdecode(name))
    assert store.ctl("ls") == b""


@pytest.mark.parametrize("path", [".", "..", "a/.", "a/..", "../a", "a/../b"])
def test_dot_names_are_refused(store, path):
    store.ctl("mkdir", "a")
    store.refuses(FAILED, "put", "-p", path, input=b"value")
    store.refuses(FAILED, "mkdir", path)


def test_at_is_reserved_at_the_root_only(store):
    store.refuses(FAILED, "put", "@previous", input=b"value")
    store.refuses(FAILED, "mkdir", "-p", "@pending/x")
    store.put("a/@b", b"value", "-p")
    store.refuses(FAILED, "mv", "a/@b", "@b")
    assert store.get("a/@b") == b"value"


def test_an_empty_path_is_no_place_for_a_secret(store):
    store.refuses(USAGE, "put", "", input=b"value")
    for path in ("/", "//"):
        store.refuses(FAILED, "put", path, input=b"value")


def test_depth_32_and_no_more(store):
    deepest = "/".join(["d"] * 31 + ["secret"])
    store.put(deepest, b"value", "-p")
    assert store.get(deepest) == b"value"
    store.refuses(FAILED, "put", "/".join(["e"] * 32 + ["secret"]), "-p", input=b"value")
    store.refuses(NOT_FOUND, "show", "e"), "a refused put makes no parents"
    store.refuses(FAILED, "mkdir", "-p", "/".join(["e"] * 33))
    store.ctl("mkdir", "top")
    store.refuses(FAILED, "mv", "d", "top/d")
    assert store.get(deepest) == b"value"


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 65536, MIB])
def test_values_up_to_a_mebibyte(store, size):
    value = os.urandom(size)
    store.put("a", value)
    assert store.get("a") == value


def test_a_byte_more_is_refused_from_standard_input_and_file(store, folder):
    (folder / "big").write_bytes(b"x" * (MIB + 1))
    for options, stdin in (((), b"x" * (MIB + 1)), (("--file", folder / "big"), b"")):
        line = store.refuses(FAILED, "put", "a", *options, input=stdin)
        assert "1 MiB" in line or "1048576" in line, "it says what the limit is"
    store.refuses(NOT_FOUND, "get", "a")


def test_an_endless_value_is_refused(store):
    with open("/dev/zero", "rb") as endless:
        store.refuses(FAILED, "put", "a", stdin=endless)


def test_descriptions(store):
    store.put("a", b"value", "--description", "é" * 512)
    assert store.json("show", "a")["description"] == "é" * 512
    store.put("a", b"value", "--description", "")
    assert store.json("show", "a").get("description", "") == ""
    store.refuses(FAILED, "put", "a", "--description", "x" * 1025, input=b"other")
    store.refuses(FAILED, "put", "a", "--description", "two\nlines", input=b"other")
    assert store.get("a") == b"value", "nothing of a refused put is kept"


def test_64_named_acl_entries_and_no_more(store):
    spec = ",".join(f"u:{uid}:r" for uid in range(1000, 1064))
    store.put("a", b"value", "--acl", spec)
    store.refuses(FAILED, "setfacl", "-m", "g:1:r", "a")
