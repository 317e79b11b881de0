#!/usr/bin/env bash
# Checks packaging/textfile.sh with a false postretry: whatever goes wrong, the old file stays unchanged, and no other
# file stays in the folder. The full disk needs root, for a small tmpfs.
set -euo pipefail
cd "$(dirname "$0")"
script=$PWD/textfile.sh
work=$(mktemp -d)
disk=$work/disk
trap '! mountpoint -q "$disk" || umount "$disk"; rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/metrics" "$disk"

# Makes the body of the false postretry. Its output ends as that of the real one does.
postretry_is() {
    printf '#!/bin/sh\n%s\n' "$1" > "$work/bin/postretry"
    chmod +x "$work/bin/postretry"
}
whole='printf "postretry_due_posts{platform=\"tiktok\"} 3\npostretry_runs_total 7\n"'
call() { PATH=$work/bin:/usr/bin:/bin "$script" "$@"; }
failed=0
check() { # WHAT CONDITION…
    if "${@:2}"; then echo "ok: $1"; else echo "NOT OK: $1"; failed=1; fi
}
# Exactly one file is there, and it is the old one.
unchanged_in() { [ "$(ls -A "$1")" = postretry.prom ] && [ "$(cat "$1/postretry.prom")" = "old" ]; }
keeps_old_file() { # WHAT BODY MESSAGE
    local code=0
    echo old > "$work/metrics/postretry.prom"
    postretry_is "$2"
    call "$work/metrics" > "$work/output" 2>&1 || code=$?
    check "$1: the exit code" [ "$code" -eq 1 ]
    check "$1: the message" grep -q "$3" "$work/output"
    check "$1: the old file stays" unchanged_in "$work/metrics"
}

postretry_is "$whole"
call "$work/metrics"
check "a complete file is written" [ "$(tail -n 1 "$work/metrics/postretry.prom")" = "postretry_runs_total 7" ]
check "everyone may read it" [ "$(stat -c %a "$work/metrics/postretry.prom")" = 644 ]
postretry_is "echo \"# \$*\"; $whole"
call "$work/metrics" --env-file /etc/some.env
check "options are passed on" \
    [ "$(head -n 1 "$work/metrics/postretry.prom")" = "# --env-file /etc/some.env stats --format prometheus" ]

keeps_old_file "postretry fails" "$whole; exit 5" "exit code 5"
keeps_old_file "postretry is killed" 'printf "postretry_due_po"; kill -9 $$' "exit code 137"
keeps_old_file "no output" "exit 0" "wrote nothing"
keeps_old_file "cut off within a line" 'printf "postretry_runs_total 7"' "incomplete"
keeps_old_file "cut off after a line" 'echo "postretry_due_posts 3"' "last metric"

# The script itself is told to stop while postretry runs.
echo old > "$work/metrics/postretry.prom"
postretry_is "$whole; touch '$work/started'; sleep 1"
PATH=$work/bin:/usr/bin:/bin "$script" "$work/metrics" &
until [ -e "$work/started" ]; do sleep 0.05; done
kill -TERM $!
code=0
wait $! || code=$?
check "the script is stopped: the exit code" [ "$code" -eq 143 ]
check "the script is stopped: the old file stays" unchanged_in "$work/metrics"

# A temporary file of a call that was killed.
touch -d '2 hours ago' "$work/metrics/.postretry.abcdef"
postretry_is "$whole"
call "$work/metrics"
check "what a killed call has left is removed" [ "$(ls -A "$work/metrics")" = postretry.prom ]

code=0
call "$work/nowhere" > "$work/output" 2>&1 || code=$?
check "no such folder" [ "$code" -eq 1 ]
check "no such folder: the message" grep -q "cannot create a file" "$work/output"

if mount -t tmpfs -o size=64k tmpfs "$disk" 2> /dev/null; then
    echo old > "$disk/postretry.prom"
    # One program reports the failed write; the other one, with a bug, does not.
    for exit in '' ' || exit 0'; do
        postretry_is "{ head -c 100000 /dev/zero | tr '\\0' '#' && $whole; } 2> /dev/null$exit"
        code=0
        call "$disk" > "$work/output" 2>&1 || code=$?
        check "a full disk: the exit code" [ "$code" -eq 1 ]
        check "a full disk: the old file stays" unchanged_in "$disk"
    done
else
    echo "NOT CHECKED: a full disk, because this user cannot mount a tmpfs"
fi
[ "$failed" -eq 0 ] || { echo "textfile.sh: failed" >&2; exit 1; }
