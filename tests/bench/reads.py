"""Reading: one reader and eight, warm and cold, beside a bare server, tmpfs and gocryptfs."""

from common import US, Row, filled, mean_of, measured, number, secret_paths
from harness import Mount
from peers import missing, mounted_peers, path_list

SIZE = 64
WARM = 100  # files that are read again and again
MANY = 8  # readers at once
PHASE_MS = 10
MANY_PHASE_MS = 50


def lists_of(folder, places, paths):
    return [
        path_list(folder, name, [place / path for path in paths]) for name, place in places.items()
    ]


def warm(folder, places, ms, readers=1, paths=tuple(secret_paths(WARM))):
    phase = PHASE_MS if readers == 1 else MANY_PHASE_MS
    return measured("reader", "warm", readers, ms, phase, *lists_of(folder, places, paths))


def cold(store, bare, count, rounds):
    """Each time from fresh mounts. The mean of their medians."""
    folder = store.folder / "secretfs"
    taken = []
    for _ in range(rounds):
        bare.fresh()
        served = Mount(store, folder / "mnt")
        try:
            places = {"secretfs": served.path, "bare": bare.path}
            lists = lists_of(store.folder, places, secret_paths(count))
            taken.append(measured("reader", "cold", 50, *lists))
        finally:
            served.close()
    return mean_of(taken)


def against(work, mine, peer, name, bar):
    return Row(
        work,
        "us",
        mine["p50"] / US,
        p99=mine["p99"] / US,
        peer=name,
        peer_figure=peer["p50"] / US,
        peer_p99=peer["p99"] / US,
        bar=bar,
    )


def noting(taken, figure):
    """What the kernel takes for a record: the bare server that makes the same system calls."""
    ratio = taken["noting"][figure] / taken["bare"][figure]
    return f"a bare server that makes the record's system calls, too, has {ratio:.2f} × bare"


def rows_of(first, read, many):
    """The rows of what was measured cold, warm, and by many at once."""
    row = against("warm read, on record", read["secretfs"], read["bare"], "bare", 1.3)
    row.notes.append(noting(read, "p50"))
    yield row
    if "gocryptfs" in read:
        row = against("warm read, on record", read["secretfs"], read["gocryptfs"], "gocryptfs", 0.2)
        best = read["bare"]["p50"] / read["gocryptfs"]["p50"]
        row.notes.append(f"the bare server, which records nothing, takes {best:.2f} × gocryptfs")
        yield row
    silent = against("warm read, audit=none", read["unrecorded"], read["tmpfs"], "tmpfs", 1.25)
    floor = read["silent"]["p50"]
    silent.notes.append(
        f"a bare server that answers no opens takes {number(floor / US)} us,"
        f" {floor / read['tmpfs']['p50']:.2f} × tmpfs: that is the kernel's"
    )
    yield silent
    yield against("cold first read", first["secretfs"], first["bare"], "bare", 2.0)
    yield Row(
        f"{MANY} readers at once",
        "/s",
        many["secretfs"]["rate"],
        peer="bare",
        peer_figure=many["bare"]["rate"],
        bar=0.8,
        bar_is="at least",
        notes=[noting(many, "rate")],
    )


def rows(folder, quick):
    count = 2000 if quick else 5000
    ms = 1500 if quick else 6000
    store, _ = filled(folder, count)
    for name in ("secretfs", "unrecorded"):
        (folder / name).mkdir()  # as deep as the peers are
    served = Mount(store, folder / "secretfs" / "mnt")
    unrecorded = Mount(store, folder / "unrecorded" / "mnt", "audit=none")
    try:
        with mounted_peers(folder, ["bare", "silent", "noting", "tmpfs"], count, SIZE) as peers, mounted_peers(
            folder, [] if missing("gocryptfs") else ["gocryptfs"], WARM, SIZE
        ) as others:
            places = {"secretfs": served.path, "unrecorded": unrecorded.path}
            places |= {name: peer.path for name, peer in (peers | others).items()}
            read = warm(folder, places, ms)
            two = {name: places[name] for name in ("secretfs", "bare", "noting")}
            many = warm(folder, two, ms, readers=MANY)
            served.close()
            first = cold(store, peers["bare"], count, 3 if quick else 10)
            return list(rows_of(first, read, many))
    finally:
        served.close()
        unrecorded.close()
