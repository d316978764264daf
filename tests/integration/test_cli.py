"""secretctl: every command with its options, exit statuses and one-line errors."""

import re
import uuid

import pytest

from harness import FAILED, NOT_FOUND, USAGE, VERSION_MISMATCH, one_line, run, SECRETCTL

SECRET = b"canary-value-0451"


def names(store, *args):
    return store.ctl("ls", *args).decode().split()


# ---- put and get


def test_put_then_get_gives_the_same_bytes(store):
    value = bytes(range(256)) * 3 + b"\n\n"
    store.put("blob", value)
    assert store.get("blob") == value
    assert store.get("/blob") == value, "a leading slash is accepted"


def test_put_reads_a_file(store, folder):
    (folder / "source").write_bytes(SECRET)
    store.ctl("put", "a", "--file", folder / "source")
    assert store.get("a") == SECRET


def test_put_of_a_missing_file_is_one_clear_line(store, folder):
    line = store.refuses(FAILED, "put", "a", "--file", folder / "nothing")
    assert "nothing" in line and "No such file" in line
    store.refuses(NOT_FOUND, "get", "a")


def test_a_value_as_an_argument_is_a_usage_error(store):
    line = store.refuses(USAGE, "put", "a", SECRET.decode())
    assert SECRET.decode() not in line
    store.refuses(NOT_FOUND, "get", "a")


def test_put_takes_one_source_only(store, folder):
    (folder / "source").write_bytes(SECRET)
    store.refuses(USAGE, "put", "a", "--file", folder / "source", "--generate", "hex:8")


def test_put_makes_parents_only_when_asked(store):
    line = store.refuses(NOT_FOUND, "put", "a/b/c", input=SECRET)
    assert SECRET.decode() not in line
    store.put("a/b/c", SECRET, "-p")
    assert store.get("a/b/c") == SECRET


def test_put_sets_the_policy_of_a_new_secret(store):
    store.put("a", SECRET, "--owner", "1234", "--group", "2345", "--mode", "0440")
    shown = store.json("show", "a")
    assert (shown["uid"], shown["gid"], shown["mode"]) == (1234, 2345, "0440")


def test_put_takes_owners_by_name(store):
    store.put("a", SECRET, "--owner", "nobody", "--group", "daemon")
    shown = store.json("show", "a")
    assert (shown["owner"], shown["group"]) == ("nobody", "daemon")
    assert (shown["uid"], shown["gid"]) == (65534, 1)


def test_put_refuses_unknown_owners_and_modes(store):
    for option, word in (
        ("--owner", "no-such-user"),
        ("--group", "no-such-group"),
        ("--mode", "9999"),
        ("--acl", "u:no-such-user:r"),
        ("--acl", "nonsense"),
    ):
        line = run(store.argv("put", "a", option, word), status=USAGE, input=SECRET).stderr
        assert word in one_line(line, "secretctl")
    store.refuses(NOT_FOUND, "show", "a")


def test_new_nodes_have_the_documented_defaults(store):
    store.put("dir/a", SECRET, "-p")
    secret, directory = store.json("show", "dir/a"), store.json("show", "dir")
    assert (secret["uid"], secret["gid"], secret["mode"]) == (0, 0, "0400")
    assert (directory["uid"], directory["gid"], directory["mode"]) == (0, 0, "0755")


def test_put_of_an_existing_secret_keeps_what_it_is_not_told(store):
    store.put("a", SECRET, "--owner", "1234", "--mode", "0440", "--description", "the words")
    store.put("a", b"another")
    shown = store.json("show", "a")
    assert (shown["uid"], shown["mode"], shown["description"]) == (1234, "0440", "the words")


def test_an_unchanged_value_makes_no_new_version_unless_forced(store):
    store.put("a", SECRET)
    store.put("a", SECRET)
    assert store.json("show", "a")["version"] == 1
    store.put("a", SECRET, "--force")
    assert store.json("show", "a")["version"] == 2
    assert store.get("a") == SECRET


def test_an_unchanged_value_still_takes_a_new_policy(store):
    store.put("a", SECRET)
    store.put("a", SECRET, "--mode", "0444")
    shown = store.json("show", "a")
    assert (shown["version"], shown["mode"]) == (1, "0444")


