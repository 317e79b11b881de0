#!/bin/sh
# Writes the figures of postretry for the node exporter's textfile collector: the file is replaced in one step, so that
# the collector never reads half of it, and stays as it is where the figures cannot be had.
#
# Usage: textfile.sh [DIRECTORY], with the settings of postretry in the environment or in .env
set -eu
directory=${1:-/var/lib/prometheus/node-exporter}
temporary=$(mktemp "$directory/.postretry.XXXXXX")
trap 'rm -f "$temporary"' EXIT
postretry stats --format prometheus > "$temporary"
chmod 644 "$temporary"
mv "$temporary" "$directory/postretry.prom"
