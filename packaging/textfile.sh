#!/bin/sh
# Writes postretry's metrics for the node exporter's textfile collector. A new file replaces the old one in one step,
# and only if it is complete. If postretry fails, is killed, or the disk is full, the old file stays and this script
# fails. Prometheus then sees a last run that gets older, and packaging/alerts.yml reports it.
#
# Usage: textfile.sh [DIRECTORY [OPTION…]]
#   DIRECTORY  where the collector reads; default: /var/lib/prometheus/node-exporter, as on Debian
#   OPTION     an option of postretry, for example --env-file /etc/postretry/postretry.env
set -eu

directory=${1:-/var/lib/prometheus/node-exporter}
[ $# -eq 0 ] || shift

fail() {
    echo "textfile.sh: $*; \`$directory/postretry.prom\` is unchanged" >&2
    exit 1
}

# The collector reads only names that end in .prom. The folder is the same, because only then is `mv` one step.
temporary=$(mktemp "$directory/.postretry.XXXXXX") || fail "cannot create a file in \`$directory\`"
# Not every shell runs the EXIT trap when a signal ends it.
trap 'rm -f "$temporary"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
# What earlier calls have left that were killed.
find "$directory" -maxdepth 1 -name '.postretry.??????' -mmin +60 -exec rm -f {} +

postretry "$@" stats --format prometheus > "$temporary" || fail "postretry failed with exit code $?"

# A file that was cut off has no newline at its end, or not the metric that is always there and the last one.
[ -s "$temporary" ] || fail "postretry wrote nothing"
[ -z "$(tail -c 1 "$temporary")" ] || fail "the last line is incomplete"
tail -n 1 "$temporary" | grep -Eq '^postretry_runs_total [0-9]+$' || fail "the last metric is missing"

chmod 644 "$temporary"
# Otherwise a crash of the machine could leave an empty file under the new name.
sync "$temporary" || fail "cannot write to the disk"
mv -f "$temporary" "$directory/postretry.prom"