def test_put_with_if_version(store):
    store.refuses(VERSION_MISMATCH, "put", "a", "--if-version", "1", input=SECRET)
    store.put("a", SECRET, "--if-version", "0")
    line = store.refuses(VERSION_MISMATCH, "put", "a", "--if-version", "0", input=b"other")
    assert "version" in line
    store.put("a", b"second", "--if-version", "1")
    store.refuses(VERSION_MISMATCH, "put", "a", "--if-version", "1", input=b"other")
    assert store.get("a") == b"second"


def test_put_onto_a_directory_is_refused(store):
    store.ctl("mkdir", "dir")
    store.refuses(FAILED, "put", "dir", input=SECRET)


def test_get_of_versions_and_labels(store):
    for value in (b"one", b"two", b"three"):
        store.put("a", value)
    assert store.get("a", "--version", "1") == b"one"
    assert store.get("a", "--label", "current") == b"three"
    assert store.get("a", "--label", "previous") == b"two"
    store.refuses(NOT_FOUND, "get", "a", "--version", "9")


def test_get_refuses_what_is_no_secret(store):
    store.ctl("mkdir", "dir")
    store.refuses(FAILED, "get", "dir")
    store.refuses(NOT_FOUND, "get", "nothing")


GENERATED = {
    "password:24": r"[!-~]{24}",
    "alnum:20": r"[A-Za-z0-9]{20}",
    "digits:6": r"[0-9]{6}",
    "hex:32": r"[0-9a-f]{32}",
    "base64:32": r"[A-Za-z0-9+/]{43}=",
    "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}


@pytest.mark.parametrize("spec", GENERATED)
def test_generated_values(store, spec):
    values = []
    for name in ("a", "b"):
        assert not re.search(GENERATED[spec].encode(), store.ctl("put", name, "--generate", spec))
        values.append(store.get(name).decode())
        assert re.fullmatch(GENERATED[spec], values[-1]), spec
    assert values[0] != values[1]


def test_a_generated_uuid_is_of_version_4(store):
    store.ctl("put", "a", "--generate", "uuid")
    made = uuid.UUID(store.get("a").decode())
    assert (made.version, made.variant) == (4, uuid.RFC_4122)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "password",
        "password:",
        "password:0",
        "hex:-1",
        "hex:x",
        "words:3",
        "uuid:4",
        "digits:99999999",
    ],
)
def test_a_wrong_generate_spec_is_refused(store, spec):
    store.refuses(USAGE, "put", "a", "--generate", spec)
    store.refuses(NOT_FOUND, "get", "a")


# ---- the tree


def test_ls_lists_one_folder(store):
    for path in ("b", "a", "dir/inside"):
        store.put(path, SECRET, "-p")
    assert names(store) == ["a", "b", "dir"]
    assert names(store, "dir") == ["inside"]
    assert names(store, "a") == ["a"]
    assert SECRET not in store.ctl("ls", "-lR")


def test_ls_long_shows_mode_owner_size_and_version(store):
    store.put("a", SECRET, "--owner", "nobody", "--group", "daemon", "--mode", "0440")
    store.put("a", SECRET + b"!")
    line = store.ctl("ls", "-l").decode()
    for word in ("-r--r-----", "nobody", "daemon", str(len(SECRET) + 1), "a"):
        assert word in line.split(), line


def test_ls_recursive_shows_every_path(store):
    for path in ("dir/sub/deep", "dir/near", "top"):
        store.put(path, SECRET, "-p")
    listed = store.ctl("ls", "-R").decode()
    for path in ("dir/sub/deep", "dir/near", "top"):
        assert path in listed
    found = {entry["path"]: entry["type"] for entry in store.json("ls", "-R")}
    assert found == {
        "dir": "directory",
        "dir/near": "secret",
        "dir/sub": "directory",
        "dir/sub/deep": "secret",
        "top": "secret",
    }


def test_ls_of_nothing(store):
    assert store.ctl("ls") == b""
    assert store.json("ls") == []
    store.refuses(NOT_FOUND, "ls", "nothing")


