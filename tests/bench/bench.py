#!/usr/bin/env python3
"""Everything that DESIGN.md section 9 asks for, measured beside what one would use instead.

    tests/bench/run.sh                                      all of it, about 20 minutes
    tests/bench/run.sh --quick                              a few minutes: the bars, without the largest store
    tests/bench/run.sh --quick --secrets 1000 1000000       with stores of these sizes

As root; run.sh installs what is missing and builds. Prints one table, and writes it into the folder
`bench` of the build, or --out: results.json, results.md, chart.svg. With --keep they are the project's own:
in tests/bench/results, and the table in README.md.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

import chart
import common
import machine
import matrix
import reads
import scale
import writes
from harness import BUILD, fresh_folder, remove_folder, sanitized

KEPT = common.ROOT / "tests" / "bench" / "results"
README = common.ROOT / "README.md"
BEGIN, END = "<!-- tests/bench/run.sh --keep -->\n", "<!-- end -->\n"
NICE = -10  # whatever else runs on the machine comes after


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few minutes, with fewer repetitions")
    parser.add_argument("--secrets", type=int, nargs="+", help="sizes of the stores")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some of the sections")
    parser.add_argument("--out", type=Path, default=BUILD / "bench", help="where the results go")
    parser.add_argument("--keep", action="store_true", help="as the project's own results")
    options = parser.parse_args()
    if options.keep:
        options.out = KEPT
    if options.only is None:
        options.only = [name for name in SECTIONS if name != "matrix" or not options.quick]
    if options.secrets is None:
        options.secrets = [1000, 10000, 100000] + ([] if options.quick else [1000000])
    return options


def in_folder(measure, options):
    folder = fresh_folder()
    try:
        return measure(folder, options.quick), {}
    finally:
        remove_folder(folder)


def of_size(options):
    rows, sizes = scale.rows(options.quick, options.secrets)
    return rows, {"sizes": sizes}


def beyond(options):
    return [], {"grids": matrix.grids(options.quick, options.secrets)}


SECTIONS = {
    "reads": lambda options: in_folder(reads.rows, options),
    "writes": lambda options: in_folder(writes.rows, options),
    "scale": of_size,
    "matrix": beyond,
}


def save(folder, results):
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, default=lambda part: part.as_json())
    (folder / "results.json").write_text(text + "\n")
    parts = [
        common.markdown(results["rows"]),
        *(grid.markdown() for grid in results["grids"]),
        machine.sentence(results["machine"]) + "\n",
    ]
    (folder / "results.md").write_text("\n".join(parts))


def put_in_readme(results):
    text = README.read_text()
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    assert found and ended, f"{README} has no place for the table"
    table = common.markdown(results["rows"]) + "\n" + machine.sentence(results["machine"]) + "\n"
    README.write_text(before + BEGIN + table + END + after)


def show(results):
    parts = [common.table(results["rows"]), *(grid.text() for grid in results["grids"])]
    print("\n\n".join([*parts, machine.sentence(results["machine"])]))


def main():
    options = parse()
    if sanitized():
        sys.exit(f"{BUILD} has sanitizers, which make everything slower")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    results = {"machine": machine.describe(), "rows": [], "grids": [], "sizes": []}
    begun = time.monotonic()
    for name in options.only:
        print(f"== {name} (after {time.monotonic() - begun:.0f} s)", file=sys.stderr)
        rows, more = SECTIONS[name](options)
        results["rows"] += rows
        results |= more
    results["machine"]["load_after"] = os.getloadavg()
    save(options.out, results)
    chart.draw(options.out)
    if options.keep:
        put_in_readme(results)
    show(results)


if __name__ == "__main__":
    main()
