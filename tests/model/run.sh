#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks the collector's models and their mutants with Spin.
#   run.sh [quick|full] [name-pattern]
# Each line of variants.txt is: tier, name, model, tag, expected result, spin switches.
# Expected is "ok" (searched to the end, no error), or what may be found: the numbers of
# properties, deadlock, livelock.  A search that stops early (memory, time, depth) never
# counts as "ok".  Ends with a table; a mutant that survives, or any other surprise, fails.
# MODEL_JOBS rows are searched at once (2), with MODEL_MEMORY_MB for each (6000).

set -u
tier=${1:-quick}
only=${2:-.}
here=$(cd "$(dirname "$0")" && pwd)
command -v spin > /dev/null || { echo "spin is not installed: models not checked"; exit 77; }
CC=${CC:-cc}
build=$(mktemp -d) || exit 1
trap 'rm -rf "$build"' EXIT
trap 'exit 1' INT TERM
limit=300
depth=3000000
compress= # states that are compressed take a third longer to search
[ "$tier" = full ] && limit=900 && depth=30000000 && compress=-DCOLLAPSE
memory=${MODEL_MEMORY_MB:-6000}
jobs=${MODEL_JOBS:-2}

# quick runs rows marked q; full runs q and f.
list()
{
    sed '/^#/d; /^$/d' "$here/variants.txt" | while read -r when name rest; do
        [ "$when" = f ] && [ "$tier" != full ] && continue
        echo "$name" | grep -Eq "$only" && echo "$name $rest"
    done
}

verdict()
{
    if grep -q '^pan:1: invalid end state' "$1"; then
        echo deadlock
    elif grep -q '^pan:1: non-progress' "$1"; then
        echo livelock
    elif grep -q '^pan:1: assertion' "$1"; then
        sed -n 's/^pan:1: assertion violated .*||(\([0-9]*\)==0).*/P\1/p' "$1"
    elif grep -q 'search depth too small\|Search not completed\|out of memory' "$1"; then
        echo incomplete
    elif grep -q 'errors: 0' "$1"; then
        echo ok
    else
        echo incomplete
    fi
}

line()
{
    printf '%-10s %-24s %-17s %-12s %-10s %12s %8s%s\n' "$@"
}

# One row, in its own folder; its line goes to the file `line' there.
search()
{
    name=$1 model=$2 tag=$3 expected=$4
    shift 4
    mkdir -p "$build/$name" && cd "$build/$name" || exit 1
    kind=-DSAFETY
    args=
    status=-
    optimise=-O0 # a mutant is found soon: building costs more than searching
    [ "$expected" = ok ] && optimise=-O1
    [ "$tier" = full ] && optimise=-O2
    case " $* " in
    *" -DPROGRESS "*) kind='-DNP -DNFAIR=3'; args='-l -f' ;;
    esac
    # shellcheck disable=SC2086
    if spin -a "$@" "$here/$model.pml" > spin.out 2>&1 &&
            "$CC" $optimise -w $kind $compress -DMEMLIM="$memory" -o pan pan.c 2> cc.out; then
        timeout "$limit" ./pan -m$depth $args > pan.out 2>&1
        status=$?
        got=$(verdict pan.out)
    else
        cat spin.out cc.out 2> /dev/null
        : > pan.out
        got=broken
    fi
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.out | head -1)
    seconds=$(sed -n 's/^pan: elapsed time \([0-9.]*\) .*/\1/p' pan.out | head -1)
    case ",$expected," in
    *",$got,"*) mark= ;;
    *) mark=" <-- surprise (status $status)" ;; # 124: out of time; above 128: killed
    esac
    line "$model" "$name" "$tag" "$expected" "$got" "${states:--}" "${seconds:--}" "$mark" > line
    rm -f pan pan.?
}

# Every jobs-th row, beginning with the given one.
search_some()
{
    at=0
    # shellcheck disable=SC2086
    while read -r row; do
        at=$((at + 1))
        [ $((at % jobs)) = "$1" ] && search $row < /dev/null
    done < "$build/list"
}

list > "$build/list"
job=0
while [ "$job" -lt "$jobs" ]; do
    search_some "$job" &
    job=$((job + 1))
done
wait
line model variant tag expected verdict states seconds ''
while read -r name rest; do
    cat "$build/$name/line" 2> /dev/null || echo "$name: no result <-- surprise"
done < "$build/list" | tee "$build/table"
rows=$(wc -l < "$build/list")
failed=$(grep -c '<-- surprise' "$build/table")
echo "$((rows - failed)) passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$rows" -ne 0 ]
