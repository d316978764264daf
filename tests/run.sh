#!/usr/bin/env bash
# Everything that must hold, on a fresh Debian 12, as root: installs what is missing, builds with
# AddressSanitizer and UndefinedBehaviorSanitizer, runs every suite, those of several threads with
# ThreadSanitizer too, and closes with one line "N passed, N failed". Skips count as failures. Arguments go to pytest and leave the rest out:
#   tests/run.sh                                everything
#   tests/run.sh -k rotation                    some of the Python tests
# shellcheck disable=SC2317 # functions are called by check()
# shellcheck disable=SC2030,SC2031 # what static checks change in their subshell is meant for it
set -u

root=$(dirname "$(dirname "$(readlink -f "$0")")")
build=${SECRETFS_BUILD:-$root/build-test}
caged=$root/build-caged
raced=$root/build-tsan
logs=$(mktemp -d /tmp/secretfs-tests.XXXXXX)
static_group=
trap '[ -z "$static_group" ] || kill -- "-$static_group" 2>/dev/null; rm -rf "$logs"' EXIT
processes=$(($(nproc) + 1)) # most tests wait most of the time
passed=0 failed=0

packages=(
    build-essential pkg-config meson ninja-build                                  # to build
    libfuse3-dev libsodium-dev libsqlite3-dev libjansson-dev libseccomp-dev libsystemd-dev libcmocka-dev
    clang clang-tidy clang-format cppcheck libclang-rt-14-dev mandoc              # to check
    python3 python3-pytest python3-pytest-xdist python3-dotenv python3-watchdog   # to test
    acl attr binutils fuse3 mount passwd procps strace systemd util-linux valgrind
    curl nodejs nginx-light openssh-client openssh-server openssl postgresql      # real clients
)

say() {
    printf '\n== %s (after %d s)\n' "$*" "$SECONDS"
}

finish() {
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
    exit
}

give_up() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    failed=$((failed + 1))
    finish
}

# One test: a command that must succeed. Its output is shown only when it does not.
check() {
    local name=$1
    shift
    if "$@" >"$logs/check" 2>&1; then
        passed=$((passed + 1))
        printf 'ok   %s\n' "$name"
    else
        failed=$((failed + 1))
        printf 'FAIL %s\n' "$name"
        cat "$logs/check"
    fi
}

installed() {
    case $1 in
    nodejs) command -v node >/dev/null ;; # may have come from elsewhere
    *) dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed' ;;
    esac
}

# Servers that come with the packages are not started: the tests start their own, on their own ports.
install_missing() {
    local missing=() package status policy=/usr/sbin/policy-rc.d
    for package in "${packages[@]}"; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    if [ -e "$policy" ]; then
        policy=
    else
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update && apt-get -q install -y --no-install-recommends "${missing[@]}"
    status=$?
    [ -n "$policy" ] && rm -f "$policy"
    return $status
}

# A folder, what to build there (all: nothing said), and after -- the options of the build.
build_in() {
    local folder=$1 targets=()
    shift
    while [ "$1" != -- ]; do
        targets+=("$1")
        shift
    done
    shift
    say "building in $folder"
    if [ ! -f "$folder/build.ninja" ]; then
        meson setup "$folder" "$root" --buildtype=debugoptimized -Dwerror=true "$@" || return
    fi
    ninja -C "$folder" "${targets[@]}"
}

programs=(fs/secretfs tools/secretctl)
benches=(tests/bench/bench_confirm tests/bench/bench_fill tests/bench/bench_steps)
with_threads=(fs_callers fs_pool fs_reads fs_tree fs_tree_changes fs_tree_lists fs_values load store_follow store_write threads)

# Less is optimized, which takes half the time; where strings are cut the compiler knows less then, too.
sanitized=(-Doptimization=1 -Dc_args=-Wno-format-truncation -Db_lundef=false)

# Sanitizers need system calls and files that the worker's cage forbids, so it is tested without them.
build_all() {
    build_in "$build" -- "${sanitized[@]}" -Db_sanitize=address,undefined &&
        build_in "$caged" "${programs[@]}" tests/unit/test_fs_sandbox tests/unit/test_damage "${benches[@]}" -- &&
        build_in "$raced" "${programs[@]}" tests/bench/bench_fill "${with_threads[@]/#/tests/unit/test_}" -- \
            "${sanitized[@]}" -Db_sanitize=thread
}

formatting() {
    find store fs tools tests -name '*.[ch]' -print0 | xargs -0 clang-format --dry-run -Werror
}

tidy() {
    find store fs tools -name '*.c' -print0 |
        xargs -0 -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet --warnings-as-errors='*' \
            --extra-arg=-Wno-unknown-warning-option \
            --extra-arg=-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang
}

analyse() {
    cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr \
        --std=c11 --suppress=missingIncludeSystem -j "$(nproc)" -D_GNU_SOURCE store fs tools
}

manual_pages() {
    local pages
    pages=$(find fs tools -name '*.[18]' | sort)
    [ -n "$pages" ] || { echo "there are no manual pages"; return 1; }
    # shellcheck disable=SC2086 # several words
    mandoc -T lint -W warning $pages
}

static_checks() {
    check "clang-format" formatting
    check "mandoc" manual_pages
    check "cppcheck" analyse
    check "clang-tidy" tidy
}

