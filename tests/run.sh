#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh tests/run.sh [quick|ci|ROW...]
#
# Installs what is missing, builds, tests, and ends with one line "N passed, M failed".
# quick (the default) is one release build with every suite; ci is the whole matrix; a
# row's name runs that row alone. Build folders and logs are under build/. Rows:
#
#   quick    gcc, release, warnings are no errors: every suite
#   gcc      gcc, release with -g: unit, api, fuzz, stress, race, oom, examples
#   clang    clang, release: the same but the suite once, long tests of what no compiler changes
#   verify   gcc, debug assertions compiled in: as clang, and the suite mode, the same programs
#            in the library's other modes
#   asan     gcc, AddressSanitizer, which is told of dead objects, and
#            UndefinedBehaviorSanitizer: as clang
#   tsan     gcc, ThreadSanitizer: race and stress
#   fuzz     clang with libFuzzer and the same sanitizers: each target of tests/fuzz for
#            FUZZ_SECONDS (6); the other rows run the inputs that are kept
#   lint     the sources' rules, on the gcc row's build
#   model    the Spin model and its mutants
#   mutants  planted bugs, each of which a test must find; not part of ci, it takes long
#
# The exit status is 0 only if every row was built, ran at least one test, and no test
# failed. A row that could not be built, or that ran no test, counts as one failure.

set -u
cd "$(dirname "$0")/.." || exit 1
LC_ALL=C
export LC_ALL
# shellcheck disable=SC3045
ulimit -c 0 2>/dev/null # tests that must abort leave no core behind

ROWS_CI='gcc clang verify asan tsan fuzz lint model'
passed=0
failed=0
skipped=0

# One build folder per configuration; a changed configuration starts it afresh.
configure()
{
    folder=$1
    shift
    if [ -f "$folder/build.ninja" ] && [ "$(cat "$folder/.configured" 2>/dev/null)" = "$*" ]
    then
        return 0
    fi
    rm -rf "$folder"
    env "CC=$CC" "CXX=$CXX" meson setup "$folder" -Dtests=enabled "$@" || return 1
    echo "$*" >"$folder/.configured"
}

build_row()
{
    case $1 in
    quick)
        CC=gcc CXX=g++ configure build/quick $STRICT -Dbuildtype=release ;;
    gcc | lint | model)
        # The same code as quick's, and what the gdb commands need to know of it.
        CC=gcc CXX=g++ configure build/gcc $STRICT -Dbuildtype=release -Ddebug=true ;;
    clang)
        CC=clang CXX=clang++ configure build/clang $STRICT -Dbuildtype=release ;;
    verify)
        CC=gcc CXX=g++ configure build/verify $STRICT -Dbuildtype=debugoptimized \
            -Dverify=true -Dbenchmarks=disabled ;;
    mutants)
        return 0 ;; # it builds copies of the tree
    asan)
        CC=gcc CXX=g++ configure build/asan $STRICT -Dbuildtype=debugoptimized \
            -Ddefault_library=static -Db_sanitize=address,undefined \
            -Dasan_poison=true -Dbenchmarks=disabled ;;
    tsan)
        CC=gcc CXX=g++ configure build/tsan $STRICT -Dbuildtype=debugoptimized \
            -Ddefault_library=static -Db_sanitize=thread -Dbenchmarks=disabled ;;
    fuzz)
        CC=clang CXX=clang++ configure build/fuzz $STRICT -Dbuildtype=debugoptimized \
            -Ddefault_library=static -Db_sanitize=address,undefined -Db_lundef=false \
            -Dverify=true -Dexamples=disabled -Dbenchmarks=disabled \
            -Dc_args=-fsanitize=fuzzer-no-link ;;
    esac || return 1
    # Of the others meson's own build, which makes what their suites need, is enough.
    case $1 in
    tsan | fuzz | lint | model) return 0 ;;
    esac
    folder_of "$1"
    ninja -C "$folder"
}

folder_of()
{
    case $1 in
    gcc | lint | model) folder=build/gcc ;;
    *) folder=build/$1 ;;
    esac
}

