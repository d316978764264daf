"""For run.sh: how many tests passed and failed, from a report of meson (.json) or pytest (.xml)."""

import json
import re
import sys
import xml.etree.ElementTree as tree
from pathlib import Path


def of_pytest(path):
    cases = list(tree.parse(path).getroot().iter("testcase"))
    bad = [
        case
        for case in cases
        if any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
    ]
    return len(cases) - len(bad), len(bad)


def of_meson(path):
    """A program of cmocka counts as its tests; another, or one that died on the way, as one."""
    passed = failed = 0
    for line in path.read_text().splitlines():
        program = json.loads(line)
        output = program.get("stdout", "") + program.get("stderr", "")
        counts = {
            word: sum(
                map(int, re.findall(rf"^\[ *{word} *\] (\d+) test\(s\)", output, re.MULTILINE))
            )
            for word in ("PASSED", "FAILED", "SKIPPED")
        }
        good, bad = counts["PASSED"], counts["FAILED"] + counts["SKIPPED"]
        if program["result"] != "OK":
            bad = max(bad, 1)
        elif good + bad == 0:
            good = 1
        passed, failed = passed + good, failed + bad
    return passed, failed


def main():
    path = Path(sys.argv[1])
    try:
        passed, failed = (of_meson if path.suffix == ".json" else of_pytest)(path)
    except (OSError, ValueError, tree.ParseError):
        passed = failed = 0
    print(passed, failed if passed + failed else 1)


main()
