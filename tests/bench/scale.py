"""Size: starts, memory, lookups and listings from a thousand secrets to a million; a killed worker."""

import contextlib
import os
import random
import resource
import signal
import statistics
import subprocess
import time
from pathlib import Path

from common import MS, US, LargeMount, Row, S, filled, mean_of, measured, number, summary, timed
from harness import SECRETFS, Child, end, fresh_folder, mounted, processes_of, remove_folder
from harness import signal_worker, spawn
from peers import mounted_peers, path_list

PER_FOLDER = 1000
SAMPLE = 1000  # names that are looked up
LISTED = 100000
RESTARTS_OF = 10000
PAUSE_S = 0.7  # between two kills


@contextlib.contextmanager
def store_of(count, **shape):
    """A store in a folder of its own; large ones are gone again before the next is made."""
    folder = fresh_folder()
    try:
        store, paths = filled(folder, count, **shape)
        yield store, paths
    finally:
        remove_folder(folder)


def processor_s():
    """What all processes that were started here, and have ended, have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def start_ns(store, place):
    """From the start of the program to the line that says that the tree is served."""
    place.mkdir(exist_ok=True)
    begun = time.perf_counter_ns()
    process = spawn(
        [SECRETFS, "-o", f"key_file={store.key}", store.path, place],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    lines = []
    try:
        for line in process.stderr:
            lines.append(line)
            if b"secretfs: serving " in line:
                taken = time.perf_counter_ns() - begun
                assert mounted(place)
                return taken
        raise AssertionError(f"secretfs did not serve: {lines}")
    finally:
        process.terminate()
        process.stderr.close()
        end(process)


def memory_bytes(served):
    """Of all three processes; what several share counts once (Pss of smaps_rollup)."""
    total = 0
    for pid in processes_of(served).values():
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(
            int(line.split()[1]) for line in text.splitlines() if line.startswith(("Pss:", "SwapPss:"))
        )
    return total * 1024


def some_of(paths):
    return random.Random(1).sample(paths, min(SAMPLE, len(paths)))


def measure_size(store, paths, starts):
    """What a store takes: starts, memory, room on the disk."""
    used = processor_s()
    begun = [start_ns(store, store.folder / "mnt") for _ in range(starts)]
    used = processor_s() - used
    served = LargeMount(store, store.folder / "mnt")
    try:
        for path in some_of(paths):
            (served.path / path).read_bytes()
        memory = memory_bytes(served)
    finally:
        served.close()
    return {
        "secrets": len(paths),
        "start": summary(begun),
        "start_processor_ms": used / starts * 1000,
        "memory_bytes": memory,
        "disk_bytes": store.path.stat().st_size,
    }


def look_up(places, rounds):
    """Names that the kernel does not know, in folders that it does, of each place in turn."""
    lists = [path_list(paths[0].parents[2], name, paths) for name, paths in places.items()]
    parents = {path.parent for paths in places.values() for path in paths}
    taken = []
    for _ in range(rounds):
        Path("/proc/sys/vm/drop_caches").write_text("2")
        for parent in parents:
            os.stat(f"{parent}/.")  # so that the kernel has its ACL, too
        taken.append(measured("reader", "stat", 20, *lists))
    return mean_of(taken)


def lookup_row(small, large, rounds):
    """Of two stores, each with its paths."""
    with contextlib.ExitStack() as stack:
        places = {}
        for name, (store, paths) in (("small", small), ("large", large)):
            served = LargeMount(store, store.folder / "mnt")
            stack.callback(served.close)
            places[name] = [served.path / path for path in some_of(paths)]
        found = look_up(places, rounds)
    return Row(
        f"lookup in {len(large[1]):,} secrets",
        "us",
        found["large"]["p50"] / US,
        p99=found["large"]["p99"] / US,
        peer=f"in {len(small[1]):,}",
        peer_figure=found["small"]["p50"] / US,
        peer_p99=found["small"]["p99"] / US,
        bar=1.3,
    )


def listed(place):
    """How long it takes to list the folder and have the attributes of all."""
    taken = measured("reader", "list", 1, f"list={place}")
    return taken["list"]["p50"]


def ls_rows(count, runs):
    """A plain ls, which sorts, of a folder that nobody has listed yet; then all attributes."""
    taken = {"secretfs": [], "bare": []}
    with store_of(count) as (store, _), mounted_peers(store.folder, ["bare"], count, 64) as peers:
        for _ in range(runs):
            served = LargeMount(store, store.folder / "mnt")
            try:
                taken["secretfs"].append((timed(["ls", served.path]), listed(served.path)))
            finally:
                served.close()
            peers["bare"].fresh()
            place = peers["bare"].path
            taken["bare"].append((timed(["ls", place]), listed(place)))
    (mine, mine_all), (theirs, theirs_all) = (zip(*taken[name]) for name in ("secretfs", "bare"))
    yield ls_row(f"ls of a folder of {count:,}", mine, theirs, 1000)
    yield ls_row("then list it and stat all", mine_all, theirs_all, None)


def ls_row(work, mine, theirs, bar):
    return Row(
        work,
        "ms",
        statistics.median(mine) / MS,
        p99=max(mine) / MS,
        peer="bare",
        peer_figure=statistics.median(theirs) / MS,
        peer_p99=max(theirs) / MS,
        bar=bar,
        of_ratio=False,
    )


# ---- a worker that is killed


def read_until(path, stop):
    """Reads without a pause; returns the calls that took longer than a millisecond: (when, how long)."""
    slow = []
    while not stop.exists():
        begun = time.monotonic_ns()
        path.read_bytes()
        taken = time.monotonic_ns() - begun
        if taken > MS:
            slow.append((begun, taken))
    return slow


def longest_around(kill, slow):
    """The longest of the calls that were under way at or after a kill, and before the next."""
    near = (taken for begun, taken in slow if begun + taken > kill and begun < kill + PAUSE_S * S)
    return max(near, default=0)


def restart_row(count, kills):
    with store_of(count, per_folder=PER_FOLDER) as (store, paths):
        served = LargeMount(store, store.folder / "mnt")
        stop = store.folder / "stop"
        try:
            reader = Child(read_until, served.path / paths[0], stop)
            killed = []
            for _ in range(kills):
                time.sleep(PAUSE_S)
                killed.append(time.monotonic_ns())
                signal_worker(served, signal.SIGKILL)
            time.sleep(PAUSE_S)
            stop.touch()
            slow = reader.result()
        finally:
            stop.touch()
            served.close()
    longest = [longest_around(kill, slow) for kill in killed]
    times = summary(longest)
    return Row(
        f"a killed worker, {count:,} secrets, to a reader",
        "ms",
        times["p50"] / MS,
        p99=times["p99"] / MS,
        bar=100,
        of_ratio=False,
    )


# ---- the rows


START_BARS = {10000: ("ms", MS, 50), 1000000: ("s", S, 2.5)}
MEMORY_BARS = {1000: 12, 1000000: 200}


def size_rows(sizes):
    for size in sizes:
        count = size["secrets"]
        unit, scale, bar = START_BARS.get(count, ("ms", MS, None))
        yield Row(
            f"start to serving, {count:,} secrets",
            unit,
            size["start"]["p50"] / scale,
            p99=size["start"]["p99"] / scale,
            bar=bar,
            of_ratio=False,
            notes=[f"{number(size['start_processor_ms'])} ms of one processor, its end included"],
        )
    for size in sizes:
        yield Row(
            f"memory of the daemon, {size['secrets']:,} secrets",
            "MiB",
            size["memory_bytes"] / (1 << 20),
            bar=MEMORY_BARS.get(size["secrets"]),
            of_ratio=False,
        )


def growth_row(sizes):
    """Whether starting stays linear: the time per secret at the largest size against the one before."""
    least, middle, most = sizes[0], sizes[-2], sizes[-1]

    def each(size):
        return (size["start"]["p50"] - least["start"]["p50"]) / (size["secrets"] - least["secrets"])

    return Row(
        f"start, for each secret more up to {most['secrets']:,}",
        "us",
        each(most) / US,
        peer=f"up to {middle['secrets']:,}",
        peer_figure=each(middle) / US,
    )


def rows(quick, counts):
    """The rows, and the sizes they are made of."""
    with contextlib.ExitStack() as stack:
        stores = [
            stack.enter_context(store_of(count, per_folder=PER_FOLDER)) for count in sorted(counts)
        ]
        sizes = [
            measure_size(store, paths, 3 if quick or len(paths) > 100000 else 9)
            for store, paths in stores
        ]
        found = list(size_rows(sizes))
        if len(sizes) > 2:
            found.append(growth_row(sizes))
        found.append(lookup_row(stores[0], stores[-1], 9 if quick else 20))
    found.append(restart_row(RESTARTS_OF, 10 if quick else 30))
    found += ls_rows(LISTED, 3 if quick else 7)
    return found, sizes
