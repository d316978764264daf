"""Writing: durable commits and imports beside SQLite alone, and from a commit to its confirmation."""

import shutil
import statistics

import confirm
from common import MS, Row, S, filled, measured, number

SECRETS = 1000


def commits(folder, count):
    store, _ = filled(folder, SECRETS)
    copy = folder / "copy.db"
    shutil.copy(store.path, copy)
    taken = measured("commits", store.path, store.key, copy, folder / "pages", count)
    mine, peer = taken["store"], taken["sqlite"]
    syncs = peer["p50"] + taken["append"]["p50"] + taken["rewrite"]["p50"]
    yield Row(
        "durable put or rotate",
        "ms",
        mine["p50"] / MS,
        p99=mine["p99"] / MS,
        peer="SQLite alone",
        peer_figure=peer["p50"] / MS,
        peer_p99=peer["p99"] / MS,
        bar=1.5,
        notes=[
            "three syncs, each after the one before: the record's, SQLite's, the anchor's. A page"
            " appended and synced, SQLite alone and a page written again and synced take"
            f" {number(syncs / MS)} ms, {syncs / peer['p50']:.2f} × SQLite alone"
        ],
    )


def confirmed(folder, count):
    taken = confirm.measure(folder, count)
    for work, word, bar in (
        ("commit to confirmed, half of them", "p50", 2.0),
        ("commit to confirmed, 99 of 100", "p99", 10.0),
    ):
        yield Row(
            work,
            "ms",
            taken["confirmed"][word] / MS,
            peer="its wake-ups",
            peer_figure=taken["wake-ups"][word] / MS,
            bar=bar,
            of_ratio=False,
        )


def imported(folder, count, runs):
    """Each time into a fresh store, and then the same rows into a fresh file."""
    mine, theirs = [], []
    for number in range(runs):
        here = folder / str(number)
        here.mkdir()
        store, _ = filled(here, 0)
        taken = measured("fill", store.path, store.key, count, SECRETS, 64, 1, 0)["fill"]
        mine.append(count * S / (taken["puts"] + taken["commit"]))
        taken = measured("inserts", store.path, here / "rows.db")["insert"]
        theirs.append(count * S / (taken["puts"] + taken["commit"]))
        shutil.rmtree(here)
    yield Row(
        f"bulk import of {count:,}",
        "/s",
        statistics.median(mine),
        peer="SQLite alone",
        peer_figure=statistics.median(theirs),
        bar=0.5,
        bar_is="at least",
    )


def rows(folder, quick):
    parts = [
        ("commits", commits, (200 if quick else 1000,)),
        ("confirm", confirmed, (200 if quick else 1000,)),
        ("import", imported, (10000, 3) if quick else (100000, 3)),
    ]
    found = []
    for name, measure, args in parts:
        here = folder / name
        here.mkdir()
        found += measure(here, *args)
    return found
