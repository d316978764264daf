"""A worker may die at any moment: readers notice nothing."""

import contextlib
import os
import random
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import (
    LIBC,
    SECRETFS,
    Child,
    end,
    error_of,
    eventually,
    exchange,
    freeze,
    kernel_stacks,
    kill_worker,
    processes_of,
    sanitized,
    signal_worker,
    spawn,
    status_of,
    worker_of,
)
from load import CONTENT, LONGEST_CALL_S, Load, number_of, value

SYS_PIDFD_GETFD = 438

KILLS = int(os.environ.get("SECRETFS_KILLS", "20" if sanitized() else "60"))  # 1000 is the long form


@pytest.mark.alone
def test_no_reader_notices_that_workers_are_killed(store, mount, folder, measured):
    """
    Serving or starting: at random. But there is an answer between any two kills and the next, or a
    call would wait for as long as workers are killed before they serve.
    """
    Load.fill(store)
    served = mount()
    with Load(served, folder) as load:
        for kills in range(KILLS):
            kill_worker(served)
            if kills % 2:
                os.statvfs(served.path)  # always a request
            if kills % 5 == 0:
                load.rotate(store)
            time.sleep(random.random() * 0.03)
        load.settle()
    measured(f"{KILLS} kills and {load.report()}")


def test_what_is_committed_while_no_worker_lives_is_served_by_the_next(store, mount):
    store.wait = False
    for path in ("rotated", "moved", "removed", "opened"):
        store.put(path, b"old", "--mode", "0444")
    served = mount()
    for path in ("rotated", "moved", "removed", "opened"):
        assert (served.path / path).read_bytes() == b"old"
    held = os.open(served.path / "rotated", os.O_RDONLY)
    freeze(served.process.pid)
    kill_worker(served)
    store.put("rotated", b"newer")
    store.put("added", b"new")
    store.ctl("mv", "moved", "elsewhere")
    store.ctl("rm", "removed")
    store.ctl("chmod", "0400", "opened")
    os.kill(served.process.pid, signal.SIGCONT)
    eventually(lambda: (served.path / "rotated").read_bytes() == b"newer")
    eventually(lambda: error_of(os.stat, served.path / "moved") == "ENOENT")
    eventually(lambda: error_of(os.stat, served.path / "removed") == "ENOENT")
    eventually(lambda: (served.path / "opened").stat().st_mode & 0o777 == 0o400)
    assert (served.path / "elsewhere").read_bytes() == b"old"
    eventually(lambda: (served.path / "added").read_bytes() == b"new")
    assert os.pread(held, 10, 0) == b"old"
    os.close(held)


@pytest.mark.alone
def test_a_worker_killed_while_it_tells_the_kernel_of_a_change(store, mount):
    """Its thread waits for a directory that a lookup holds, which only the next worker can answer."""
    store.wait = False
    store.quick = True
    store.put("rotated", value(1))
    served = mount()
    for number in range(2, 42):
        assert number_of((served.path / "rotated").read_bytes()) <= number
        worker = signal_worker(served, signal.SIGSTOP)
        lookups = [Child(error_of, os.stat, served.path / f"missing{i}") for i in range(4)]
        store.put("rotated", value(number))
        os.kill(worker, signal.SIGCONT)
        time.sleep(random.random() * 0.002)
        os.kill(worker, signal.SIGKILL)
        begun = time.monotonic()
        assert [lookup.result() for lookup in lookups] == ["ENOENT"] * 4
        assert time.monotonic() - begun <= LONGEST_CALL_S
    eventually(lambda: number_of((served.path / "rotated").read_bytes()) == number)


def test_a_worker_that_stands_still_is_replaced(store, mount, measured):
    store.put("a", b"value")
    served = mount()
    worker = worker_of(served)
    freeze(worker)
    begun = time.monotonic()
    assert (served.path / "a").read_bytes() == b"value"
    waited = time.monotonic() - begun
    assert waited <= 30  # a supervisor that gets no turn for a second begins to count anew
    worker_of(served, after=worker)
    assert "the worker does not answer; killing it" in served.log.read_text()
    time.sleep(1.5)  # the next one is asked in its turn, and answers
    assert served.log.read_text().count("does not answer") == 1
    measured(f"a call that a standing worker had to answer took {waited:.2f} s")


@contextlib.contextmanager
def poisoned(served, delay_s=0.6):
    """
    Whatever writes to the log stands still afterwards. So does a worker with `-o debug` at each request,
    which is where it can then be killed; the processes that follow it are slowed down, too.
    """
    argv = ["strace", "-q", "-f", "-p", str(served.process.pid), "-P", str(served.log)]
    argv += ["-e", "trace=write", "-e", f"inject=write:delay_exit={int(delay_s * 1000000)}"]
    tracer = spawn([*argv, "-o", "/dev/null"], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: status_of(served.process.pid)["TracerPid"] != "0")
        kill_worker(served)  # those that are started from here on are traced
        eventually(lambda: status_of(worker_of(served)).get("TracerPid", "0") != "0")
        yield
    finally:
        tracer.kill()  # which lets go of all at once
        end(tracer)


