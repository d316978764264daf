"""secretctl at a terminal: prompts without echo, and bytes as they are."""

import os
import pty
import re
import select
import time

from harness import FAILED, SECRETCTL, fill, one_line, run

VALUE = b"typed canary value"


class Terminal:
    """A program whose controlling terminal is ours."""

    def __init__(self, argv):
        self.output = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execv(argv[0], [str(arg) for arg in argv])

    def read_until(self, done, timeout=30):
        deadline = time.monotonic() + timeout
        while not done(self.output):
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"the terminal shows only {self.output!r}"
            try:
                data = os.read(self.master, 4096)
            except OSError:  # the terminal's other side is closed
                data = b""
            if not data:
                return
            self.output += data

    def answer(self, line, prompts):
        """Wait for the n-th prompt, then type a line."""
        self.read_until(lambda output: output.count(b": ") >= prompts)
        os.write(self.master, line + b"\n")

    def status(self):
        self.read_until(lambda _: False)
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_put_prompts_without_echo(store):
    terminal = Terminal(store.argv("put", "a"))
    terminal.answer(VALUE, prompts=1)
    terminal.answer(VALUE, prompts=2)
    assert terminal.status() == 0
    assert VALUE not in terminal.output
    assert store.get("a") == VALUE


def test_a_mistyped_repetition_changes_nothing(store):
    store.put("a", b"old")
    terminal = Terminal(store.argv("put", "a"))
    terminal.answer(VALUE, prompts=1)
    terminal.answer(b"something else", prompts=2)
    assert terminal.status() == FAILED
    assert VALUE not in terminal.output
    assert store.get("a") == b"old"


def test_init_and_unlock_prompt_for_the_passphrase(folder):
    store = [SECRETCTL, "--store", folder / "store.db"]
    terminal = Terminal([*store, "init", "--passphrase"])
    terminal.answer(VALUE, prompts=1)
    terminal.answer(VALUE, prompts=2)
    assert terminal.status() == 0
    assert VALUE not in terminal.output

    terminal = Terminal([*store, "ls", "--json"])
    terminal.answer(VALUE, prompts=1)
    assert terminal.status() == 0
    assert VALUE not in terminal.output
    assert b"[]" in terminal.output


def test_a_new_passphrase_is_asked_for_twice(store):
    for answers, status in (((VALUE, b"another"), FAILED), ((b"", b""), FAILED), ((VALUE,) * 2, 0)):
        terminal = Terminal(store.argv("key", "add", "--new-passphrase"))
        for number, answer in enumerate(answers, 1):
            terminal.answer(answer, prompts=number)
        assert terminal.status() == status
        assert VALUE not in terminal.output
    assert [slot["kind"] for slot in store.json("key", "ls")] == ["keyfile", "passphrase"]
    store.key.unlink()
    hide = 'mount -t tmpfs none /etc/secretfs 2>/dev/null; exec "$@"'  # the default store's key
    ls = [SECRETCTL, "--store", store.path, "ls"]
    terminal = Terminal(["/usr/bin/unshare", "--mount", "sh", "-c", hide, "sh", *ls])
    terminal.answer(VALUE, prompts=1)
    assert terminal.status() == 0


def test_long_work_tells_how_far_it_is_and_leaves_nothing(store):
    secrets = 30_000  # takes a second or more
    fill(store, secrets)
    terminal = Terminal(store.argv("key", "rekey"))
    assert terminal.status() == 0
    drawn, _, rest = terminal.output.rpartition(b"\r\x1b[K")
    line = re.search(rb"\rrekeying \[#*\.*\] +\d+%, \d+ of (\d+) rows, \d+/s, \d+:\d\d left\x1b\[K", drawn)
    assert line, terminal.output
    assert int(line[1]) == secrets + 1  # and the root
    assert rest.startswith(b"Everything is encrypted under a new root key"), rest

    terminal = Terminal(store.argv("key", "rekey", "--json"))
    assert terminal.status() == 0
    assert b"rekeying" not in terminal.output
    assert b"rekeying" not in run(store.argv("key", "rekey")).stderr


def test_get_adds_nothing_at_a_terminal(store):
    store.put("a", VALUE)
    terminal = Terminal(store.argv("get", "a"))
    assert terminal.status() == 0
    assert terminal.output == VALUE


def test_get_into_a_full_device_fails(store):
    store.put("a", VALUE)
    with open("/dev/full", "wb") as full:
        done = run(store.argv("get", "a"), status=FAILED, stdout=full)
    assert "No space left" in one_line(done.stderr, "secretctl")


def test_get_without_a_standard_output_fails_and_harms_nothing(store):
    store.put("a", VALUE)
    before = store.path.read_bytes()
    done = run(["bash", "-c", 'exec "$@" >&-', "bash", *store.argv("get", "a")], status=FAILED)
    one_line(done.stderr, "secretctl")
    assert store.path.read_bytes() == before
    store.ctl("check")


def test_every_standard_descriptor_closed_harms_nothing(store):
    store.put("a", VALUE)
    run(["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", *store.argv("get", "a")], status=FAILED)
    store.ctl("check")
    assert store.get("a") == VALUE
