"""What the sanitizers reported. As a program: prints the reports in a folder, and fails if there are any."""

import re
import sys
from pathlib import Path

# Said of itself by the search for leaks, in a program that is killed meanwhile.
KILLED = re.compile(r"==\d+==Unable to get registers from thread \d+\.\n")


def report(path):
    """The report in a file. A program that was killed as it began to report leaves an empty one."""
    return KILLED.sub("", path.read_text())


def main():
    reports = [report(path) for path in sorted(Path(sys.argv[1]).iterdir())]
    print("".join(reports), end="")
    sys.exit(any(reports))


if __name__ == "__main__":
    main()
