#!/usr/bin/env bash
# Builds the Debian package and installs it in a clean root: the binary runs, the man pages are found, the units are
# sound and confined. Also what Debian's own checkers say of the man pages and the metrics.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/package
root=$work/root

cat << 'END'
== what this needs
Debian 12, root, and access to a Debian mirror, crates.io and what the build needs. It installs mandoc and debootstrap
with apt if they are missing, puts promtool and cargo-deb into target/ if they are missing, and creates a clean Debian
in target/package/root.
END

give_up() {
    echo "the package was not checked: $*" >&2
    exit 1
}
debian=$( (. /etc/os-release && echo "$ID $VERSION_ID") 2> /dev/null || true)
# On another system the program would be linked with another C library than the one in the clean root.
[ "$debian" = "debian 12" ] || give_up "this is ${debian:-no Debian}, not Debian 12"
[ "$(id -u)" = 0 ] || give_up "it needs root, to create the clean Debian and install into it"
mkdir -p "$work"

need() {
    local missing=()
    for tool in "$@"; do dpkg -s "$tool" > /dev/null 2>&1 || missing+=("$tool"); done
    [ ${#missing[@]} -eq 0 ] && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" > /dev/null ||
        give_up "apt cannot install ${missing[*]}; is a Debian mirror in reach?"
}

echo "== man pages"
need mandoc debootstrap
mandoc -T lint man/*

echo "== package"
.ci/tools cargo-deb
PATH=$PATH:$PWD/target/tools/bin
rm -f "$work"/*.deb
cargo deb --quiet --locked --profile package-check --output "$work/"
package=$(echo "$work"/*.deb)

echo "== metrics"
# Only the checker is wanted, not a running server.
if ! command -v promtool > /dev/null; then
    apt-get update -qq
    (cd "$work" && apt-get download -qq prometheus 2> /dev/null && dpkg -x prometheus_*.deb "$work/prometheus")
    PATH=$PATH:$work/prometheus/usr/bin
fi
store=$(cargo run --quiet --locked --example quickstart | sed -n 's/.*--store \(sqlite:[^ ]*\) .*/\1/p')
PATH=$PWD/target/package-check:$PATH POSTRETRY_STORE=$store packaging/textfile.sh "$work"
grep -q '^postretry_posted_total' "$work/postretry.prom"
# One name ends in _count, which the linter would rather see on a histogram; dashboards rely on it.
complaints=$(promtool check metrics < "$work/postretry.prom" 2>&1 || true)
complaints=$(grep -v '^postretry_posts_by_retry_count .*"_count" suffix$' <<< "$complaints" || true)
[ -z "$complaints" ] || { echo "$complaints"; exit 1; }
promtool check rules packaging/alerts.yml

echo "== a clean root"
rm -rf "$root"
debootstrap --variant=minbase --include=man-db,systemd,ca-certificates bookworm "$root" > "$work/debootstrap.log" ||
    give_up "debootstrap failed (target/package/debootstrap.log); is a Debian mirror in reach?"
# Without this Debian's minimal images leave man pages out.
rm -f "$root/etc/dpkg/dpkg.cfg.d/docker"
cp "$package" "$root/tmp/postretry.deb"
in_root() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }
in_root apt-get install -y -qq /tmp/postretry.deb > "$work/install.log" 2>&1 || { cat "$work/install.log"; exit 1; }
in_root postretry --version
for page in postretry postretry-run postretry-list-failed postretry-retry postretry-reset postretry-stats; do
    in_root man -w "$page" > /dev/null
done
in_root man -w postretry
in_root man -w 5 postretry
in_root systemd-analyze verify /usr/lib/systemd/system/postretry.service /usr/lib/systemd/system/postretry.timer
in_root systemd-analyze security --offline=yes --threshold=20 postretry.service | tail -n 1
[ "$(stat -c %a "$root/etc/postretry/postretry.env")" = 600 ]
in_root env POSTRETRY_STORE=sqlite:/tmp/posts.db postretry run
in_root apt-get purge -y -qq postretry > /dev/null 2>&1
[ ! -e "$root/etc/postretry/postretry.env" ]
rm -rf "$root"
echo "package: installed, run and removed"
