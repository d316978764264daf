"""The code's own order: includes point one way; manual pages, --help and option tables agree."""

import re

import pytest

from harness import ROOT, SECRETCTL, SECRETFS, run

PUBLIC_HEADERS = {
    "store.h", "changes.h", "error.h", "policy.h", "secmem.h", "control.h", "identity.h",
    "credential.h", "rotation.h", "clock.h", "rekey.h", "slots.h", "recipient.h", "anchor.h",
    "program.h", "rules.h", "audit.h", "audit_journal.h", "audit_verify.h", "grow.h", "passing.h", "utf8.h",
}
COMMON = {
    "--store", "--anchor", "--audit", "--audit-journal", "--key-file", "--passphrase-fd", "--identity", "--unlock-command",
}
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)


def sources(*folders):
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.[ch]")]
    assert found, folders
    return found


def includes(path):
    return INCLUDE.findall(path.read_text())


def including(folders, pattern):
    """The files below the folders that include a header matching the pattern."""
    return {
        str(path.relative_to(ROOT))
        for path in sources(*folders)
        for header in includes(path)
        if re.search(pattern, header)
    }


def test_fuse_is_known_below_fs_only():
    assert including(["fs"], r"^fuse")
    assert including(["store", "tools"], r"(^|/)fuse") == set()


def test_sqlite_is_known_to_the_sql_module_only():
    assert including(["store", "fs", "tools"], r"sqlite3") == {"store/db_state.h"}


def test_sodium_is_known_below_store_only():
    assert including(["store"], r"^sodium")
    assert including(["fs", "tools"], r"^sodium") == set()


def test_json_is_known_below_tools_only():
    assert including(["store", "fs"], r"^jansson") == set()


def test_the_store_includes_nothing_of_the_programs():
    assert including(["store"], r"^(fs|tools)/|\.\./") == set()


@pytest.mark.parametrize("program, other", [("fs", "tools"), ("tools", "fs")])
def test_the_programs_see_only_the_public_headers_of_the_store(program, other):
    private = {path.name for path in (ROOT / "store").glob("*.h")} - PUBLIC_HEADERS
    own = {path.name for path in (ROOT / program).glob("*.h")}
    theirs = {path.name for path in (ROOT / other).glob("*.h")} - own - PUBLIC_HEADERS - private
    for path in sources(program):
        for header in includes(path):
            folder, _, name = header.rpartition("/")
            at = f"{path.relative_to(ROOT)} includes {header}"
            assert not (folder == "store" and name not in PUBLIC_HEADERS), at
            assert not (not folder and name in private - own), at
            assert folder != other and not (not folder and name in theirs), at


def test_files_stay_small():
    long = {
        str(path): lines
        for path in sources("store", "fs", "tools")
        if (lines := path.read_text().count("\n")) > 520
    }
    assert long == {}


# ---- what the programs say of themselves


def rendered(page):
    """A manual page as text, without overstrikes and hyphenation."""
    text = run(["mandoc", "-T", "utf8", "-O", "width=1000", ROOT / page]).stdout.decode()
    return re.sub(".\b", "", text)


def sections(text):
    """The lines of a rendered page's section COMMANDS, by the command they describe."""
    found, current = {}, None
    body = re.search(r"^COMMANDS\n(.*?)^[A-Z]", text, re.MULTILINE | re.DOTALL)
    assert body, "the page has a section COMMANDS"
    for line in body.group(1).splitlines():
        heading = re.match(r" {3,5}([a-z]+)\b", line)
        if heading:
            current = heading.group(1)
            found.setdefault(current, "")
        if current:
            found[current] += line + "\n"
    return found


def long_options(text):
    return set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", text)) - {"--help"}


def commands():
    text = run([SECRETCTL, "--help"]).stdout.decode()
    found = re.findall(r"^ {2,4}([a-z]+)\b", text, re.MULTILINE)
    assert {"init", "put", "get", "status"} <= set(found)
    return found


def test_the_manual_page_and_help_name_the_same_commands():
    assert set(sections(rendered("tools/secretctl.1"))) == set(commands())


def test_the_manual_page_and_help_name_the_same_options_for_each_command():
    page = sections(rendered("tools/secretctl.1"))
    for command in commands():
        text = run([SECRETCTL, command, "--help"]).stdout.decode()
        assert long_options(page[command]) - COMMON == long_options(text) - COMMON, command


def test_the_options_before_the_command_are_in_the_manual_page():
    text = run([SECRETCTL, "--help"]).stdout.decode()
    assert COMMON <= long_options(text)
    assert long_options(text) <= long_options(rendered("tools/secretctl.1"))


def mount_options(text):
    """The names at the beginning of lines, such as key_file=FILE or direct_io."""
    return set(re.findall(r"^ {2,5}([a-z_]+)(?:=\S+)?(?:$| {2,})", text, re.MULTILINE))


def test_the_manual_page_and_help_of_the_daemon_name_the_same_mount_options():
    named = mount_options(run([SECRETFS, "--help"]).stdout.decode())
    assert {"key_file", "passphrase_fd", "subdir", "allow_swap", "direct_io", "debug"} <= named
    listed = re.search(
        r"The mount options are:\n(.*?)\n {5}[A-Z]", rendered("fs/secretfs.8"), re.DOTALL
    )
    assert mount_options(listed.group(1)) == named


@pytest.mark.parametrize("page", ["tools/secretctl.1", "fs/secretfs.8"])
def test_the_manual_page_tells_every_exit_status(page):
    body = re.search(r"^EXIT STATUS\n(.*?)^[A-Z]", rendered(page), re.MULTILINE | re.DOTALL)
    assert body
    for status in ("0", "1", "2", "4", "5"):
        assert re.search(rf"^\s+{status}\b", body.group(1), re.MULTILINE), status
