/* SPDX-License-Identifier: MIT */
/*
 * Registered stacks (src/gc/fiber.c): two mutators, three stacks of one word each, two objects
 * of one field, one global root.  One cycle, from the end of H2 to H5, from every state in which
 * nothing has been scanned: any graph, any words.
 *
 * A mutator has no pointer but the word of the stack that it runs on, and one that it carries over
 * a switch in a register.  Stores are one step (protocol.pml has their parts), with the barrier
 * that the mutator has; what they shade waits in its buffer until H4, or earlier.
 * A stack's number is `seen': it is that of this cycle.  A mutator's is `black'.
 *
 * ONE: one object, and no fields.  NO_ALLOC, NO_END, NO_CARRY: without allocation, without stacks that end, without the register.
 */

#define NIL     0
#define STACKS  3
#define WHITE   0
#define GREY    1
#define BLACK   2

#define EMPTY   0
#define RUNNING 1
#define PARKED  2
#define READ    3

#define CHECK(c, id) assert((c) || (id == 0))
#define P_MARKEND 81 /* marking is declared complete, and a reachable object is white */
#define P_LATE    82 /* a stack is scanned when marking is closed */
#define P_OWNER   84 /* a stack is read, and a mutator runs on it */

byte root;
byte f[3];
byte c[3];          /* colour; of a free object WHITE */
bit used[3];        /* allocated */
byte w[STACKS];     /* the word on each stack */
byte state[STACKS];
bit seen[STACKS];
bit left;           /* the chunk that they are in is queued, or a worker has it */
byte cur[2];        /* the stack that each mutator runs on */
byte carried;        /* in a register, while a mutator switches */
bit black[2], pend[2];
byte barrier[2];
byte buf[2], raw;   /* sets of objects */
bit open, closed, dirty;
byte hs;
bit start;

/* Some stack k of which the test holds. */
#define ANY(T, m)    (T(m, 0) || T(m, 1) || T(m, 2))
#define CHOOSE(T, m) if :: T(m, 0) -> k = 0 :: T(m, 1) -> k = 1 :: T(m, 2) -> k = 2 fi
#define BIT(o)      (1 << (o))
#define ACKED       (!pend[0] && !pend[1])
#define IS_GREY     (c[1] == GREY || c[2] == GREY)
#define QUIET       (raw == 0 && !IS_GREY && !left)

hidden byte set, n;

inline mark(o)
{
    if
    :: o != NIL && c[o] == WHITE -> c[o] = GREY; dirty = 1
    :: else
    fi
}

/* gcrt_barrier_flush */
inline flush(m)
{
    if
    :: !open -> raw = raw | buf[m]
    :: else ->
        if :: buf[m] & BIT(1) -> mark(1) :: else fi;
        if :: buf[m] & BIT(2) -> mark(2) :: else fi
    fi;
    buf[m] = 0
}

inline shade(m, o)
{
    if
    :: o != NIL && c[o] == WHITE -> buf[m] = buf[m] | BIT(o)
    :: else
    fi
}

/* Words are looked at when marking is open. */
#define COLLECT(k) raw = raw | (BIT(w[k]) & ~1)

inline reach()
{
    set = BIT(root) | BIT(w[0]) | BIT(w[1]) | BIT(w[2]);
    n = 0;
    do
    :: n < 2 ->
        if :: set & BIT(1) -> set = set | BIT(f[1]) :: else fi;
        if :: set & BIT(2) -> set = set | BIT(f[2]) :: else fi;
        n++
    :: else -> break
    od
}

/* ---- mutators ---- */

/* action_scan: whatever the stack's own number says. */
#ifdef M_H3_TRUSTS
#define H3(m) if :: !seen[cur[m]] -> COLLECT(cur[m]) :: else fi; black[m] = 1; barrier[m] = 2
#else
#define H3(m) COLLECT(cur[m]); black[m] = 1; barrier[m] = 2
#endif
#define ANSWER(m)                                                                          \
    d_step {                                                                               \
        if                                                                                 \
        :: hs == 3 -> H3(m)                                                                \
        :: hs == 4 -> flush(m)                                                             \
        :: hs == 5 -> barrier[m] = 0; buf[m] = 0                                           \
        :: else                                                                            \
        fi;                                                                                \
        pend[m] = 0                                                                        \
    }