def test_mkdir(store):
    store.ctl("mkdir", "a")
    store.refuses(FAILED, "mkdir", "a")
    store.refuses(NOT_FOUND, "mkdir", "b/c")
    store.ctl("mkdir", "-p", "b/c/d")
    store.ctl("mkdir", "-p", "b/c/d")
    assert names(store, "b/c") == ["d"]


def test_mkdir_below_a_secret_is_refused(store):
    store.put("a", SECRET)
    store.refuses(FAILED, "mkdir", "a/b")
    store.refuses(FAILED, "mkdir", "-p", "a/b/c")


def test_mv_renames(store):
    store.put("a", SECRET)
    store.ctl("mv", "a", "b")
    assert names(store) == ["b"]
    assert store.get("b") == SECRET
    store.refuses(NOT_FOUND, "mv", "a", "c")


def test_mv_into_a_directory_keeps_the_name(store):
    store.put("a", SECRET)
    store.ctl("mkdir", "dir")
    store.ctl("mv", "a", "dir")
    assert store.get("dir/a") == SECRET


def test_mv_never_replaces(store):
    store.put("a", b"one")
    store.put("b", b"two")
    store.refuses(FAILED, "mv", "a", "b")
    assert (store.get("a"), store.get("b")) == (b"one", b"two")


def test_mv_of_a_directory_takes_what_is_in_it(store):
    store.put("dir/sub/a", SECRET, "-p")
    store.ctl("mv", "dir", "other")
    assert store.get("other/sub/a") == SECRET
    store.refuses(FAILED, "mv", "other", "other/sub")
    store.refuses(FAILED, "mv", "/", "other/sub")
    assert store.get("other/sub/a") == SECRET


# ---- versions


def test_versions_and_rollback(store):
    for value in (b"one", b"two", b"three"):
        store.put("a", value)
    listed = store.json("versions", "a")
    assert [(one["version"], one["size"], one["label"]) for one in listed] == [
        (3, 5, "current"),
        (2, 3, "previous"),
        (1, 3, None),
    ]

    store.ctl("rollback", "a")
    assert store.get("a") == b"two"
    assert store.json("show", "a")["version"] == 2
    store.ctl("rollback", "a", "--to", "1")
    assert store.get("a") == b"one"
    store.refuses(NOT_FOUND, "rollback", "a", "--to", "7")


def test_version_numbers_never_come_back(store):
    store.put("a", b"one")
    store.put("a", b"two")
    store.ctl("rollback", "a")
    store.put("a", b"three")
    assert store.json("show", "a")["version"] == 3


def test_rollback_without_a_previous_version_is_refused(store):
    store.put("a", SECRET)
    line = run(store.argv("rollback", "a"), status=NOT_FOUND).stderr
    assert "version" in one_line(line, "secretctl")
    assert store.get("a") == SECRET


# ---- rm, restore, purge


def test_rm_and_restore(store):
    store.put("dir/a", b"one", "-p", "--owner", "1234")
    store.put("dir/a", b"two")
    store.ctl("rm", "dir/a")
    store.refuses(NOT_FOUND, "get", "dir/a")
    assert names(store, "dir") == []
    assert "dir/a" in store.ctl("ls", "--deleted").decode()
    assert [entry["path"] for entry in store.json("ls", "--deleted")] == ["dir/a"]

    store.ctl("restore", "dir/a")
    assert store.get("dir/a") == b"two"
    assert store.get("dir/a", "--version", "1") == b"one"
    assert store.json("show", "dir/a")["uid"] == 1234
    assert store.ctl("ls", "--deleted") == b""


def test_restore_needs_the_place_to_be_free(store):
    store.put("a", b"old")
    store.ctl("rm", "a")
    store.put("a", b"new")
    store.refuses(FAILED, "restore", "a")
    assert store.get("a") == b"new"


def test_rm_refuses_a_folder_with_entries(store):
    store.put("dir/a", SECRET, "-p")
    line = store.refuses(FAILED, "rm", "dir")
    assert "empty" in line
    store.ctl("rm", "dir/a")
    store.ctl("rm", "dir")
    assert names(store) == []


def test_rm_of_nothing_and_of_the_root(store):
    store.refuses(NOT_FOUND, "rm", "nothing")
    store.refuses(FAILED, "rm", "/")


