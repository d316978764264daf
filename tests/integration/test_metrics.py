"""secretctl metrics and status: numbers for Prometheus, without a name of a secret."""

import os
import re
import stat

from harness import FAILED, INTEGRITY, as_user, error_of, eventually, kill_worker, run

LINE = re.compile(r"secretfs_(\w+)\{(.*)\} (\S+)$")


def metrics_of(text):
    """{(name, its labels but the store and the mount): value}; every line must be as Prometheus wants it."""
    found, types = {}, {}
    for line in text.decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
            continue
        if line.startswith("# HELP "):
            continue
        name, labels, value = LINE.fullmatch(line).groups()
        base = re.sub("_(bucket|sum|count)$", "", name)
        assert f"secretfs_{name}" in types or types[f"secretfs_{base}"] == "histogram", line
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        del labels["store"]
        labels.pop("mount", None)
        found[name, *labels.values()] = float(value)
    return found


def metrics(store):
    return metrics_of(store.ctl("metrics"))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def test_what_the_store_has(store):
    store.put("name-of-a-secret", b"value")
    store.put("soon", b"value", "--expires", "12h")
    store.put("later", b"value", "--expires", "20d")
    store.put("over", b"value")
    store.ctl("expire", "over", "2001-01-01T00:00:00Z")
    store.ctl("rotation", "soon", "--every", "1s", "--generate", "hex:8")
    store.ctl("rotation", "later", "--every", "30d", "--generate", "hex:8")
    eventually(lambda: metrics(store)["rotations_overdue",] == 1)
    found = metrics(store)
    assert found["store_ok",] == 1 and found["secrets",] == 4 and found["secrets_expired",] == 1
    assert [found["secrets_expiring", days] for days in ("1", "7", "30")] == [1, 1, 2]
    assert found["rotations",] == 2
    assert found["store_generation",] == store.json("status")["generation"]
    assert found["next_expiry_timestamp_seconds",] > 1.7e9
    assert b"name-of-a-secret" not in store.ctl("metrics")


def test_what_the_daemon_has_answered(store, mount):
    for name in ("a", "revoked", "expired"):
        store.put(name, b"value", "--mode", "0400", "--owner", "20001")
    served = mount()
    store.ctl("revoke", "revoked")
    store.ctl("expire", "expired", "2001-01-01T00:00:00Z")
    for _ in range(5):
        assert as_user(20001, 20001, [], read, served.path / "a") == b"value"
    assert as_user(20002, 20002, [], error_of, read, served.path / "a") == "EACCES"
    assert as_user(20001, 20001, [], error_of, read, served.path / "revoked") == "EKEYREVOKED"
    assert as_user(20001, 20001, [], error_of, read, served.path / "expired") == "EKEYEXPIRED"
    kill_worker(served)
    eventually(lambda: metrics(store)["worker_restarts_total",] == 1)
    found = metrics(store)
    results = {key[1]: value for key, value in found.items() if key[0] == "opens_total"}
    assert results == {"ok": 5, "denied": 1, "revoked": 1, "expired": 1, "failed": 0}
    buckets = [value for key, value in found.items() if key[0] == "open_seconds_bucket"]
    assert buckets == sorted(buckets) and buckets[-1] == found["open_seconds_count",] == 7
    assert 0 < found["open_seconds_sum",] < 10
    assert found["up",] == 1 and found["degraded",] == 0
    (daemon,) = store.json("status")["daemons"]
    assert daemon["opens"] == {"ok": 5, "denied": 1, "revoked": 1, "expired": 1, "failed": 0}
    assert daemon["unrecorded"] == 0


def test_a_damaged_store_still_has_metrics(store, mount):
    store.put("a", b"value")
    mount()
    with open(store.path, "r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))
    done = run(store.argv("metrics"), status=INTEGRITY)
    found = metrics_of(done.stdout)
    assert found["store_ok",] == 0 and found["up",] == 1


def test_a_file_for_the_collector(store, folder):
    target = folder / "secretfs.prom"
    target.write_text("old")
    store.ctl("metrics", "--output", target)
    assert metrics_of(target.read_bytes())["store_ok",] == 1
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert not list(folder.glob("secretfs.prom.*"))
    line = store.refuses(FAILED, "metrics", "--output", folder / "missing" / "file")
    assert "No such file or directory" in line
    os.mkdir(folder / "is-a-folder")
    store.refuses(FAILED, "metrics", "--output", folder / "is-a-folder")
    assert not list(folder.glob("is-a-folder.*"))
