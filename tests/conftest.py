"""Fixtures of all suites, the watchdog against hanging mounts, the hunt for sanitizer reports."""

import faulthandler
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

import harness
from sanitizers import report

TEST_TIMEOUT_S = 300


class Hung(BaseException):
    """Not an Exception, so that no test catches it."""


def pytest_configure(config):
    """Mount the control files of FUSE connections, once for all processes that run tests."""
    config.addinivalue_line("markers", "alone: measures time, so that nothing may run beside it")
    if not hasattr(config, "workerinput") and not os.path.ismount(harness.FUSE_CONNECTIONS):
        subprocess.run(["mount", "-t", "fusectl", "none", harness.FUSE_CONNECTIONS], check=True)
        unmount = ["umount", harness.FUSE_CONNECTIONS]
        config.add_cleanup(lambda: subprocess.run(unmount, check=True))


@pytest.fixture(scope="session", autouse=True)
def machine():
    """Root, and the programs."""
    assert os.geteuid() == 0, "the tests mount and change users: run them as root"
    for program in (harness.SECRETCTL, harness.SECRETFS):
        assert program.exists(), f"{program} is not built; see tests/README.md"
    for variable in (
        "SECRETFS_STORE", "SECRETFS_ANCHOR", "SECRETFS_AUDIT", "SECRETFS_AUDIT_JOURNAL", "SECRETFS_KEY_FILE",
        "SECRETFS_IDENTITY", "CREDENTIALS_DIRECTORY",
    ):
        os.environ.pop(variable, None)
    os.umask(0o022)


def _release_hung_test():
    """Let every blocked call return: abort the test's mounts, kill its programs, interrupt it."""
    faulthandler.dump_traceback()
    for connection in harness.connections:
        abort = harness.FUSE_CONNECTIONS / connection / "abort"
        if abort.exists():
            abort.write_text("1")
    for process in harness.processes:
        process.kill()
    signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)


def _raise_timeout(_signum, _frame):
    raise Hung(f"the test took longer than {TEST_TIMEOUT_S} s")


@pytest.fixture(autouse=True)
def watchdog():
    signal.signal(signal.SIGALRM, _raise_timeout)
    harness.connections.clear()
    harness.processes.clear()
    timer = threading.Timer(TEST_TIMEOUT_S, _release_hung_test)
    timer.start()
    yield
    harness.end_children()
    timer.cancel()


@pytest.fixture(autouse=True)
def sanitizers(watchdog):
    """A report written by any program of the test makes the test fail."""
    folder = os.environ.get("SECRETFS_SANITIZER_LOGS")
    if not folder:
        yield
        return
    before = set(Path(folder).iterdir())
    yield
    reports = [report(path) for path in set(Path(folder).iterdir()) - before]
    assert not any(reports), "\n".join(reports)


@pytest.fixture
def measured(record_property):
    """A function that keeps a line for the end of the report."""
    return lambda line: record_property("measured", line)


def pytest_terminal_summary(terminalreporter):
    lines = [
        f"{test.nodeid.rpartition('::')[2]}: {line}"
        for test in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        if test.when == "call"
        for name, line in test.user_properties
        if name == "measured"
    ]
    if lines:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture
def folder(watchdog):
    path = harness.fresh_folder()
    yield path
    harness.remove_folder(path)


@pytest.fixture(scope="session")
def blank(machine):
    """An empty store, made once: copying it is quicker than `secretctl init`."""
    path = harness.fresh_folder()
    yield harness.Store.fresh(path)
    harness.remove_folder(path)


@pytest.fixture
def store(blank, folder):
    """An empty store with a key file, for the test alone."""
    for source in (blank.path, blank.key):
        shutil.copy2(source, folder)
    return harness.Store(folder)


@pytest.fixture
def mount(store, folder):
    """A function that starts a daemon: mount(options…, of=another store, at=a place)."""
    started = []

    def start(*options, of=store, at=None, **spawning):
        place = at or folder / f"mnt{len(started)}"
        started.append(harness.Mount(of, place, *options, **spawning))
        return started[-1]

    yield start
    errors = []
    for served in reversed(started):
        try:
            served.close()
        except (AssertionError, subprocess.SubprocessError) as error:
            errors.append(error)
    assert not errors, errors


@pytest.fixture
def rotators(folder):
    """The folder of rotators, in an /etc of the test's own; use it before `mount`."""
    etc = folder / "etc"
    etc.mkdir()
    with harness.mount_namespace():
        harness.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "none", etc])
        harness.run(["cp", "-a", "/etc/.", etc])
        harness.run(["mount", "--move", etc, "/etc"])
        place = Path("/etc/secretfs/rotators.d")
        shutil.rmtree(place.parent, ignore_errors=True)
        place.mkdir(parents=True)
        yield place


@pytest.fixture
def movable(folder, monkeypatch):
    """The program at a path of its own, where it can be exchanged."""
    program = folder / "bin" / "secretfs"
    program.parent.mkdir()
    shutil.copy2(harness.SECRETFS, program)
    monkeypatch.setattr(harness, "SECRETFS", program)
    return program
