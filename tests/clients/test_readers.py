"""Programs that know nothing of secretfs read a secret, byte for byte, as a plain user."""

import os
import shlex

import pytest

from harness import eventually, identity, run

READER, OTHER = 20001, 20002
BINARY = bytes(range(256)) * 300 + b"\0end without a newline"


def python(code):
    return f'python3 -c {shlex.quote("import mmap, os, shutil, sys; " + code)} "$1" "$2"'


def node(code):
    return (
        f'node -e {shlex.quote("const fs = require(`fs`), path = process.argv[1]; " + code)} "$1"'
    )


# Commands that write the value of $1 to standard output; each by another way of reading.
TO_STDOUT = {
    "cat": 'cat "$1"',
    "standard input": 'cat < "$1"',
    "head": 'head -c 1000000 "$1"',
    "tail": 'tail -c +1 "$1"',
    "dd": 'dd if="$1" bs=1000 status=none',
    "dd iflag=direct": 'dd if="$1" bs=4096 iflag=direct status=none',
    "cp": 'cp "$1" "$2" && cat "$2"',
    "cp -a": 'cp -a "$1" "$2" && cat "$2"',
    "cp --sparse": 'cp --reflink=auto --sparse=always "$1" "$2" && cat "$2"',
    "install": 'install -m 0600 "$1" "$2" && cat "$2"',
    "tar": 'cd "${1%/*}" && tar -cf - "${1##*/}" | tar -xOf -',
    "tar --acls": 'cd "${1%/*}" && tar --acls --xattrs -cf - "${1##*/}" | tar -xOf -',
    "gzip": 'gzip -c "$1" | gzip -dc',
    "openssl": 'openssl enc -base64 -in "$1" | openssl enc -d -base64',
    "perl": "perl -0777 -ne 'binmode STDOUT; print' \"$1\"",
    "python read": python("sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"),
    "python mmap": python(
        "file = open(sys.argv[1], 'rb'); "
        "sys.stdout.buffer.write(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))"
    ),
    "python sendfile": python("shutil.copyfile(*sys.argv[1:])") + ' && cat "$2"',
    "node readFileSync": node("process.stdout.write(fs.readFileSync(path))"),
    "node promises": node("fs.promises.readFile(path).then(data => process.stdout.write(data))"),
    "node stream": node("fs.createReadStream(path).pipe(process.stdout)"),
}


@pytest.fixture
def home(folder):
    """Where the reader may write."""
    path = folder / "home"
    path.mkdir(mode=0o700)
    os.chown(path, READER, READER)
    return path


def shell(script, *args, user=READER, status=0):
    """What a script of bash does as a user; the finished run."""
    argv = ["bash", "-euo", "pipefail", "-c", script, "bash", *args]
    variables = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    return run(argv, status=status, env=variables, cwd="/", **identity(user))


def output(script, *args):
    return shell(script, *args).stdout


@pytest.mark.parametrize("client", TO_STDOUT)
def test_a_client_reads_the_bytes_and_then_the_rotated_ones(store, mount, home, client):
    store.put("dir/secret", BINARY, "-p", "--owner", "20001", "--mode", "0400")
    path = mount().path / "dir/secret"
    assert output(TO_STDOUT[client], path, home / "copy") == BINARY
    rotated = b"rotated\0" * 20000
    store.put("dir/secret", rotated)
    eventually(lambda: path.read_bytes() == rotated)
    (home / "copy").unlink(missing_ok=True)
    assert output(TO_STDOUT[client], path, home / "copy") == rotated


@pytest.mark.parametrize("client", ["cat", "tar", "python read", "node stream"])
def test_a_client_of_another_user_is_refused(store, mount, home, client):
    store.put("secret", BINARY, "--owner", "20001", "--mode", "0400")
    path = mount().path / "secret"
    done = shell(TO_STDOUT[client], path, home / "copy", user=OTHER, status=None)
    assert done.returncode != 0 and BINARY[:256] not in done.stdout
    assert b"ermission denied" in done.stderr


def test_bash_reads_a_text_by_redirection(store, mount):
    store.put("token", b"s3cr3t $text\nof two lines\n", "--owner", "20001")
    path = mount().path / "token"
    assert (
        output('value=$(< "$1"); printf "[%s]" "$value"', path) == b"[s3cr3t $text\nof two lines]"
    )
    assert output('mapfile -t lines < "$1"; echo "${#lines[@]}"', path) == b"2\n"
    assert output('read -r first < "$1"; printf "%s" "$first"', path) == b"s3cr3t $text"
    assert output('source "$1"', _script(store, path.parent)) == b"sourced\n"


def _script(store, root):
    store.put("script", b"echo sourced\n", "--owner", "20001")
    return eventually((root / "script").exists) and root / "script"


def test_cp_and_tar_keep_mode_and_size(store, mount, folder):
    store.put(
        "dir/secret", BINARY, "-p", "--owner", "20001", "--mode", "0440", "--acl", "u:20002:r"
    )
    root = mount().path
    run(["cp", "-a", root / "dir", folder / "copy"])
    run(["tar", "--acls", "-C", root, "-cf", folder / "archive.tar", "dir"])
    (folder / "unpacked").mkdir()
    run(["tar", "--acls", "-C", folder / "unpacked", "-xpf", folder / "archive.tar"])
    acl = run(["getfacl", "-n", "--omit-header", "-p", root / "dir/secret"]).stdout
    for path in (folder / "copy/secret", folder / "unpacked/dir/secret"):
        status = path.stat()
        assert (status.st_uid, status.st_size) == (20001, len(BINARY))
        assert run(["getfacl", "-n", "--omit-header", "-p", path]).stdout == acl
    run(["diff", "-r", root / "dir", folder / "copy"])


def test_dotenv_loads_its_file(store, mount):
    store.put("app/.env", b'DB_USER=app\nDB_PASSWORD="p#ss w$rd"\n', "-p", "--owner", "20001")
    path = mount().path / "app/.env"
    script = (
        "import os, sys; from dotenv import load_dotenv; assert load_dotenv(sys.argv[1]); "
        "print(os.environ['DB_USER'], os.environ['DB_PASSWORD'])"
    )
    assert output('/usr/bin/python3 -c "$2" "$1"', path, script) == b"app p#ss w$rd\n"


def test_curl_reads_its_config_from_the_mount(store, mount, folder):
    (folder / "page").write_bytes(b"fetched")
    store.put("curlrc", f'url = "file://{folder}/page"\n'.encode(), "--owner", "20001")
    path = mount().path / "curlrc"
    assert output('curl -s -K "$1"', path) == b"fetched"


def test_grep_and_find_walk_the_tree(store, mount):
    store.put("one/a", b"needle\n", "-p", "--mode", "0444")
    store.put("two/b", b"hay\n", "-p", "--mode", "0444")
    root = mount().path
    assert output('cd "$1" && grep -rl needle .', root) == b"./one/a\n"
    assert output('cd "$1" && find . -type f -size -8c | sort', root) == b"./one/a\n./two/b\n"
    assert b"one/a\n" in output('cd "$1" && du -ab one', root)
