#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh examples/lookup/check.sh FOLDER
#
# Tests the service as a whole, with the programs in FOLDER: bad command lines are refused,
# every endpoint answers well and badly put requests, a second server does not steal the
# port, two seconds of load pass without an error, and SIGTERM ends it with status 0.

set -u
bin=$1
work=$(mktemp -d) || exit 1
server=
failed=0

# shellcheck disable=SC2317 # called by the trap
cleanup()
{
    [ -n "$server" ] && kill "$server" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

# expect NAME STATUS TEXT COMMAND...: the command's status, and a text in what it says.
expect()
{
    name=$1 status=$2 text=$3
    shift 3
    "$@" >"$work/out" 2>&1
    got=$?
    if [ $got != "$status" ]; then
        echo "FAIL $name: status $got and not $status"
    elif ! grep -q -e "$text" "$work/out"; then
        echo "FAIL $name: it does not say '$text'"
    else
        echo "ok   $name"
        return
    fi
    cat "$work/out"
    failed=1
}

# refused PROGRAM FLAG: a bad value ends the program with status 2 and the flag's name.
refused()
{
    expect "$1 refuses $2" 2 "^--${2%%=*}\|${2%%=*}" "$bin/$1" "--$2"
}

for flag in records=0 records=12x records=-1 live-mb= payload=9999999 port=65536 loops=x \
    gogc=high gogc=-5 replace-rate=1e3 duration=-1 duration=nan patience=0 \
    connections=0 seed=18446744073709551616 nonsense=1; do
    refused lookup-server "$flag"
done
for flag in port=0 rate=0 rate=fast duration=0 connections=0 schedule=random zipf=1 \
    bin=101 miss=-1 timeout=0; do
    refused loadgen "$flag"
done
expect "loadgen needs a port" 2 '^--port' "$bin/loadgen"
expect "a bad GCRT_GOGC is refused" 1 GCRT_GOGC \
    env GCRT_GOGC=much "$bin/lookup-server" --records=10 --port=0 --duration=0.1
expect "--duration ends the server" 0 'requests 0' \
    "$bin/lookup-server" --records=10 --port=0 --duration=0.2 --gogc=off

"$bin/lookup-server" --records=20000 --port=0 --port-file="$work/port" --patience=1 \
    --replace-rate=20000 --seed=7 --stats="$work/server" >"$work/log" 2>&1 &
server=$!
tries=0
while [ ! -f "$work/port" ]; do
    if ! kill -0 "$server" 2>/dev/null || [ $tries -ge 300 ]; then
        cat "$work/log"
        echo "FAIL the server did not start"
        exit 1
    fi
    tries=$((tries + 1))
    sleep 0.1
done
read -r port <"$work/port"

expect "a second server does not share the port" 1 '--port' \
    "$bin/lookup-server" --records=10 --port="$port" --duration=1
expect "the probe's checks hold" 0 '^ok 20 ' "$bin/lookup-probe" "$port"
expect "two seconds of load pass" 0 'errors      0:' \
    "$bin/loadgen" --port="$port" --rate="${RATE:-2000}" --duration=2 --warmup=0.2 \
    --connections=16 --verify=4 --stats="$work/load"
expect "fixed gaps and JSON alone pass, too" 0 'errors      0:' \
    "$bin/loadgen" --port="$port" --rate=500 --duration=1 --warmup=0.2 \
    --schedule=fixed --bin=0 --miss=10
kill "$server"
wait "$server"
status=$?
server=
if [ $status != 0 ]; then
    cat "$work/log"
    echo "FAIL SIGTERM ended the server with status $status"
    failed=1
fi
expect "the report agrees" 0 'all requests were answered' \
    "$bin/lookup-report" "$work/server" "$work/load"
expect "without a server the load generator says so" 1 'nothing answers' \
    "$bin/loadgen" --port="$port"
exit $failed