#define STORE(m, slot, new)                                                                \
    if :: barrier[m] != 0 -> shade(m, slot) :: else fi;                                    \
    if :: barrier[m] == 1 -> shade(m, new) :: else fi;                                     \
    slot = new

#ifdef NO_ALLOC
#define OP_ALLOC(m)
#else
#define TAKE_OBJECT(m, o)                                                                  \
    :: d_step { !used[o] && !closed -> used[o] = 1; f[o] = NIL; w[cur[m]] = o;             \
        c[o] = (black[m] -> BLACK : WHITE) }
#ifdef ONE
#define OP_ALLOC(m) TAKE_OBJECT(m, 1)
#else
#define OP_ALLOC(m) TAKE_OBJECT(m, 1) TAKE_OBJECT(m, 2)
#endif
#endif

/* Loads and stores of fields. */
#ifdef ONE
#define OP_FIELDS(m)
#else
#define OP_FIELDS(m)                                                                       \
    :: d_step { w[cur[m]] != NIL -> w[cur[m]] = f[w[cur[m]]] }                             \
    :: d_step { root != NIL && f[root] != w[cur[m]] -> STORE(m, f[root], w[cur[m]]) }
#endif

/* take: a scanned mutator scans a stack that is not. */
#define SCAN_FIRST(m, k)                                                                   \
    CHECK(!closed, P_LATE);                                                                \
    COLLECT(k);                                                                            \
    seen[k] = 1
#ifdef M_NO_SCAN
#define IS_DUE(m, k) false
#else
#define IS_DUE(m, k) (black[m] && !seen[k])
#endif
#ifdef M_PARK_BLACK
#define NUMBER(m) (hs != 0)
#else
#define NUMBER(m) black[m]
#endif
#ifdef M_RESUME_READ
#define MAY_TAKE(m, k) (state[k] == PARKED || state[k] == EMPTY || state[k] == READ)
#else
#define MAY_TAKE(m, k) (state[k] == PARKED || state[k] == EMPTY)
#endif

/*
 * take, park, adopt; vacate.  No action in between: they are critical.  From and to are variables, so
 * that each step stands here once.
 */
#define SWITCH(m)                                                                          \
    :: atomic { ANY(MAY_TAKE, m) ->                                                        \
            CHOOSE(MAY_TAKE, m);                                                           \
            was = state[k];                                                                \
            state[k] = RUNNING };               /* take: claim */                          \
       d_step {                                                                            \
           if                                                                              \
           :: was != EMPTY && IS_DUE(m, k) -> SCAN_FIRST(m, k) /* take: scan */            \
           :: else                                                                         \
           fi                                                                              \
       };                                                                                  \
       atomic {                                                                            \
           CARRY(m)                                                                        \
           seen[cur[m]] = NUMBER(m);            /* park: number */                         \
           state[cur[m]] = PARKED;              /* park: state */                          \
           cur[m] = k;                                                                     \
           if :: carried != NIL -> w[k] = carried :: else fi;                              \
           carried = NIL; k = 0; was = 0                                                   \
       }
#ifdef NO_CARRY
#define CARRY(m)
#else
#define CARRY(m) if :: carried = w[cur[m]]; w[cur[m]] = NIL :: skip fi;
#endif

/* vacate: its word may have been read first. */
#ifdef M_END_UNSHADED
#define IS_LOST(m, k) false
#else
#define IS_LOST(m, k) (barrier[m] != 0 && !seen[k])
#endif
#define MAY_END(m, k) (state[k] == PARKED)
#ifdef NO_END
#define OP_END(m)
#else
#define OP_END(m)                                                                          \
    :: atomic { ANY(MAY_END, m) ->                                                         \
            CHOOSE(MAY_END, m);                                                            \
            state[k] = RUNNING };               /* vacate: claim */                        \
       atomic {                                                                            \
           if :: w[cur[m]] = w[k] :: skip fi;                                              \
           if :: IS_LOST(m, k) -> COLLECT(k) :: else fi; /* vacate: contents */            \
           w[k] = NIL;                                                                     \
           state[k] = EMPTY;                    /* vacate: state */                        \
           k = 0                                                                           \
       }