# They take what processor time the tests leave over, and disturb none: whoever else wants to run does
# so at once. Their output comes when they are waited for, and so does their turn then at the latest.
begin_static_checks() {
    set -m # a process group of their own
    (
        chrt --idle --pid 0 "$BASHPID"
        logs=$logs/static passed=0 failed=0
        mkdir "$logs"
        static_checks >"$logs/output"
        echo "$passed $failed" >"$logs/counts"
    ) &
    static_group=$!
    set +m
}

end_static_checks() {
    local pid good=0 bad=1
    say "static checks, begun beside the tests"
    for pid in $(pgrep --pgroup "$static_group"); do
        chrt --other --pid 0 "$pid" 2>/dev/null
    done
    wait "$static_group"
    static_group=
    cat "$logs/static/output"
    read -r good bad <"$logs/static/counts"
    passed=$((passed + good))
    failed=$((failed + bad))
}

# Add up a report; none, or an empty one, is a failure.
count() {
    local good bad
    read -r good bad < <(/usr/bin/python3 tests/count.py "$1")
    passed=$((passed + good))
    failed=$((failed + bad))
}

unit_tests() {
    say "unit tests"
    rm -f "$build/meson-logs/testlog.json"
    meson test -C "$build" --num-processes "$processes" --print-errorlogs # some wait for locks
    count "$build/meson-logs/testlog.json"
}

# What is about secretctl, not about the daemon.
without_daemon=(test_check.py test_cli.py test_layout.py test_limits.py test_rotate.py test_store_v1.py test_tamper.py
    test_terminal.py test_watch.py)

caged_tests() {
    say "the worker in its cage"
    rm -f "$caged/meson-logs/testlog.json"
    meson test -C "$caged" --no-rebuild --print-errorlogs fs_sandbox
    count "$caged/meson-logs/testlog.json"
    # With sanitizers, which take twice the time, there are fewer.
    check "damage of every 16th byte, and by every two pages" env SECRETFS_DAMAGE_EVERY=16 \
        SECRETFS_DAMAGE_PAIRS=1 "$caged/tests/unit/test_damage"
    SECRETFS_BUILD=$caged python_tests tests/integration "${without_daemon[@]/#/--ignore=tests/integration/}"
    check "soak, the short form" env SECRETFS_BUILD="$caged" /usr/bin/python3 tests/soak.py \
        --opens 20000 --rotations 200 --restarts 5
    # Bars that a busy machine can't miss; those of DESIGN.md are for --bars without numbers.
    check "confirmations, the short form" env SECRETFS_BUILD="$caged" /usr/bin/python3 \
        tests/bench/confirm.py --puts 200 --bars 100 1000
    check "instructions of an open, a read, a load, a put" env SECRETFS_BUILD="$caged" /usr/bin/python3 \
        tests/bench/instructions.py
}

# Whatever has threads, and time for it. Killing workers shows no race, and in this build fails a
# call: its malloc leaves the pages of a request untouched, for which the kernel says EIO where the
# reader dies before they are there.
raced_tests() {
    say "the threads under ThreadSanitizer"
    rm -f "$raced/meson-logs/testlog.json"
    meson test -C "$raced" --no-rebuild --print-errorlogs "${with_threads[@]}"
    count "$raced/meson-logs/testlog.json"
    SECRETFS_BUILD=$raced python_tests tests/integration/test_rotation.py \
        tests/integration/test_survival.py tests/integration/test_daemon.py \
        -k "not workers_are_killed and not no_commit_is_missed"
}

# Arguments are pytest's.
pytest() {
    /usr/bin/python3 -m pytest -p no:cacheprovider -ra -q --durations=10 -o junit_family=xunit1 \
        --junit-xml="$logs/pytest.xml" "$@"
    count "$logs/pytest.xml"
}

# Those that measure how long a call takes run alone.
python_tests() {
    say "integration tests and real clients"
    pytest -n "$processes" --dist loadgroup -m "not alone" "$@"
    say "those that measure time"
    pytest -m alone "$@"
}

# Reports of programs whose test did not notice.
sanitizer_reports() {
    /usr/bin/python3 tests/sanitizers.py "$SECRETFS_SANITIZER_LOGS"
}

[ "$(id -u)" = 0 ] || give_up "the tests mount and change users: run them as root"
[ -c /dev/fuse ] || modprobe fuse || give_up "there is no /dev/fuse"
cd "$root" || give_up "cannot enter $root"
install_missing || give_up "cannot install the packages the tests need"

export SECRETFS_BUILD=$build SECRETFS_SANITIZER_LOGS=$logs/sanitizers PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:exitcode=99
# Other bytes are damaged every day; tests/unit/test_damage.c says which.
export SECRETFS_DAMAGE_SHIFT=${SECRETFS_DAMAGE_SHIFT:-$(($(date +%s) / 86400))}
export TSAN_OPTIONS=halt_on_error=0:exitcode=99:log_path=$SECRETFS_SANITIZER_LOGS/tsan
ASAN_OPTIONS+=:log_path=$SECRETFS_SANITIZER_LOGS/asan
UBSAN_OPTIONS+=:log_path=$SECRETFS_SANITIZER_LOGS/ubsan
mkdir "$SECRETFS_SANITIZER_LOGS"
chmod 755 "$logs" && chmod 1777 "$SECRETFS_SANITIZER_LOGS"

build_all || give_up "the build failed"
if [ $# -gt 0 ]; then
    pytest tests/integration tests/clients "$@"
else
    begin_static_checks
    unit_tests
    caged_tests
    raced_tests
    python_tests tests/integration tests/clients
    end_static_checks
fi
check "no sanitizer report" sanitizer_reports
finish