def test_purge_works_on_removed_ones_only(store):
    store.put("a", SECRET)
    store.refuses(FAILED, "purge", "a")
    store.ctl("rm", "a")
    store.ctl("purge", "a")
    store.refuses(NOT_FOUND, "restore", "a")
    store.refuses(NOT_FOUND, "purge", "a")
    assert store.ctl("ls", "--deleted") == b""
    store.ctl("check")


def test_purge_makes_the_store_forget_the_value(store):
    store.put("keep", b"x" * 5000)
    before = store.json("status")
    store.put("a", b"y" * 5000)
    store.ctl("rm", "a")
    store.ctl("purge", "a")
    after = store.json("status")
    for field in ("secrets", "versions", "deleted", "value_bytes"):
        assert after[field] == before[field], field


# ---- policy


def test_chown(store):
    store.put("a", SECRET)
    store.ctl("chown", "1234", "a")
    assert (store.json("show", "a")["uid"], store.json("show", "a")["gid"]) == (1234, 0)
    store.ctl("chown", "nobody:daemon", "a")
    assert (store.json("show", "a")["owner"], store.json("show", "a")["group"]) == (
        "nobody",
        "daemon",
    )
    store.ctl("chown", ":0", "a")
    assert (store.json("show", "a")["owner"], store.json("show", "a")["gid"]) == ("nobody", 0)
    store.refuses(USAGE, "chown", "no-such-user", "a")
    store.refuses(NOT_FOUND, "chown", "0", "nothing")


@pytest.mark.parametrize(
    "mode, result",
    [
        ("0640", "0640"),
        ("444", "0444"),
        ("u+w", "0640"),
        ("go-rwx", "0400"),
        ("g=u,o=", "0440"),
        ("a+r", "0444"),
        ("o=r", "0444"),
        ("+x", "0551"),
        ("u=rw,g=r,o-r", "0640"),
    ],
)
def test_chmod_octal_and_symbolic(store, mode, result):
    store.put("a", SECRET, "--mode", "0440")
    store.ctl("chmod", mode, "a")
    assert store.json("show", "a")["mode"] == result


@pytest.mark.parametrize("mode", ["", "8", "1777", "4755", "u+z", "rw", "u+s", "01000"])
def test_chmod_refuses_other_modes(store, mode):
    store.put("a", SECRET)
    store.refuses(USAGE, "chmod", "--", mode, "a")
    assert store.json("show", "a")["mode"] == "0400"


def test_chmod_and_chown_of_directories(store):
    store.ctl("mkdir", "dir")
    store.ctl("chmod", "0710", "dir")
    store.ctl("chown", "1:2", "dir")
    shown = store.json("show", "dir")
    assert (shown["mode"], shown["uid"], shown["gid"]) == ("0710", 1, 2)


def acl(store, path):
    lines = store.ctl("getfacl", path).decode().splitlines()
    return [line.split("\t")[0] for line in lines if line and not line.startswith("#")]


def test_setfacl_as_setfacl_would(store):
    store.put("a", SECRET, "--mode", "0440")
    store.ctl("setfacl", "-m", "u:nobody:r,g:daemon:rw", "a")
    assert acl(store, "a") == [
        "user::r--",
        "user:nobody:r--",
        "group::r--",
        "group:daemon:rw-",
        "mask::rw-",
        "other::---",
    ]
    store.ctl("setfacl", "-m", "m::r", "a")
    assert "mask::r--" in acl(store, "a")
    store.ctl("setfacl", "-x", "u:nobody", "a")
    assert "user:nobody:r--" not in acl(store, "a")
    store.ctl("setfacl", "-b", "a")
    assert acl(store, "a") == ["user::r--", "group::r--", "other::---"]


def test_put_with_an_acl(store):
    store.put("a", SECRET, "--acl", "u:1234:r,g:2345:r")
    assert {"user:1234:r--", "group:2345:r--", "mask::r--"} <= set(acl(store, "a"))