@pytest.mark.alone
def test_a_request_that_ends_every_worker_is_answered_with_an_error(store, mount):
    store.put("a", b"value")
    served = mount("debug", "workers=2")
    assert (served.path / "a").read_bytes() == b"value"
    with poisoned(served):
        last, taken = None, served.counted("LOOKUP")
        request = Child(error_of, os.stat, served.path / "missing")
        for number in range(1, 6):
            worker = worker_of(served, after=last)
            eventually(lambda: served.counted("LOOKUP") >= taken + number)  # it has begun, and stands still
            os.kill(worker, signal.SIGKILL)
            last = worker
    assert request.result() == "EIO"
    line = "a request (opcode 1) ended 5 workers; it was answered with EIO\n"
    eventually(lambda: line in served.log.read_text())
    assert served.log.read_text().count("the worker died (signal 9)") == 6
    assert error_of(os.stat, served.path / "missing") == "ENOENT"
    assert (served.path / "a").read_bytes() == b"value"


@contextlib.contextmanager
def without_turns(processor):
    """Nothing else runs there, but for a small part of each second that the kernel keeps back."""
    argv = ["taskset", "-c", processor, "chrt", "-f", "10", "sh", "-c", "while :; do :; done"]
    hog = spawn(argv)
    try:
        eventually(lambda: Path(f"/proc/{hog.pid}/comm").read_text() == "sh\n")
        time.sleep(0.1)
        yield
    finally:
        hog.kill()
        end(hog)


def request_between_two_workers(served, processor):
    """
    Kill a worker whose other thread gets no turn to end, before a request that the next has not yet
    taken. Returns the child that waits for its answer, and whether the thread was there until then.
    """
    worker = worker_of(served)
    for thread in os.listdir(f"/proc/{worker}/task"):
        if int(thread) != worker:
            os.sched_setaffinity(int(thread), {processor})
    with without_turns(processor):
        os.kill(worker, signal.SIGKILL)
        worker_of(served, after=worker)
        request = Child(error_of, os.stat, served.path / "missing")
        time.sleep(0.25)
        return request, Path(f"/proc/{worker}/stat").exists()


@pytest.mark.alone
def test_a_request_taken_by_a_worker_that_is_already_dead(store, mount):
    """
    The threads of a killed worker end one by one, and one that waits for its turn to end takes a
    request with it, also when the next worker has already asked for those that were left.
    """
    served = mount("workers=1")
    here = os.sched_getaffinity(0)
    os.sched_setaffinity(0, here - {max(here)})
    argv = ["strace", "-q", "-f", "-p", served.process.pid, "-P", "/dev/fuse", "-o", "/dev/null"]
    argv += ["-e", "trace=write", "-e", "inject=write:delay_exit=400000"]
    tracer = spawn(argv, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: status_of(served.process.pid)["TracerPid"] != "0")
        lingered = 0
        for _ in range(20):
            request, late = request_between_two_workers(served, max(here))
            assert select.select([request.pipe], [], [], 30)[0], "it is never answered"
            assert request.result() == "ENOENT"
            lingered += late
            if lingered == 2:
                break
        assert lingered
    finally:
        os.sched_setaffinity(0, here)
        tracer.kill()  # it may not end in the middle of a delay
        end(tracer)


@contextlib.contextmanager
def taken_from(pid, kind):
    """The process's descriptor of what begins with `kind`."""
    number = None
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            number = path.name if os.readlink(path).startswith(kind) else number
    process = os.pidfd_open(pid)
    descriptor = LIBC.syscall(SYS_PIDFD_GETFD, process, int(number), 0)
    os.close(process)
    assert descriptor >= 0
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def device_of(served):
    """The daemon's /dev/fuse, as a thread has it that does not end."""
    return taken_from(served.process.pid, "/dev/fuse")


def take_requests(device, count):
    """As one who never answers them."""
    taken = 0
    while taken < count:
        with contextlib.suppress(FileNotFoundError):  # it was interrupted meanwhile
            taken += len(os.read(device, 2 << 20)) > 0


def read_uncached(file):
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    return error_of(os.pread, file, 10, 0)


