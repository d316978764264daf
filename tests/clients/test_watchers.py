"""Observers of applications on the mounted folder: Python's watchdog by inotify, Node's fs.watch."""

import json
import shutil
import subprocess
import threading

import pytest
from watchdog.events import FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver

from harness import end, eventually, spawn

NODE = r"""
const fs = require("fs"), path = require("path");
const folder = process.argv[1];
const tell = (words) => process.stdout.write(JSON.stringify(words) + "\n");
fs.watch(folder, (kind, name) => {
    let value = null;
    try { value = fs.readFileSync(path.join(folder, name), "utf8"); } catch (error) {}
    tell([kind, name, value]);
});
tell(["ready"]);
"""


@pytest.fixture
def served(store, mount):
    store.put("dir/a", b"one", "-p")
    return mount().path / "dir"


class Collector(FileSystemEventHandler):
    """The events of names: (kind, name, value that an open gives then)."""

    def __init__(self):
        self.events = []
        self.lock = threading.Lock()

    def on_any_event(self, event):
        if event.is_directory or event.event_type in ("opened", "closed"):
            return
        path = event.dest_path if event.event_type == "moved" else event.src_path
        try:
            with open(path, "rb") as file:
                value = file.read()
        except FileNotFoundError:
            value = None
        with self.lock:
            self.events.append((event.event_type, path.rpartition("/")[2], value))

    def next(self, count):
        """Exactly that many, and a moment without more."""
        eventually(lambda: len(self.events) >= count)
        threading.Event().wait(0.7)  # watchdog holds half of a move back for 0.5 s
        with self.lock:
            events, self.events = self.events, []
        return events


def test_watchdog_hears_of_each_change(store, served):
    collector, observer = Collector(), InotifyObserver()
    observer.schedule(collector, str(served))
    observer.start()
    try:
        store.put("dir/a", b"two")
        assert collector.next(1) == [("created", "a", b"two")], "moved to, from outside of what it watches"
        store.put("dir/new", b"first")
        assert collector.next(1) == [("created", "new", b"first")]
        store.ctl("rm", "dir/a")
        assert collector.next(1) == [("deleted", "a", None)]
        store.ctl("restore", "dir/a")
        assert collector.next(1) == [("created", "a", b"two")]
        store.ctl("chmod", "0444", "dir/new")
        assert [event for event in collector.next(0) if event[0] != "modified"] == []
    finally:
        observer.stop()
        observer.join()


def test_node_hears_of_each_change(store, served, folder):
    output = folder / "node.out"
    with open(output, "wb") as out:
        node = spawn([shutil.which("node"), "-e", NODE, served], stdout=out, stdin=subprocess.DEVNULL)

    def told(count):
        lines = [json.loads(line) for line in output.read_text().splitlines()]
        return len(lines) >= count and lines

    try:
        expected = [["ready"]]
        eventually(lambda: told(1))
        changes = [
            (lambda: store.put("dir/a", b"two"), ["rename", "a", "two"]),
            (lambda: store.put("dir/new", b"first"), ["rename", "new", "first"]),
            (lambda: store.ctl("rm", "dir/a"), ["rename", "a", None]),
            (lambda: store.ctl("restore", "dir/a"), ["rename", "a", "two"]),
        ]
        for change, event in changes:
            change()
            expected.append(event)
            eventually(lambda: told(len(expected)))
            threading.Event().wait(0.2)
            assert told(0) == expected
    finally:
        node.terminate()
        end(node)