#endif
#define BODY(m)                                                                            \
    byte was, k;                                                                           \
end_head:                                                                                  \
    do                                                                                     \
    :: atomic { pend[m] -> ANSWER(m) }                                                     \
    :: d_step { w[cur[m]] != root -> w[cur[m]] = root }                                    \
    :: d_step { w[cur[m]] != NIL -> w[cur[m]] = NIL }                                      \
    :: d_step { root != w[cur[m]] -> STORE(m, root, w[cur[m]]) }                           \
    OP_FIELDS(m)                                                                           \
    OP_ALLOC(m)                                                                            \
    SWITCH(m)                                                                              \
    OP_END(m)                                                                              \
    od

active proctype mutator0() { start; BODY(0) }
active proctype mutator1() { start; BODY(1) }

/* ---- the collector, and a worker: scan_parked ---- */

#ifdef M_H4_EARLY
#define IS_OVER (raw == 0 && !IS_GREY)
#else
#define IS_OVER QUIET
#endif
#ifdef M_UNQUEUED
#define QUEUE 0
#else
#define QUEUE 1
#endif

active proctype collector()
{
    byte k;

    /* Any idle state. */
    d_step { cur[0] = 0; cur[1] = 1; state[0] = RUNNING; state[1] = RUNNING };
    if :: used[1] = 1 :: skip fi;
#ifndef ONE
    if :: used[2] = 1 :: skip fi;
#endif
    if :: used[1] -> root = 1 :: used[2] -> root = 2 :: skip fi;
    if :: used[1] -> w[0] = 1 :: used[2] -> w[0] = 2 :: skip fi;
    if :: used[1] -> w[1] = 1 :: used[2] -> w[1] = 2 :: skip fi;
    if :: used[1] -> w[2] = 1 :: used[2] -> w[2] = 2 :: skip fi;
    if :: used[1] && used[2] -> f[1] = 2 :: skip fi;
    if :: used[1] && used[2] -> f[2] = 1 :: skip fi;
    state[2] = PARKED;
    d_step { barrier[0] = 1; barrier[1] = 1; start = 1 };           /* H1 and H2 are complete */
    d_step { hs = 3; pend[0] = 1; pend[1] = 1 };                    /* H3 scan */
    ACKED;
    raw = raw | (BIT(root) & ~1);                                   /* start_cycle: roots */
    left = QUEUE;                                                   /* start_cycle: parked */
    open = 1;                                                       /* start_cycle: open */
marking:
    do
    :: d_step { raw & BIT(1) -> raw = raw & ~BIT(1); mark(1) }
    :: d_step { raw & BIT(2) -> raw = raw & ~BIT(2); mark(2) }
    :: d_step { c[1] == GREY -> c[1] = BLACK; dirty = 1; mark(f[1]) }
    :: d_step { c[2] == GREY -> c[2] = BLACK; dirty = 1; mark(f[2]) }
    :: atomic { left && k == STACKS -> left = 0 }
    :: atomic { left && k < STACKS && (state[k] != PARKED || seen[k]) -> k++ }
    :: atomic { left && k < STACKS && state[k] == PARKED && !seen[k] ->
            state[k] = READ };                                      /* scan_parked: claim */
        atomic { CHECK(state[k] == READ, P_OWNER);
            COLLECT(k) };                                           /* scan_parked: words */
        d_step {
            seen[k] = 1;                                            /* scan_parked: number */
            if :: state[k] == READ -> state[k] = PARKED :: else fi; /* scan_parked: end */
            k++
        }
    :: atomic { IS_OVER -> break }
    od;
    skip;
    d_step { dirty = 0; hs = 4; pend[0] = 1; pend[1] = 1 };         /* H4 flush */
    ACKED;
    if
    :: atomic { dirty || !IS_OVER -> skip }; goto marking
    :: atomic { !dirty && IS_OVER -> closed = 1 }
    fi;
    skip;
    d_step {
        reach();
        CHECK(!(set & BIT(1)) || c[1] != WHITE, P_MARKEND);
        CHECK(!(set & BIT(2)) || c[2] != WHITE, P_MARKEND)
    };
    d_step { hs = 5; pend[0] = 1; pend[1] = 1 };                    /* H5 barrier_off */
    ACKED
}