def test_setfacl_refuses_nonsense(store):
    store.put("a", SECRET)
    for spec in ("u:no-such-user:r", "u:1:q", "x:1:r", "u:1", ""):
        store.refuses(USAGE, "setfacl", "-m", spec, "a")
    store.refuses(USAGE, "setfacl", "a")
    store.ctl("setfacl", "-x", "u:4321", "a")  # removing what is not there is no error there either
    store.refuses(NOT_FOUND, "setfacl", "-b", "nothing")
    assert acl(store, "a") == ["user::r--", "group::---", "other::---"]


def test_chmod_of_a_secret_with_an_acl_changes_the_mask(store):
    store.put("a", SECRET, "--mode", "0400", "--acl", "u:1234:rw")
    store.ctl("chmod", "0440", "a")
    entries = acl(store, "a")
    assert {"user:1234:rw-", "group::---", "mask::r--"} <= set(entries)


# ---- asking


def test_show_tells_everything_but_the_value(store):
    store.put(
        "dir/a", SECRET, "-p", "--description", "the database's", "--owner", "1", "--mode", "0640"
    )
    text = store.ctl("show", "dir/a")
    assert SECRET not in text
    shown = store.json("show", "dir/a")
    assert shown["path"] == "dir/a"
    assert shown["type"] == "secret"
    assert shown["description"] == "the database's"
    assert (shown["uid"], shown["gid"], shown["mode"]) == (1, 0, "0640")
    assert (shown["version"], shown["size"]) == (1, len(SECRET))
    for field in ("created", "changed"):
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", shown[field]), field
    store.refuses(NOT_FOUND, "show", "nothing")


def test_status_counts(store):
    store.put("dir/a", b"12345", "-p")
    store.put("dir/a", b"1234567")
    store.put("gone", b"x")
    store.ctl("rm", "gone")
    status = store.json("status")
    assert (status["secrets"], status["directories"], status["deleted"]) == (1, 2, 1)
    assert status["value_bytes"] == 12
    assert status["format"] == 1
    assert uuid.UUID(status["uuid"])
    generation = status["generation"]
    store.put("dir/a", b"third")
    assert store.json("status")["generation"] == generation + 1
    assert str(store.path) in store.ctl("status").decode()


def test_check_says_what_it_verified(store):
    store.put("a", SECRET)
    assert b"ok" in store.ctl("check")
    assert store.json("check") == {
        "ok": True,
        "secrets": 1,
        "directories": 1,
        "deleted": 0,
        "versions": 1,
        "key_slots": 1,
        "generation": 2,
    }


def test_the_store_and_key_may_come_from_the_environment(store):
    store.put("a", SECRET)
    variables = {"SECRETFS_STORE": str(store.path), "SECRETFS_KEY_FILE": str(store.key)}
    assert run([SECRETCTL, "get", "a"], env=variables).stdout == SECRET


# ---- help and usage

COMMANDS = [
    "init",
    "put",
    "get",
    "ls",
    "show",
    "versions",
    "readers",
    "rollback",
    "label",
    "revoke",
    "expire",
    "rotation",
    "rotate",
    "mkdir",
    "mv",
    "rm",
    "restore",
    "purge",
    "chown",
    "chmod",
    "setfacl",
    "getfacl",
    "allow",
    "disallow",
    "key",
    "identity",
    "check",
    "backup",
    "status",
    "upgrade",
    "help",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = run([SECRETCTL, command, "--help"])
    assert command in done.stdout.decode() and done.stderr == b""
    assert command in run([SECRETCTL, "--help"]).stdout.decode()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_a_usage_error(store, command):
    line = store.refuses(USAGE, command, "--no-such-option")
    assert "no-such-option" in line


@pytest.mark.parametrize(
    "command",
    [
        c
        for c in COMMANDS
        if c not in ("init", "ls", "purge", "check", "status", "upgrade", "help")
    ],
)
def test_a_missing_path_is_a_usage_error(store, command):
    store.refuses(USAGE, command)


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["--no-such-option"], ["--store"]])
def test_wrong_words_before_the_command_are_usage_errors(words):
    one_line(run([SECRETCTL, *words], status=USAGE).stderr, "secretctl")


@pytest.mark.parametrize(
    "words",
    [["get", "a", "b"], ["mv", "a", "b", "c"], ["ls", "a", "b"], ["status", "x"], ["init", "x"]],
)
def test_too_many_words_are_usage_errors(store, words):
    store.refuses(USAGE, *words)
