"""What the figures were measured on."""

import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

from harness import SECRETFS, run

PACKAGES = "libfuse3-3 libsqlite3-0 libsodium23 gocryptfs encfs securefs age gnupg".split()


def first(text, pattern, default="unknown"):
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1).strip() if found else default


def versions():
    found = {"secretfs": run([SECRETFS, "--version"]).stdout.decode().split()[-1]}
    if shutil.which("dpkg-query") is None:
        return found
    for package in PACKAGES:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False
        )
        found[package] = done.stdout or "not there"
    return found


def describe():
    memory = first(Path("/proc/meminfo").read_text(), r"^MemTotal:\s+(\d+)", "0")
    return {
        "processor": first(Path("/proc/cpuinfo").read_text(), r"^model name\s*:\s*(.*)$"),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory) / (1 << 20), 1),
        "kernel": platform.release(),
        "distribution": first(Path("/etc/os-release").read_text(), r'^PRETTY_NAME="(.*)"$'),
        "filesystem": run(["stat", "-f", "-c", "%T", "/tmp"]).stdout.decode().strip(),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "load_before": os.getloadavg(),
    }


def sentence(machine):
    loads = [machine[key][0] for key in ("load_before", "load_after") if key in machine]
    named = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"Measured on {machine['date']} UTC: {machine['cores']} cores ({machine['processor']}),"
        f" {machine['memory_gib']} GiB, Linux {machine['kernel']}, {machine['distribution']},"
        f" stores on {machine['filesystem']}; load"
        f" {' before and '.join(f'{load:.1f}' for load in loads)} after; {named}."
    )
