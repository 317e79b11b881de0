#!/usr/bin/env bash
# Builds the Debian package and installs it in a clean root: the binary runs, the man pages are found, the units are
# valid and sandboxed, and the crontab line works. Also checks the man pages with mandoc, and the metrics, the alerts
# and the dashboard with Debian's Prometheus.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/package
root=$work/root

cat << 'END'
== what this needs
Debian 12, root, and access to a Debian mirror, crates.io and what the build needs. It installs mandoc, debootstrap and
python3 with apt if they are missing, puts Prometheus and cargo-deb into target/ if they are missing, and creates a
clean Debian in target/package/root. Prometheus runs for a few seconds, on the loopback address.
END

give_up() {
    echo "the package was not checked: $*" >&2
    exit 1
}
# shellcheck source=/dev/null
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
        give_up "apt cannot install ${missing[*]}; can this host reach a Debian mirror?"
}

echo "== man pages"
need mandoc debootstrap python3
mandoc -T lint man/*

echo "== package"
.ci/tools cargo-deb
PATH=$PATH:$PWD/target/tools/bin
rm -f "$work"/*.deb
# It is installed and run, and need not be fast, so a debug build is enough.
cargo deb --quiet --locked --profile dev --output "$work/"
package=$(echo "$work"/*.deb)

echo "== metrics"
packaging/textfile_test.sh
# The programs of the package are enough; it is not installed, because that would start a server.
if ! command -v promtool > /dev/null || ! command -v prometheus > /dev/null; then
    apt-get update -qq
    rm -f "$work"/prometheus_*.deb
    (cd "$work" && apt-get download -qq prometheus 2> /dev/null && dpkg -x prometheus_*.deb "$work/prometheus") ||
        give_up "apt cannot download prometheus; can this host reach a Debian mirror?"
    PATH=$PATH:$work/prometheus/usr/bin
fi
store=$(cargo run --quiet --locked --example quickstart | sed -n 's/.*--store \(sqlite:[^ ]*\) .*/\1/p')
PATH=$PWD/target/debug:$PATH POSTRETRY_STORE=$store packaging/textfile.sh "$work"
promtool check metrics < "$work/postretry.prom"
promtool check rules packaging/alerts.yml
promtool test rules packaging/alerts_test.yml
packaging/dashboard_test.py "$work/postretry.prom"

echo "== a clean root"
rm -rf "$root"
debootstrap --variant=minbase --include=man-db,systemd,ca-certificates bookworm "$root" > "$work/debootstrap.log" ||
    give_up "debootstrap failed (target/package/debootstrap.log); can this host reach a Debian mirror?"
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
# The operator's settings: a store, and one platform, which is not called because no post is due.
sed -i -e 's|^POSTRETRY_STORE=$|POSTRETRY_STORE=sqlite:/tmp/posts.db|' \
    -e 's|^TIKTOK_ACCESS_TOKEN=$|TIKTOK_ACCESS_TOKEN=no-such-token|' "$root/etc/postretry/postretry.env"
in_root postretry stats
in_root postretry run
# The way cron starts a command. It would send any output by mail, so there must be none.
as_cron() { # COMMAND
    local mail code=0
    mail=$(chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root /bin/sh -c "cd && $1" 2>&1) || code=$?
    [ $code -ne 0 ] || [ -n "$mail" ] || return 0
    echo "cron: \`$1\` ended with exit code $code and wrote: $mail" >&2
    exit 1
}
examples=/usr/share/doc/postretry/examples
line=$(sed -nE 's/^7( +\S+){4} +root +//p' "$root$examples/postretry.cron")
[ -n "$line" ] || { echo "postretry.cron has no line for root" >&2; exit 1; }
as_cron "$line"
as_cron "$examples/textfile.sh /tmp"
grep -q '^postretry_runs_total [1-9]' "$root/tmp/postretry.prom"
in_root apt-get purge -y -qq postretry > /dev/null 2>&1
[ ! -e "$root/etc/postretry/postretry.env" ]
rm -rf "$root"
echo "package: installed, run and removed"
