"""What the benchmark's parts share: the build, figures as the programs print them, and tables of them.

Import this before anything of harness.py: it says where the programs are. They have to be optimized
and without sanitizers, so it is build-caged/ where SECRETFS_BUILD does not say otherwise.
"""

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
os.environ.setdefault("SECRETFS_BUILD", str(ROOT / "build-caged"))
sys.path.insert(0, str(ROOT / "tests"))

from harness import BUILD, Mount, Store, run  # noqa: E402

US, MS, S = 1e3, 1e6, 1e9  # in nanoseconds


class LargeMount(Mount):
    """Of a store that may have a million secrets."""

    patience_s = 300


def program(name):
    return BUILD / "tests" / "bench" / f"bench_{name}"


def figures(text):
    """The lines of the programs: {"store": {"count": 300, "p50": 1200000, ...}, ...}"""
    lines = {}
    for line in text.splitlines():
        name, *words = line.split()
        lines[name] = dict(zip(words[::2], map(float, words[1::2])))
    return lines


def measured(name, *args, **options):
    """Run one of the programs, and return its figures."""
    return figures(run([program(name), *args], **{"timeout": 600, **options}).stdout.decode())


def filled(folder, count, per_folder=0, size=64, depth=1, acl=0):
    """A fresh store with that many secrets, and their paths; without `per_folder` they are in one."""
    store = Store.fresh(folder)
    run([program("fill"), store.path, store.key, count, per_folder, size, depth, acl], timeout=600)
    return store, secret_paths(count, per_folder, depth)


def secret_paths(count, per_folder=0, depth=1):
    """As bench_fill names them."""
    above = "d/" * (depth - 1)
    if not per_folder:
        return [f"{above}{i}" for i in range(count)]
    return [f"{above}{i // per_folder}/{i % per_folder}" for i in range(count)]


def summary(times_ns):
    """The same of times that were taken here."""
    ordered = sorted(times_ns)
    return {
        "count": len(ordered),
        "p50": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "max": ordered[-1],
    }


def mean_of(rounds):
    """Of figures that were taken several times, each the mean of all rounds."""
    return {
        name: {word: statistics.fmean(each[name][word] for each in rounds) for word in words}
        for name, words in rounds[0].items()
    }


def timed(argv, **options):
    """How long a program takes, in nanoseconds."""
    options.setdefault("stdout", subprocess.DEVNULL)
    begun = time.perf_counter_ns()
    subprocess.run([str(arg) for arg in argv], check=True, **options)
    return time.perf_counter_ns() - begun


@dataclass
class Row:
    """
    One line of the table: a figure, what it is measured against, and the bar of DESIGN.md. The ratio
    is held against the bar, or the figure itself where the bar has a unit.
    """

    work: str
    unit: str  # of figure and peer: us, ms, s, /s, MiB
    figure: float
    p99: float | None = None
    peer: str = ""  # what it is
    peer_figure: float | None = None
    peer_p99: float | None = None
    bar: float | None = None
    bar_is: str = "at most"  # or "at least"
    of_ratio: bool = True  # the bar is one of the ratio
    notes: list = field(default_factory=list)

    @property
    def ratio(self):
        if not self.peer_figure:
            return None
        return self.figure / self.peer_figure

    @property
    def met(self):
        if self.bar is None:
            return None
        held = self.ratio if self.of_ratio else self.figure
        return held <= self.bar if self.bar_is == "at most" else held >= self.bar

    def as_json(self):
        return {**self.__dict__, "ratio": self.ratio, "met": self.met}


def number(value):
    """Three digits that count."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def cells(row):
    unit = f" {row.unit}" if row.unit else ""

    def with_p99(value, p99):
        if value is None:
            return ""
        return number(value) + unit + (f" (p99 {number(p99)})" if p99 is not None else "")

    sign = {"at most": "≤", "at least": "≥"}[row.bar_is]
    bar = ""
    if row.bar is not None:
        bar = f"{sign} {row.bar:g}" + (" ×" if row.of_ratio else unit)
    return [
        row.work,
        with_p99(row.figure, row.p99),
        f"{row.peer}: {with_p99(row.peer_figure, row.peer_p99)}" if row.peer else "",
        f"{row.ratio:.2f} ×" if row.ratio else "",
        bar,
        {True: "met", False: "**not met**", None: ""}[row.met],
    ]


HEADINGS = ["work", "secretfs", "beside it", "ratio", "bar", ""]


def notes(rows):
    return [f"{row.work}: {note}" for row in rows for note in row.notes]


def table(rows):
    """As text for a terminal."""
    lines = [HEADINGS, *(cells(row) for row in rows)]
    lines = [[cell.replace("**", "") for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*lines, *notes(rows)])


def markdown(rows):
    lines = [HEADINGS, ["---"] * len(HEADINGS), *(cells(row) for row in rows)]
    lines = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(rows))]) + "\n"
