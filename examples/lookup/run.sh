#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh examples/lookup/run.sh [BUILD]
#
# The main example: starts the lookup service with at least 256 MiB of live data on a gcrt
# heap, drives it with an open-loop load for ten seconds, and prints one report. With a
# build folder it only runs what is there; without one it first installs what is missing,
# and builds in build/main.
#
# From the environment, all optional:
#   RATE         requests a second                          8000
#   DURATION     seconds of load, a warm-up of 1 included   11
#   CONNECTIONS  keep-alive connections                     64
#   SERVER_ARGS  more flags for lookup-server               e.g. "--live-mb=512"
#   LOAD_ARGS    more flags for loadgen                     e.g. "--schedule=fixed"
#   GCRT_GOGC    heap growth in percent                     100
#   GCRT_DEBUG   e.g. gctrace=1 for a line per cycle
#
# The exit status is 0 only if every request was answered as expected.

# SERVER_ARGS and LOAD_ARGS are lists that are split on purpose.
# shellcheck disable=SC2086
set -u
top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1

if [ $# -gt 0 ]; then
    build=$1
else
    build=$top/build/main
    sh "$top/tests/support/deps.sh" main || exit 1
    if [ ! -f "$build/build.ninja" ]; then
        (cd "$top" && meson setup "$build" -Dtests=disabled -Dbenchmarks=disabled \
            -Dexamples=enabled -Dbuildtype=release) || exit 1
    fi
    ninja -C "$build" || exit 1
fi
bin=$build/examples/lookup
if [ ! -x "$bin/lookup-server" ]; then
    echo "run.sh: there is no lookup-server in $bin" >&2
    exit 1
fi

work=$(mktemp -d) || exit 1
server=
cleanup()
{
    [ -n "$server" ] && kill "$server" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

"$bin/lookup-server" --port=0 --port-file="$work/port" --stats="$work/server" \
    ${SERVER_ARGS:-} &
server=$!
tries=0
while [ ! -f "$work/port" ]; do
    if ! kill -0 "$server" 2>/dev/null || [ $tries -ge 1200 ]; then
        echo "run.sh: the server did not start" >&2
        exit 1
    fi
    tries=$((tries + 1))
    sleep 0.1
done
read -r port <"$work/port"

load=0
"$bin/loadgen" --port="$port" --rate="${RATE:-8000}" --duration="${DURATION:-11}" \
    --connections="${CONNECTIONS:-64}" --stats="$work/load" ${LOAD_ARGS:-} \
    >"$work/loadgen.out" || load=$?
kill "$server" 2>/dev/null
wait "$server"
status=$?
server=

if [ "$status" != 0 ] || [ "$load" != 0 ]; then
    cat "$work/loadgen.out"
    echo "run.sh: server ended with status $status, load generator with $load" >&2
    [ -f "$work/server" ] && [ -f "$work/load" ] &&
        "$bin/lookup-report" "$work/server" "$work/load"
    exit 1
fi
echo
"$bin/lookup-report" "$work/server" "$work/load" || exit 1
cat <<END

by hand
  $bin/lookup-server --port=8080
and in another terminal
  curl 'http://127.0.0.1:8080/lookup?key=42'
  curl -s 'http://127.0.0.1:8080/lookup?key=42&fmt=bin' | od -c | head
  curl 'http://127.0.0.1:8080/debug/allocs'
  curl 'http://127.0.0.1:8080/metrics'
  $bin/loadgen --port=8080 --rate=8000
END