def read_across_a_worker_that_lingers(store, served, path):
    """
    Kill a worker that waits for the page of a READ, and take the READ once more when the next one
    has had it sent again. Returns the child that waits for it, and whether it is not answered.
    """
    worker = worker_of(served)
    file = os.open(served.path / path, os.O_RDONLY)
    with device_of(served) as device:
        freeze(worker)
        reader = Child(read_uncached, file)
        os.close(file)
        take_requests(device, 1)
        store.ctl("revoke", path)
        os.kill(worker, signal.SIGCONT)
        eventually(lambda: "folio" in kernel_stacks(served.process.pid))
        taker = Child(take_requests, device, 1000000)
        os.sched_setscheduler(taker.pid, os.SCHED_FIFO, os.sched_param(10))  # to be the first
        eventually(lambda: "fuse_dev_do_read" in kernel_stacks(taker.pid))
        os.kill(worker, signal.SIGKILL)
        worker_of(served, after=worker)
        time.sleep(0.5)
        taker.kill()
        return reader, Path(f"/proc/{worker}/stat").exists()


@pytest.mark.alone
def test_a_request_taken_by_a_worker_that_does_not_end(store, mount):
    """
    A thread of a killed worker waits for the page that another has taken the READ of with it, after
    the next worker had all requests sent again.
    """
    store.wait = False
    served = mount()
    for attempt in range(20):
        store.put(f"a{attempt}", CONTENT)
        eventually((served.path / f"a{attempt}").exists)
        reader, lingers = read_across_a_worker_that_lingers(store, served, f"a{attempt}")
        assert select.select([reader.pipe], [], [], 30)[0], "it was not sent again"
        assert reader.result() == "EKEYREVOKED"
        if lingers:
            return
    pytest.fail("the next worker was always the first")


def test_an_end_that_a_request_without_an_answer_does_not_hold_up(store, mount):
    """The notifier waits for it, and so does a reader; the device stays open."""
    store.wait = False
    store.put("a", b"value")
    served = mount()
    notifier = processes_of(served)["secretfs-notify"]
    with device_of(served) as device, taken_from(notifier, "socket:") as orders:
        freeze(notifier)
        store.put("a", b"rotated")
        eventually(lambda: select.select([orders], [], [], 0)[0])
        freeze(worker_of(served))
        os.kill(notifier, signal.SIGCONT)
        reader = Child(error_of, os.stat, served.path / "missing")
        take_requests(device, 2)
        served.stop()
        assert reader.result() in ("ENOTCONN", "ECONNABORTED")


def test_an_open_file_and_a_mapping_outlive_the_worker(store, mount):
    content = random.Random(2).randbytes(300000)
    store.put("big", content)
    served = mount()
    with open(served.path / "big", "rb", buffering=0) as file:
        first = file.read(1000)
        kill_worker(served)
        assert first + file.readall() == content


@pytest.mark.alone
def test_the_supervisor_takes_the_worker_with_it(store, mount):
    store.put("a", b"value")
    served = mount()
    worker = worker_of(served)
    served.killed()
    eventually(lambda: error_of(os.listdir, served.path) == "ENOTCONN", timeout=LONGEST_CALL_S)
    eventually(lambda: not Path(f"/proc/{worker}").exists())


@pytest.mark.alone
def test_an_upgrade_in_place_fails_no_call(store, mount, folder, movable, measured):
    Load.fill(store)
    served = mount()
    held = os.open(served.path / "fixed", os.O_RDONLY)
    with Load(served, folder) as load:
        for _ in range(5):
            before = worker_of(served)
            exchange(movable, SECRETFS)
            served.process.send_signal(signal.SIGHUP)
            worker = Path(f"/proc/{worker_of(served, after=before)}/exe")
            eventually(lambda: os.path.samefile(worker, movable))
            load.rotate(store)
        load.settle()
    measured(f"5 upgrades and {load.report()}")
    os.posix_fadvise(held, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(held, len(CONTENT), 0) == CONTENT
    os.close(held)
    assert served.log.read_text().count("upgraded to") == 5


@pytest.mark.alone
@pytest.mark.parametrize("broken", ["/bin/false", "/bin/cat"])
def test_a_broken_upgrade_is_rolled_back(store, mount, folder, movable, measured, broken):
    Load.fill(store)
    served = mount()
    with Load(served, folder) as load:
        exchange(movable, broken)
        served.process.send_signal(signal.SIGHUP)
        load.rotate(store)
        eventually(lambda: "cannot upgrade" in served.log.read_text())
        load.rotate(store)
        load.settle()
        exchange(movable, SECRETFS)
        served.process.send_signal(signal.SIGHUP)
        eventually(lambda: "upgraded to" in served.log.read_text())
    measured(load.report())


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_without_a_word(store, mount, signum):
    store.put("a", b"value")
    served = mount()
    assert (served.path / "a").read_bytes() == b"value"
    served.stop(signum)
    assert served.log.read_text().splitlines() == [f"secretfs: serving {store.path} at {served.path}"]