# meson's choice of suites, and how much longer than in a release build a test may take.
test_row()
{
    if [ "$1" = mutants ]; then
        python3 tests/mutants/run.py -j "$(nproc)" --table build/mutants.md
        return
    fi
    folder_of "$1"
    case $1 in
    quick) set -- ;;
    gcc) set -- --no-suite lint --no-suite model --no-suite mode ;;
    clang) set -- --no-suite lint --no-suite model --no-suite once --no-suite mode \
        --no-suite race ;;
    verify) set -- --no-suite lint --no-suite model --no-suite compiler --no-suite once ;;
    asan) set -- --no-suite lint --no-suite model --no-suite compiler --no-suite once \
        --no-suite mode -t 4 ;;
    tsan) set -- --suite race --suite stress -t 5 ;;
    fuzz) set -- --suite fuzz ;;
    lint) set -- --suite lint ;;
    model) set -- --suite model ;;
    esac
    # Time limits are for what hangs; a machine that others load shall not reach them.
    meson test -C "$folder" --print-errorlogs -t 3 "$@"
}

# The number in one line of meson's closing table, 0 if there is none.
count_of()
{
    sed -n "s/^$1: *\([0-9][0-9]*\) *$/\1/p" "$log" | tail -n 1 | grep . || echo 0
}

# Adds the row's counts to the totals and prints them.
judge()
{
    row=$1
    status=$2
    seconds=$3
    ok=$(($(count_of Ok) + $(count_of 'Expected Fail')))
    bad=$(($(count_of Fail) + $(count_of 'Unexpected Pass') + $(count_of Timeout)))
    skip=$(count_of Skipped)
    why=
    if [ $((ok + bad)) = 0 ]; then
        bad=1
        why=' (no test was run)'
    elif [ "$status" != 0 ] && [ "$bad" = 0 ]; then
        bad=1
        why=" (meson test ended with status $status)"
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    skipped=$((skipped + skip))
    echo "row $row: $ok passed, $bad failed, $skip skipped$why, $seconds s"
}

run_row()
{
    row=$1
    log=build/$row.log
    begin=$(date +%s)
    echo "row $row: building"
    if ! build_row "$row" >"$log.build" 2>&1; then
        failed=$((failed + 1))
        grep -A 20 -e '^FAILED' -e 'ERROR' "$log.build" | head -n 80
        echo "row $row: 0 passed, 1 failed (the build; all of it is in $log.build)"
        return
    fi
    test_row "$row" >"$log" 2>&1
    status=$?
    [ "$status" = 0 ] || grep -v -e ' OK  ' -e '^ok ' "$log" | tail -n 200
    # What a failed assertion of Criterion's said is in that log alone, too.
    [ "$status" = 0 ] || grep -h -A 8 '^not ok' "$folder/meson-logs/testlog.txt" | head -n 80
    # What each fuzz target did, from the log that meson keeps beside its own output.
    [ "$row" != fuzz ] || grep -h '^fuzz ' build/fuzz/meson-logs/testlog.txt
    judge "$row" "$status" $(($(date +%s) - begin))
}

set -- "${@:-quick}"
# shellcheck disable=SC2086
[ "$*" != ci ] || set -- $ROWS_CI
for row; do
    case " quick mutants $ROWS_CI " in
    *" $row "*) ;;
    *)
        echo "run.sh: unknown row '$row'; there are: quick mutants ci $ROWS_CI" >&2
        exit 2
        ;;
    esac
done

# Users build with whatever compiler they have: there a warning is no error.
packages=ci
STRICT=--werror
if [ "$*" = quick ]; then
    packages='test'
    STRICT=
fi
sh tests/support/deps.sh "$packages" || exit 1
mkdir -p build
for row; do
    run_row "$row"
done
if [ "$skipped" = 0 ]; then
    echo "$passed passed, $failed failed"
else
    echo "$passed passed, $failed failed, $skipped skipped"
fi
[ "$failed" = 0 ]
