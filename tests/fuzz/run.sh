#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh NAME PROGRAM CORPUS FOLDER DICTIONARY
#
# Runs one libFuzzer target for FUZZ_SECONDS (6) from the kept corpus and ends with one line
# that says how much was done.  New inputs go to FOLDER/new and are used again by the next
# run; an input that shows a bug goes to FOLDER/found, and libFuzzer's output to FOLDER/log.

set -u
name=$1
program=$2
corpus=$3
folder=$4
dictionary=$5
seconds=${FUZZ_SECONDS:-6}

mkdir -p "$folder/new" "$folder/found"
# Leaks are looked for at the end only: memory that a heap holds looks leaked while it lives.
set -- -max_total_time="$seconds" -timeout=60 -detect_leaks=0 -print_final_stats=1 \
    -max_len=1024 -len_control=2 -artifact_prefix="$folder/found/"
[ ! -f "$dictionary" ] || set -- "$@" -dict="$dictionary"
"$program" "$@" "$folder/new" "$corpus" >"$folder/log" 2>&1
status=$?
[ "$status" = 0 ] || tail -n 60 "$folder/log"

seed=$(sed -n 's/^INFO: Seed: //p' "$folder/log")
done=$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/log")
edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$folder/log" | tail -n 1)
echo "fuzz $name: ${done:-no} executions in $seconds s, ${edges:-no} edges, seed ${seed:-unknown}"
[ "$status" = 0 ] && [ "${done:-0}" -gt 0 ]
