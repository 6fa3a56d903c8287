#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh tests/support/deps.sh [main|test|ci]...
#
# Makes sure that what a task needs is installed, on Debian and its relatives:
#
#   main   compiler, build tools, the library's and the examples' dependencies
#   test   what the tests need on top of main
#   ci     what the CI matrix needs on top of test
#
# Asks the package database first and touches nothing if all is there. Else it installs
# the missing packages as root or through sudo; where it cannot, it says what is missing,
# how to install it, and fails.

# Lists of packages are strings that are split on purpose.
# shellcheck disable=SC2086
set -u

MAIN='gcc libc6-dev meson ninja-build pkg-config libatomic-ops-dev liburcu-dev zlib1g-dev
    libuv1-dev libhttp-parser-dev libunwind8'
TEST="$MAIN g++ binutils python3 libcriterion-dev spin systemtap-sdt-dev gdb valgrind"
CI="$TEST clang libclang-rt-dev"

fail()
{
    echo "deps.sh: $*" >&2
    exit 1
}

installed()
{
    state=$(dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null) || return 1
    case $state in
    *installed*) case $state in *not-installed*) return 1 ;; esac ;;
    *) return 1 ;;
    esac
}

# Prints those of its arguments that are not installed, each once.
missing_of()
{
    seen=' '
    for package; do
        case $seen in *" $package "*) continue ;; esac
        seen="$seen$package "
        installed "$package" || printf ' %s' "$package"
    done
}

# Without a Debian package database: look for the things themselves.
check_by_hand()
{
    lacking=
    for tool in cc meson ninja pkg-config; do
        command -v "$tool" >/dev/null 2>&1 || lacking="$lacking $tool"
    done
    if command -v pkg-config >/dev/null 2>&1; then
        for module in atomic_ops liburcu-bp liburcu-cds libuv; do
            pkg-config --exists "$module" || lacking="$lacking $module"
        done
    fi
    if [ -n "$lacking" ]; then
        echo "deps.sh: this is no Debian; install these with your system's packages:" >&2
        echo "   $lacking" >&2
        echo "deps.sh: the Debian names of all that is needed:$*" >&2
        exit 1
    fi
}

# Root, or sudo that does not ask where nobody can answer.
as_root()
{
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

install()
{
    by_hand="apt-get update && apt-get install$1"
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; then
        fail "missing:$1; neither root nor sudo here. As root run: $by_hand"
    fi
    echo "deps.sh: installing$1"
    as_root apt-get update -qq ||
        echo "deps.sh: apt-get update failed; trying with the lists there are" >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 $1 ||
        fail "could not install:$1; as root run: $by_hand"
}

wanted=
for set in "${@:-main}"; do
    case $set in
    main) wanted="$wanted $MAIN" ;;
    test) wanted="$wanted $TEST" ;;
    ci) wanted="$wanted $CI" ;;
    *) fail "unknown set '$set' (main, test or ci)" ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    check_by_hand "$wanted"
    exit 0
fi
missing=$(missing_of $wanted)
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null 2>&1 ||
    fail "missing:$missing; there is no apt-get here to install them with"
install "$missing"
missing=$(missing_of $wanted)
[ -z "$missing" ] || fail "still missing after the installation:$missing"
