#!/usr/bin/env python3
"""The instructions of a warm open, a cold read, a load and a put, by callgrind, against instructions.json.

    tests/bench/instructions.py           fails where one takes more than that, by the tolerance
    tests/bench/instructions.py --save    keeps what is measured now
    tests/bench/instructions.py --where "warm open"     which functions they are in, those they call included

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
LINES = 60  # of --where
SECRETS = 500  # of the store; for a load, FEW and MANY
STEPS = {
    "warm open": "warm",
    "cold read": "cold",
    "put": "put",
    "load, for each secret": "load",
}


def count(folder, step, times):
    """Callgrind's file of a process that does the step so often, in a store of its own; all that it counts."""
    here = folder / f"{step}{times}"
    here.mkdir()
    store, _ = filled(here, times if step == "load" else SECRETS)
    out = here / "callgrind"
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    done = subprocess.run(
        [*valgrind, program("steps"), step, store.path, store.key, str(times)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(done.stderr)
    return out, int(found.group(1))


def functions(file):
    """What each function and those it calls take: {name: instructions}."""
    argv = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", file]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = {}
    for number, name in re.findall(r"^ *([0-9,]+) \([^)]*\) +\S*?([^/:\s]+:\S+)", lines, re.MULTILINE):
        found[name] = found.get(name, 0) + int(number.replace(",", ""))
    return found


def show_where(folder, step):
    few, many = (functions(count(folder, step, times)[0]) for times in (FEW, MANY))
    each = {name: (many[name] - few.get(name, 0)) / (MANY - FEW) for name in many}
    for name, instructions in sorted(each.items(), key=lambda item: -item[1])[:LINES]:
        print(f"{instructions:10,.0f}  {name}")


def measure(folder):
    with ThreadPoolExecutor() as pool:
        runs = {
            name: [pool.submit(count, folder, step, times) for times in (FEW, MANY)]
            for name, step in STEPS.items()
        }
        return {
            name: round((many.result()[1] - few.result()[1]) / (MANY - FEW))
            for name, (few, many) in runs.items()
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--save", action="store_true", help="keep what is measured now")
    parser.add_argument("--where", choices=STEPS, help="show the functions")
    options = parser.parse_args()
    if sanitized():
        sys.exit(f"{BUILD} has sanitizers, which have instructions of their own")
    folder = fresh_folder()
    try:
        if options.where:
            show_where(folder, STEPS[options.where])
            return
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
