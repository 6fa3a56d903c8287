#!/bin/sh
# SPDX-License-Identifier: MIT
# Checks the collector's models and their mutants with Spin.
#   run.sh [quick|full] [name-pattern]
# Each line of the list is: tier, name, model, expected result, spin switches.  Expected is
# "ok" (searched to the end, no error) or the numbers of the properties that may fail.  A
# search that stops early (memory, time, depth) never counts as "ok".

set -u
tier=${1:-quick}
only=${2:-.}
here=$(cd "$(dirname "$0")" && pwd)
command -v spin > /dev/null || { echo "spin is not installed: models not checked"; exit 77; }
CC=${CC:-cc}
build=$(mktemp -d) || exit 1
trap 'rm -rf "$build"' EXIT
trap 'exit 1' INT TERM
limit=40
optimise=-O1 # in quick, building costs more than searching
[ "$tier" = full ] && limit=900 && optimise=-O2
depth=3000000
[ "$tier" = full ] && depth=30000000
memory=${MODEL_MEMORY_MB:-6000}

# quick runs rows marked q; full runs q and f.
list()
{
    # Leaving the model's comments out keeps this readable: see README.md for every row.
    sed -n '/^#/d; /./p' "$here/variants.txt"
}

verdict()
{
    if grep -q 'invalid end state' "$1" && grep -q '^pan:1: invalid' "$1"; then
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

passed=0
failed=0
printf '%-26s %-10s %-10s %12s %8s\n' variant expected verdict states seconds
list > "$build/list"
while read -r when name model expected switches; do
    [ "$when" = f ] && [ "$tier" != full ] && continue
    echo "$name" | grep -Eq "$only" || continue
    mkdir -p "$build/$name"
    cd "$build/$name" || exit 1
    search=-DSAFETY
    args=
    case " $switches " in
    *" -DPROGRESS "*) search='-DNP -DNFAIR=3'; args='-l -f' ;;
    esac
    # shellcheck disable=SC2086
    if spin -a $switches "$here/$model.pml" > spin.out 2>&1 &&
            "$CC" $optimise -w $search -DCOLLAPSE -DMEMLIM="$memory" -o pan pan.c 2> cc.out; then
        timeout "$limit" ./pan -m$depth $args > pan.out 2>&1
        got=$(verdict pan.out)
    else
        cat spin.out cc.out 2> /dev/null
        : > pan.out
        got=broken
    fi
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.out | head -1)
    seconds=$(sed -n 's/^pan: elapsed time \([0-9.]*\) .*/\1/p' pan.out | head -1)
    case ",$expected," in
    *",$got,"*) passed=$((passed + 1)) mark= ;;
    *) failed=$((failed + 1)) mark=' <-- surprise' ;;
    esac
    printf '%-26s %-10s %-10s %12s %8s%s\n' "$name" "$expected" "$got" "${states:--}" \
            "${seconds:--}" "$mark"
    cd "$build" && rm -rf "${build:?}/$name"
done < "$build/list"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
