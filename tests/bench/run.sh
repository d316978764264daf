#!/usr/bin/env bash
# Everything that DESIGN.md section 9 asks for, measured on this machine beside what one would use
# instead, as root on Debian 12: installs what is missing, builds, measures, prints one table.
# Arguments go to bench.py:
#   tests/bench/run.sh             all of it, about 20 minutes
#   tests/bench/run.sh --quick     a few minutes
set -eu

root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
export SECRETFS_BUILD=${SECRETFS_BUILD:-$root/build-caged} PYTHONDONTWRITEBYTECODE=1

packages=(
    build-essential pkg-config meson ninja-build python3
    libfuse3-dev libsodium-dev libsqlite3-dev libjansson-dev libseccomp-dev libsystemd-dev libcmocka-dev
    e2fsprogs fuse3 mount procps
    gocryptfs encfs securefs age gnupg # what it is measured against, where the distribution has it
    gnuplot-nox                        # to draw
)

installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'
}

available() {
    apt-cache policy "$1" | grep -q 'Candidate: [^(]'
}

install_missing() {
    local missing=() package
    for package in "${packages[@]}"; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    apt-get -q update
    for package in "${missing[@]}"; do
        if available "$package"; then
            DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$package"
        else
            echo "tests/bench/run.sh: the distribution has no $package; its rows are left out" >&2
        fi
    done
}

[ "$(id -u)" = 0 ] || { echo "tests/bench/run.sh: run it as root: it mounts" >&2; exit 1; }
install_missing >&2
[ -f "$SECRETFS_BUILD/build.ninja" ] || meson setup "$SECRETFS_BUILD" "$root" >&2
ninja -C "$SECRETFS_BUILD" fs/secretfs tools/secretctl bench >&2
exec /usr/bin/python3 "$root/tests/bench/bench.py" "$@"
