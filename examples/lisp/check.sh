#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh LISP: the command line, errors that nothing catches, and the REPL. TAP.

lisp=$1
out=$(mktemp)
trap 'rm -f "$out"' EXIT
n=0
echo 1..9

# expect NAME STATUS TEXT COMMAND...: both outputs together contain the text (a basic regexp)
expect()
{
    n=$((n + 1))
    name=$1
    status=$2
    text=$3
    shift 3
    "$@" >"$out" 2>&1
    got=$?
    if [ $got = "$status" ] && grep -q -e "$text" "$out"; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name: status $got"
        sed 's/^/# /' "$out"
    fi
}

expect 'an expression' 0 '^(1 2)$' "$lisp" -e '(print (list 1 2))'
expect 'statistics' 0 '^cycles [0-9]* (1 forced)' "$lisp" --stats -e '(collect)'
expect 'an error' 1 'error: car: not a pair 5' "$lisp" -e '(define (f x) (car x)) (+ 1 (f 5))'
expect 'its trace' 1 'in (f g lambda' "$lisp" \
    -e '(define (f x) (+ 1 (car x))) (define (g x) (+ 1 (f x))) (+ 1 (g 5))'
expect 'raised' 1 'raised: (1 "x")' "$lisp" -e "(raise '(1 \"x\"))"
expect 'status' 7 '^7$' "$lisp" -e '(print 7) (exit 7)'
expect 'no such file' 1 'No such file' "$lisp" /no/such/file
expect 'usage' 2 '^usage' "$lisp" --no-such-flag
printf '(define x\n 20)\n(car x)\n(* x 2)\n"a"' |
    expect 'a REPL goes on after an error' 0 '^40$' "$lisp"
