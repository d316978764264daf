#!/usr/bin/env bash
# From nothing to a served secret, on a fresh Debian 12, as root: installs what a build needs, builds, makes a
# store with a key file, puts secrets with different owners into it, mounts it, reads one as
# the user who may and as one who may not, and rotates it. Leaves it mounted. May be run again and again.
set -euo pipefail
cd "$(dirname "$0")/.."

mountpoint=${1:-/run/secrets}
build=build-quickstart
export SECRETFS_STORE=${SECRETFS_STORE:-/var/lib/secretfs/store.db}
export SECRETFS_KEY_FILE=${SECRETFS_KEY_FILE:-/etc/secretfs/key}
log=/run/secretfs-quickstart.log

say() { if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }
run() { printf '  # %s\n' "$*"; "$@" 2>&1 | sed 's/^/  /'; }
as() { setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups "${@:2}"; }

[ "$(id -u)" = 0 ] || { echo "quickstart: run it as root: it mounts a filesystem" >&2; exit 1; }
[ -c /dev/fuse ] || modprobe fuse || { echo "quickstart: this kernel has no FUSE" >&2; exit 1; }

say "1. Packages"
packages=(gcc pkg-config meson ninja-build libfuse3-dev libsodium-dev libsqlite3-dev libjansson-dev libseccomp-dev)
missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "  ${packages[*]}: here"

say "2. Build"
[ -f $build/build.ninja ] || meson setup $build --buildtype=release -Dtests=false >/dev/null
ninja -C $build | tail -n 1 | sed 's/^/  /'
PATH=$PWD/$build/tools:$PWD/$build/fs:$PATH

say "3. A store and its key"
if [ -e "$SECRETFS_STORE" ]; then
    echo "  $SECRETFS_STORE is there already"
else
    run secretctl init
fi

say "4. Secrets: values come from standard input, a file or a generator, never from the command line"
run secretctl put -p db/password --generate password:24 --owner nobody --description "Password of the database"
run secretctl put -p web/tls.key --generate base64:32 --acl u:www-data:r
printf 'API_TOKEN=%s\n' "example-$RANDOM" | secretctl put -p web/app.env --owner www-data --mode 0440
run secretctl ls -l -R

say "5. Mount"
if grep -q " $mountpoint .* - fuse.secretfs " /proc/self/mountinfo && ls "$mountpoint" >/dev/null 2>&1; then
    echo "  $mountpoint is served already"
else
    echo "  # secretfs $SECRETFS_STORE $mountpoint &"
    setsid secretfs "$SECRETFS_STORE" "$mountpoint" </dev/null >"$log" 2>&1 &
    for _ in $(seq 100); do
        grep -q '^secretfs: ' "$log" && break
        sleep 0.05
    done
    sed 's/^/  /' "$log"
    grep -q '^secretfs: serving' "$log" || exit 1
fi
run ls -lR "$mountpoint"

say "6. The kernel decides who reads"
echo "  nobody reads db/password:    $(as nobody cat "$mountpoint/db/password" | wc -c) bytes"
echo "  www-data reads db/password:  $(as www-data cat "$mountpoint/db/password" 2>&1 || true)"
echo "  www-data reads web/tls.key:  $(as www-data cat "$mountpoint/web/tls.key" | wc -c) bytes, by its ACL"

say "7. Rotate: a new version, seen at once, its inode another"
before=$(stat -c %i "$mountpoint/db/password")
old=$(sha256sum <"$mountpoint/db/password")
run secretctl put db/password --generate password:24
for _ in $(seq 100); do
    [ "$(stat -c %i "$mountpoint/db/password")" != "$before" ] && break
    sleep 0.02
done
new=$(sha256sum <"$mountpoint/db/password")
[ "$old" != "$new" ] || { echo "quickstart: the rotation was not seen" >&2; exit 1; }
echo "  sha256 before: ${old:0:16}…   after: ${new:0:16}…"
run secretctl versions db/password

say "It runs. To stop it:  umount $mountpoint"
record=$SECRETFS_STORE-audit.jsonl
[ "$SECRETFS_STORE" != /var/lib/secretfs/store.db ] || record=/var/log/secretfs
echo "To remove what it made: rm -r $SECRETFS_STORE $(dirname "$SECRETFS_STORE")/anchor $record $SECRETFS_KEY_FILE"
