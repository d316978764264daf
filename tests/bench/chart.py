#!/usr/bin/env python3
"""Draw results.json: chart.svg beside it, by gnuplot.

    tests/bench/chart.py FOLDER
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from common import number

MET, NOT_MET = "#2a7f62", "#b3452c"
OURS, THEIRS = "#2a7f62", "#8a8f98"

HEAD = """
set terminal svg size 900,{height} font "sans-serif,13" background "#ffffff"
set output "{output}"
set multiplot layout {panels},1
set style fill solid
set boxwidth 0.7
set grid x lc "#dddddd"
set border 1
set tics nomirror
unset key
"""

PANEL = """
set title "{title}"
set xlabel "{label}"
{scale}
set xrange [{least}:{most}]
set yrange [{count} - 0.4:-0.6]
set ytics ({tics}) scale 0
{more}
plot $data{place} using ({least}):0:({least}):1:($0 - 0.35):($0 + 0.35):2 with boxxyerror lc rgb variable, \\
     $data{place} using 1:0:3 with labels left offset 0.6,0
unset arrow
unset logscale x
"""


def quoted(text):
    return '"' + str(text).replace('"', "'") + '"'


def block(place, bars):
    """What gnuplot reads: length, colour, what is written at the bar's end."""
    lines = [f"{length} {int(colour[1:], 16)} {quoted(text)}" for _, length, colour, text in bars]
    return f"$data{place} << end\n" + "\n".join(lines) + "\nend\n"


def panel(place, title, label, bars, log, more=""):
    longest = max(length for _, length, _, _ in bars)
    least = min(length for _, length, _, _ in bars) / 3 if log else 0
    text = PANEL.format(
        place=place,
        title=title,
        label=label,
        scale="set logscale x" if log else "",
        least=least,
        most=longest * (12 if log else 1.35),
        count=len(bars),
        tics=", ".join(f"{quoted(name)} {i}" for i, (name, *_) in enumerate(bars)),
        more=more,
    )
    return block(place, bars) + text


def of_bars(rows):
    """How much of its bar each row takes: 1 is the bar itself."""
    for row in rows:
        if row["bar"] is None:
            continue
        held = row["ratio"] if row["of_ratio"] else row["figure"]
        part = held / row["bar"] if row["bar_is"] == "at most" else row["bar"] / held
        work = row["work"] + (f" ({row['peer']})" if row["of_ratio"] else "")
        yield work, part, MET if row["met"] else NOT_MET, f"{part:.2f}"


def of_systems(results):
    """Warm reads of 64 B, by every filesystem, and by the programs that are started for one."""
    found = {}
    for grid in results["grids"]:
        line = next(iter(grid["lines"].values()))
        if grid["title"].startswith("warm open"):
            found |= {name: us for name, us in line.items()}
        elif grid["title"].startswith("one secret by a program"):
            found |= {name: ms * 1000 for name, ms in line.items()}
    for name, us in sorted(found.items(), key=lambda item: item[1]):
        ours = name in ("secretfs", "audit-none", "cat, secretfs", "secretctl get")
        label = {"audit-none": "secretfs, audit=none"}.get(name, name)
        yield label, us, OURS if ours else THEIRS, f"{number(us)} µs"


def script(results, output):
    panels = []
    bars = list(of_bars(results["rows"]))
    if bars:
        line = "set arrow from 1, graph 0 to 1, graph 1 nohead lw 2 lc '#333333' front"
        panels.append(
            ("What each figure takes of its bar; 1 is the bar", "shorter is better", bars, False, line)
        )
    systems = list(of_systems(results))
    if systems:
        label = "µs, each step ten times as many"
        panels.append(("Reading one secret of 64 B again", label, systems, True, ""))
    text = HEAD.format(height=420 * len(panels), output=output, panels=len(panels))
    text += "set lmargin 44\n"
    return text + "".join(panel(i, *parts) for i, parts in enumerate(panels)) + "unset multiplot\n"


def draw(folder):
    if shutil.which("gnuplot") is None:
        print("there is no gnuplot: nothing is drawn", file=sys.stderr)
        return
    results = json.loads((folder / "results.json").read_text())
    text = script(results, folder / "chart.svg")
    subprocess.run(["gnuplot"], input=text, text=True, check=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
