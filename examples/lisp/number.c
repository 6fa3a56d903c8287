/* SPDX-License-Identifier: MIT */
/*
 * Numbers.
 *
 * Purpose: arithmetic beyond what the VM does itself: flonums, mixtures, overflow, division.
 * Semantics: integers have 63 bits; a result that needs more is a flonum.  An operation with
 * a flonum gives a flonum.
 * Place: the VM's slow paths, and primitives.  No pointers are held across allocation.
 */
#include "prims.h"

#include <math.h>

static double
number_of(struct vm *vm, value v)
{
    if (is_fixnum(v))
        return (double)fixnum_of(v);
    return ((const struct flonum *)vm_want(vm, "arithmetic", FLONUM, v))->number;
}

static value
integer(__int128 i, double otherwise)
{
    return i >= FIXNUM_MIN && i <= FIXNUM_MAX ? fixnum((int64_t)i) : flonum(otherwise);
}

#define OPERATION(name, op)                                                                \
    value number_##name(struct vm *vm, value a, value b)                                   \
    {                                                                                      \
        double x = number_of(vm, a), y = number_of(vm, b);                                 \
                                                                                           \
        if (is_fixnum(a) && is_fixnum(b))                                                  \
            return integer((__int128)fixnum_of(a) op fixnum_of(b), x op y);                \
        return flonum(x op y);                                                             \
    }
OPERATION(add, +)
OPERATION(subtract, -)
OPERATION(multiply, *)
#undef OPERATION

int
number_compare(struct vm *vm, value a, value b)
{
    double x = number_of(vm, a), y = number_of(vm, b);

    if (is_fixnum(a) && is_fixnum(b))
        return (fixnum_of(a) > fixnum_of(b)) - (fixnum_of(a) < fixnum_of(b));
    return isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
}

/* ---- primitives ---- */

#define FOLD(name, start, operate)                                                         \
    static value prim_##name(struct vm *vm, value *arg, uint32_t n)                        \
    {                                                                                      \
        value sum = n == 0 ? fixnum(start) : n == 1 ? operate(vm, fixnum(start), arg[0])   \
                                                    : arg[0];                              \
                                                                                           \
        for (uint32_t i = 1; i < n; i++)                                                   \
            sum = operate(vm, sum, arg[i]); /* its arguments are read before it allocates */\
        return sum;                                                                        \
    }
FOLD(add, 0, number_add)
FOLD(subtract, 0, number_subtract)
FOLD(multiply, 1, number_multiply)
#undef FOLD

#define ORDER(name, relation)                                                              \
    static value prim_##name(struct vm *vm, value *arg, uint32_t n)                        \
    {                                                                                      \
        bool holds = true;                                                                 \
                                                                                           \
        for (uint32_t i = 1; i < n; i++) {                                                 \
            int order = number_compare(vm, arg[i - 1], arg[i]);                            \
                                                                                           \
            holds = holds && order != 2 && order relation 0;                               \
        }                                                                                  \
        return boolean(holds);                                                             \
    }
ORDER(less, <)
ORDER(at_most, <=)
ORDER(more, >)
ORDER(at_least, >=)
ORDER(same, ==)
#undef ORDER

PRIM(divide)
{
    value a = n == 1 ? fixnum(1) : arg[0], b = arg[n - 1];
    double y = number_of(vm, b);

    if (b == fixnum(0))
        vm_fail(vm, a, "division by zero");
    if (is_fixnum(a) && is_fixnum(b) && fixnum_of(a) % fixnum_of(b) == 0)
        return integer((__int128)fixnum_of(a) / fixnum_of(b), number_of(vm, a) / y);
    return flonum(number_of(vm, a) / y);
}

static int64_t
divisor(struct vm *vm, const value *arg)
{
    vm_want(vm, "integer division", FIXNUM, arg[0]);
    vm_want(vm, "integer division", FIXNUM, arg[1]);
    if (arg[1] == fixnum(0))
        vm_fail(vm, arg[0], "division by zero");
    return fixnum_of(arg[1]);
}

PRIM(quotient)
{
    int64_t d = divisor(vm, arg);

    return integer((__int128)fixnum_of(arg[0]) / d, -(double)FIXNUM_MIN);
}

PRIM(remainder)
{
    int64_t d = divisor(vm, arg);

    return fixnum(fixnum_of(arg[0]) % d);
}

PRIM(modulo)
{
    int64_t d = divisor(vm, arg), r = fixnum_of(arg[0]) % d;

    return fixnum(r != 0 && (r < 0) != (d < 0) ? r + d : r);
}

PRIM(sqrt)
{
    double root = sqrt(number_of(vm, arg[0]));
    int64_t whole = root < 4e9 ? (int64_t)root : 0;

    return fixnum(whole * whole) == arg[0] ? fixnum(whole) : flonum(root);
}

/* To an integer, towards zero. */
PRIM(truncate)
{
    double d = number_of(vm, arg[0]);

    if (is_fixnum(arg[0]))
        return arg[0];
    if (!(fabs(d) < 4e18))
        vm_fail(vm, arg[0], "truncate: not in the range of integers");
    return fixnum((int64_t)d);
}

PRIM(inexact)
{
    return flonum(number_of(vm, arg[0]));
}

PRIM(number_to_string)
{
    number_of(vm, arg[0]);
    return prim_to_string(vm, arg, n);
}

PRIM(string_to_number)
{
    const struct string *s = vm_want(vm, "string->number", STRING, arg[0]);
    value number = s->head.size == 0 ? UNBOUND : reader_number(s->byte, s->head.size);

    return number == UNBOUND ? FALSE : number;
}

const struct prim_spec number_prims[] = { { "+", prim_add, 0, MANY },
    { "-", prim_subtract, 1, MANY }, { "*", prim_multiply, 0, MANY }, { "/", prim_divide, 1, 2 },
    { "<", prim_less, 1, MANY }, { "<=", prim_at_most, 1, MANY }, { ">", prim_more, 1, MANY },
    { ">=", prim_at_least, 1, MANY }, { "=", prim_same, 1, MANY },
    { "quotient", prim_quotient, 2, 2 }, { "remainder", prim_remainder, 2, 2 },
    { "modulo", prim_modulo, 2, 2 }, { "sqrt", prim_sqrt, 1, 1 },
    { "truncate", prim_truncate, 1, 1 }, { "exact->inexact", prim_inexact, 1, 1 },
    { "number->string", prim_number_to_string, 1, 1 },
    { "string->number", prim_string_to_number, 1, 1 }, { NULL, NULL, 0, 0 } };
