#!/usr/bin/env python3
"""The instructions of a warm open, a cold read, a load and a put, by callgrind, against instructions.json.

    tests/bench/instructions.py           fails where one takes more than that, by the tolerance
    tests/bench/instructions.py --save    keeps what is measured now

With the programs of build-caged/ or of SECRETFS_BUILD: optimized, without sanitizers. What is counted
is what a process does itself, not the kernel for it; so a busy machine changes nothing, but another
compiler or library does. Each step is counted as the difference of many and few (steps.c).
"""

import argparse
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import filled, program
from harness import BUILD, fresh_folder, remove_folder, sanitized

KEPT = Path(__file__).with_name("instructions.json")
TOLERANCE = 1.05
FEW, MANY = 100, 400
SECRETS = 500  # of the store; for a load, FEW and MANY
STEPS = {
    "warm open": "warm",
    "cold read": "cold",
    "put": "put",
    "load, for each secret": "load",
}


def counted(folder, step, count):
    """All instructions of a process that does the step so often, in a store of its own."""
    here = folder / f"{step}{count}"
    here.mkdir()
    store, _ = filled(here, count if step == "load" else SECRETS)
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*valgrind, program("steps"), step, store.path, store.key, str(count)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(done.stderr)
    return int(found.group(1))


def measure(folder):
    with ThreadPoolExecutor() as pool:
        runs = {
            name: [pool.submit(counted, folder, step, count) for count in (FEW, MANY)]
            for name, step in STEPS.items()
        }
        return {
            name: round((many.result() - few.result()) / (MANY - FEW))
            for name, (few, many) in runs.items()
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--save", action="store_true", help="keep what is measured now")
    options = parser.parse_args()
    if sanitized():
        sys.exit(f"{BUILD} has sanitizers, which have instructions of their own")
    folder = fresh_folder()
    try:
        found = measure(folder)
    finally:
        remove_folder(folder)
    if options.save:
        KEPT.write_text(json.dumps(found, indent=1) + "\n")
    kept = json.loads(KEPT.read_text())
    for name, count in found.items():
        print(f"{name}: {count:,} instructions, {count / kept[name]:.3f} of what is kept")
    more = [name for name, count in found.items() if count > kept[name] * TOLERANCE]
    if more:
        sys.exit(f"more instructions than in {KEPT.name}: {', '.join(more)}")


if __name__ == "__main__":
    main()
