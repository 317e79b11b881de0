#!/bin/sh
# Writes postretry's metrics for the node exporter's textfile collector. The file is replaced in one step, so that the
# collector never reads half a file. If postretry cannot produce the metrics, the file stays unchanged.
#
# Usage: textfile.sh [DIRECTORY], with postretry's settings in the environment or in .env
set -eu
directory=${1:-/var/lib/prometheus/node-exporter}
temporary=$(mktemp "$directory/.postretry.XXXXXX")
trap 'rm -f "$temporary"' EXIT
postretry stats --format prometheus > "$temporary"
chmod 644 "$temporary"
mv "$temporary" "$directory/postretry.prom"
