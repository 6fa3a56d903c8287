/* SPDX-License-Identifier: MIT */
/*
 * The on-the-fly cycle of docs/architecture.md: two mutators, one collector, N objects with
 * one field each, one global root.  Cycles are unbounded: whatever a cycle leaves behind is
 * brought back to a fixed form, so the state space is finite.
 *
 * One object stands for a whole span, so `swept', `st' and the mark colour of a slot are
 * those of its span as well.  An object is 1..N, 0 is NULL.
 *
 * A mutator's registers change only in its own steps, so a store names its operands by
 * object: they stay in registers, and so in the roots, until it is done.
 *
 * A signalled mutator can answer between any two instructions outside a critical section.
 * All that is not critical is one step here, so the places where an answer can land are the
 * head of the mutator's loop and the window between the inline barrier's test and the slow
 * path.  See README.md for the table of steps and C functions, and for the list of mutants.
 *
 * Size switches:  N objects, R1 registers of mutator 1 (mutator 0 has two), FINE barrier in
 * single steps, CONS conservative stacks, ATTACH mutator 1 comes and goes, OUTSIDE mutator 1
 * has blocking regions, PROGRESS answers have priority (for the non-progress check), UNRESOLVED
 * words of stacks, roots and early buffers stay unresolved until marking is open, DETACHED a thread
 * that is not attached stores to a handle, EXCHANGE gc_exchange of the root, RANGES the root
 * comes and goes (gc_root_add, gc_root_remove).
 */

#ifndef N
#define N 2
#endif
#ifndef MUTATORS
#define MUTATORS 2
#endif
#ifndef FROM
#define FROM 1
#endif
#ifndef R0
#define R0 2
#endif
#ifndef R1
#define R1 1
#endif

#if N == 3
#define MID 2
#else
#define MID 1
#endif

#define NIL   0
#define FREE  0
#define RUN   1 /* belongs to a taken run, not yet handed out */
#define ALLOC 2
#define WHITE 0
#define GREY  1 /* marked and queued */
#define BLACK 2 /* marked and not queued */

/* Properties; run.sh recognises them by the number in pan's message. */
#define CHECK(c, id) assert((c) || (id == 0))
#define P_DEREF   11 /* a pointer was followed to an object that is not allocated */
#define P_FREED   12 /* the sweep frees a reachable object */
#define P_MARKEND 13 /* marking is declared complete, and a reachable object is white */
#define P_LATE    14 /* a cycle ends with a mark bit set (I-no-late-mark) */
#define P_GARBAGE 15 /* unreachable at the start of a cycle, and still there at its end */
#define P_QUIET   16 /* a barrier buffer still holds work after H5, or H5's flush marks */
#define P_LEAK    17 /* a slot belongs to nobody's run and is not free */

byte root;                    /* the global root */
byte f[N + 1];                /* the field of each object */
byte st[N + 1], c[N + 1];     /* slot state, colour */
bit swept[N + 1];             /* swept since this cycle's sweepgen advance */
bit pub[N + 1];               /* its address has been stored somewhere */
bit garbage[N + 1];           /* unreachable when this cycle began */

byte r[4];                    /* registers: 0 1 of mutator 0, 2 3 of mutator 1 */
byte cache[2];                  /* the cached span (and run) */
byte barrier[2];              /* 0 off, 1 old and new, 2 old */
byte buf[2];                  /* barrier buffer: the set of queued objects */
bit black[2];                 /* allocate black; from own H3 to own H6 */
bit pend[2];                  /* an answer is due */
bit attached[2];
bit outside[2];

byte hs;                      /* the handshake under way or last run: 1..6, 0 idle */
bit dirty;                    /* some flush of this H4 round marked something */
bit roots_done;               /* the global root has been marked */
bit advanced;                 /* sweepgen has been advanced in this cycle */
#if defined(UNRESOLVED) || defined(DETACHED)
#define HAS_RAW
byte raw;                     /* words handed over unresolved */
bit open;                     /* marking.open */
#endif
#ifdef DETACHED
byte hnd;                     /* a handle's cell */
bit reg_lock;                 /* the detached thread has the registry's lock */
#define NOT_LOCKED !reg_lock
#define HND_BIT BIT(hnd)
#else
#define NOT_LOCKED true
#define HND_BIT 0
#endif

/* Scratch of d_steps, no part of the state.  VISIBLE is for breadth-first search. */
#ifdef VISIBLE
byte k, n, set;
#else
hidden byte k, n, set;
#endif

#define OVER     7            /* hs after the only cycle */
#define BIT(o)   (1 << (o))

#define GREY_EXISTS (c[1] == GREY || c[N] == GREY || (N == 3 && c[2] == GREY))
#define ACKED       (!pend[0] && !pend[1])

/* gcrt_mark_object: mark, and push to work. */
inline mark(o)
{
    if
    :: o != NIL && c[o] == WHITE -> c[o] = GREY
    :: else
    fi
}

/* A word of a stack, a register or a root: UNRESOLVED says when it is looked at. */
#ifdef UNRESOLVED
#define ROOT_WORD(o) raw = raw | (BIT(o) & ~1)
#else
#define ROOT_WORD(o) mark(o)
#endif

/* gcrt_barrier_flush: mark what the buffer holds and publish the work. */
inline flush_buffer(m)
{
#ifdef UNRESOLVED
    if :: !open -> raw = raw | buf[m]; buf[m] = 0 :: else fi;
#endif
    k = 1;
    do
    :: k <= N ->
        if
        :: (buf[m] & BIT(k)) && c[k] == WHITE ->
            c[k] = GREY;
            dirty = (hs == 4 || hs == 5)
        :: else
        fi;
        k++
    :: else -> break
    od;
    buf[m] = 0
}

/* One entry of gc_impl_write_slow.  The buffer holds CAP entries; a full one is flushed. */
#ifndef CAP
#define CAP 1
#endif
inline queue(m, o)
{
    if
    :: o != NIL && c[o] == WHITE && !(buf[m] & BIT(o)) ->
        if
#if CAP == 1
        :: buf[m] != 0 ->
            buf[m] = buf[m] | BIT(o);
            flush_buffer(m)
#endif
        :: else -> buf[m] = buf[m] | BIT(o)
        fi
    :: else
    fi
}

/* set := the objects that a program could still reach. */
inline reach()
{
    set = BIT(root) | HND_BIT | BIT(r[0]) | BIT(r[1]) | BIT(r[2]) | BIT(r[3]);
    n = 0;
    do
    :: n < N ->
        k = 1;
        do
        :: k <= N ->
            if
            :: set & BIT(k) -> set = set | BIT(f[k])
            :: else
            fi;
            k++
        :: else -> break
        od;
        n++
    :: else -> break
    od
}

inline free_slot(o)
{
    reach();
    CHECK(!(set & BIT(o)), P_FREED);
    st[o] = FREE;
    f[o] = NIL;
    pub[o] = 0;
    garbage[o] = 0
}

/* gcrt_sweep_span: alloc bits := mark bits where a slot was allocated; mark bits := 0. */
inline sweep_span(o)
{
    if
    :: st[o] != FREE && c[o] == WHITE -> free_slot(o)
    :: else
    fi;
    c[o] = WHITE;
    swept[o] = 1
}

/* gcrt_mcache_flush: the unused slot goes back, a stale span is swept on the way. */
inline uncache(m)
{
    if
    :: cache[m] != NIL ->
        if
        :: st[cache[m]] == RUN -> st[cache[m]] = FREE /* its mark stays for the sweep */
        :: else
        fi;
        if
        :: advanced && !swept[cache[m]] -> sweep_span(cache[m])
        :: else
        fi;
        cache[m] = NIL
    :: else
    fi
}

/* The colour that a run gets when it is taken. */
inline colour_run(m)
{
#if defined(M_ALLOC_WHITE)
    skip
#elif defined(M_LATE_MARK)
    if :: black[m] -> c[cache[m]] = BLACK :: else fi
#elif defined(M_COLOUR_BY_HEAP)
    if :: black[m] && !advanced -> c[cache[m]] = BLACK :: else fi
#else
    if :: black[m] && !swept[cache[m]] -> c[cache[m]] = BLACK :: else fi
#endif
}

inline blacken_run(m)
{
    if
#ifndef M_RUN_NOT_BLACK
    :: cache[m] != NIL && st[cache[m]] == RUN -> c[cache[m]] = BLACK
#endif
    :: else
    fi
}

/* action_scan: what the stack holds, barrier and colour, in one. */
inline own_snapshot(m)
{
#ifdef M_SKIP_STACK
    if
    :: m == 0
    :: else ->
        ROOT_WORD(r[2 * m]);
        ROOT_WORD(r[2 * m + 1])
    fi;
#else
    ROOT_WORD(r[2 * m]); /* action_scan: stack */
    ROOT_WORD(r[2 * m + 1]);
#endif
    barrier[m] = 2; /* action_scan: barrier */
#ifndef M_BLACK_LATE
    black[m] = 1;
    blacken_run(m)
#endif
}

inline action(m)
{
    if
    :: hs == 1 -> /* action_barrier_on */
        barrier[m] = 1;
#ifdef M_BLACK_AT_H1
        black[m] = 1;
        blacken_run(m)
#endif
    :: hs == 2 -> /* ACTION_SETTLE */
#ifdef M_BLACK_AT_H2
        black[m] = 1;
        blacken_run(m)
#else
        skip
#endif
    :: hs == 3 -> /* action_scan */
        own_snapshot(m)
    :: hs == 4 -> /* action_flush */
#ifdef M_BLACK_LATE
        black[m] = 1;
        blacken_run(m);
#endif
#ifdef M_H4_NO_FLUSH
        skip
#else
        flush_buffer(m)
#endif
    :: hs == 5 -> /* action_barrier_off */
        dirty = 0;
        flush_buffer(m);
#ifndef NO_MARKEND
        CHECK(!dirty, P_QUIET);
#endif
        dirty = 0;
        barrier[m] = 0
    :: else -> /* action_flush_cache */
        uncache(m);
        black[m] = 0
    fi
}

/* A stale word in a scanned stack can name any slot that is allocated or in a run. */
#ifdef CONS
#ifdef UNRESOLVED
#define STALE_HIT(o) :: hs == 3 -> ROOT_WORD(o)
#else
#define STALE_HIT(o) :: hs == 3 && st[o] != FREE -> mark(o)
#endif
inline stale_word()
{
    if
    STALE_HIT(1)
    STALE_HIT(N)
#if N == 3
    STALE_HIT(2)
#endif
    :: true
    fi
}
#else
#define stale_word() skip
#endif

/* gcrt_handshake_answer, or the collector on behalf of a mutator that is outside. */
inline answer(m)
{
    stale_word();
    d_step {
        action(m);
        pend[m] = 0
    }
}

/* ---- mutator operations: one step each, or a store of several ---- */

#ifdef PROGRESS
#define FREE_TO_RUN(m) (!pend[m])
#else
#define FREE_TO_RUN(m) true
#endif
#ifdef ENDLESS
#define RUNNING true
#else
#define RUNNING (hs >= FROM && hs != OVER)
#endif
#ifdef OUTSIDE
#define MAY(m) (FREE_TO_RUN(m) && RUNNING && attached[m] && !outside[m])
#else
#define MAY(m) (FREE_TO_RUN(m) && RUNNING && attached[m])
#endif

#define DEREF(o) CHECK(st[o] == ALLOC, P_DEREF)

/* gc_alloc: the inline bump through the run. */
#define OP_ALLOC(m, i)                                                                     \
    :: d_step {                                                                            \
        MAY(m) && cache[m] != NIL && st[cache[m]] == RUN ->                                \
        st[cache[m]] = ALLOC;                                                              \
        r[i] = cache[m]                                                                    \
    }

/* Loads need no barrier. */
#define OP_LOAD_ROOT(m, i)                                                                 \
    :: d_step { MAY(m) && root != r[i] && root != NIL -> r[i] = root }
#ifdef DETACHED
#define OP_LOAD_HANDLE(m, i)                                                               \
    :: d_step { MAY(m) && hnd != r[i] && hnd != NIL -> r[i] = hnd }
#else
#define OP_LOAD_HANDLE(m, i)
#endif
#define OP_LOAD(m, i, j)                                                                   \
    :: d_step {                                                                            \
        MAY(m) && r[j] != NIL && f[r[j]] != r[i] && f[r[j]] != NIL ->                      \
        DEREF(r[j]);                                                                       \
        r[i] = f[r[j]]                                                                     \
    }
#define OP_DROP(m, i)                                                                      \
    :: d_step { MAY(m) && r[i] != NIL -> r[i] = NIL }

/*
 * First store into a field of an object whose address was never stored: a plain store.
 * The mutants drop one of the two conditions.
 */
#if defined(M_RAW_PUBLISHED)
#define RAW(o) (f[o] == NIL)
#elif defined(M_RAW_OVERWRITE)
#define RAW(o) (!pub[o])
#else
#define RAW(o) (!pub[o] && f[o] == NIL)
#endif
#ifdef NO_RAW
#define OP_RAW(m, i, j)
#else
#define OP_RAW(m, i, j)                                                                    \
    :: d_step {                                                                            \
        MAY(m) && r[i] != NIL && RAW(r[i]) && r[j] != f[r[i]] ->                           \
        DEREF(r[i]);                                                                       \
        f[r[i]] = r[j];                                                                    \
        pub[r[j]] = 1;                                                                     \
        pub[NIL] = 0                                                                       \
    }
#endif

/* gc_write: choose operands, then go through the barrier.  obj NIL means the root. */
#define OP_STORE(m, o, v)                                                                  \
    :: atomic { MAY(m) -> obj = o; val = v; goto test }
#define OP_STORE_FIELD(m, i, v)                                                            \
    :: atomic { MAY(m) && r[i] != NIL -> obj = r[i]; val = v; goto test }

/* gc_exchange of the root; gc_root_remove, gc_root_add. */
#ifdef EXCHANGE
#define OP_EXCHANGE(m, i) :: atomic { MAY(m) -> val = r[i]; goto exchange }
#else
#define OP_EXCHANGE(m, i)
#endif
#ifdef RANGES
#define OP_RANGES(m, i)                                                                    \
    :: d_step { MAY(m) && root != NIL -> val = root; root = NIL }; goto removed            \
    :: d_step { MAY(m) && root == NIL && r[i] != NIL -> val = r[i]; root = val;            \
            pub[val] = 1 }; goto added
#else
#define OP_RANGES(m, i)
#endif

/* gcrt_mcache_take_run: claim a span; it is swept first if it needs it.  Critical. */
#ifdef NO_ALLOC
#define OP_TAKE(m, o)
#else
#define OP_TAKE(m, o)                                                                      \
    :: atomic {                                                                            \
        MAY(m) && (cache[m] == NIL || st[cache[m]] != RUN) && st[o] == FREE                \
                && cache[0] != o && cache[1] != o ->                                       \
        d_step {                                                                           \
            uncache(m);                                                                    \
            if :: advanced && !swept[o] -> sweep_span(o) :: else fi;                       \
            st[o] = RUN;                                                                   \
            cache[m] = o                                                                   \
        };                                                                                 \
        goto taken                                                                         \
    }
#endif

#ifdef M_CRITICAL
#define LEAK_ANSWER(m)                                                                     \
    if :: pend[m] -> answer(m) :: true fi;
#else
#define LEAK_ANSWER(m)
#endif

#ifdef M_NO_DELETION
#define QUEUE_OLD(m) skip
#elif defined(M_NO_DELETION_2)
#define QUEUE_OLD(m) if :: level == 1 -> queue(m, old) :: else fi
#else
#define QUEUE_OLD(m) queue(m, old)
#endif
#ifdef M_NO_INSERTION
#define QUEUE_NEW(m) skip
#else
#define QUEUE_NEW(m) if :: level == 1 -> queue(m, val) :: else fi
#endif
#define LOAD_OLD                                                                           \
    if :: obj == NIL -> old = root :: else -> DEREF(obj); old = f[obj] fi
/* FINE: read old, shade old, shade new are three steps, else one. */
#ifdef FINE
#define READ_AND_SHADE(m) d_step { LOAD_OLD }
#define FINE_STEPS(m)                                                                      \
    atomic { true; d_step { QUEUE_OLD(m) } };                                              \
    atomic { true; d_step { QUEUE_NEW(m); old = NIL; level = 0 } };
#else
#define READ_AND_SHADE(m)                                                                  \
    d_step { LOAD_OLD; QUEUE_OLD(m); QUEUE_NEW(m); old = NIL; level = 0 }
#define FINE_STEPS(m)
#endif
/* The slow path's test, before or after the window. */
#ifdef M_SLOW_STALE
#define RETEST(m) skip
#define FORGET_TEST skip
#else
#define RETEST(m) level = barrier[m]
#define FORGET_TEST level = 0
#endif

/* gc_impl_exchange: the value that is replaced, and returned, is the one that was shaded. */
#ifdef M_EXCHANGE_ONCE
#define SAME_VALUE true
#else
#define SAME_VALUE (root == old)
#endif
#ifdef EXCHANGE
#define EXCHANGE_STEPS(m)                                                                  \
exchange:                                                                                  \
    atomic {                                                                               \
        level = barrier[m];                                                                \
        old = root;                                                                        \
        if :: level != 0 -> queue(m, old); QUEUE_NEW(m) :: else fi;                        \
        level = 0                                                                          \
    };                                                                                     \
    if                                                                                     \
    :: atomic { !SAME_VALUE -> old = NIL; goto exchange }                                  \
    :: d_step { SAME_VALUE -> r[2 * m] = root; root = val; pub[val] = 1; pub[NIL] = 0;     \
           old = NIL; val = NIL }; goto end_head                                           \
    fi;
#else
#define EXCHANGE_STEPS(m)
#endif

/* shade_range, after the range has come or gone. */
#ifdef M_REMOVE_UNSHADED
#define SHADE_REMOVED(m) skip
#else
#define SHADE_REMOVED(m) if :: barrier[m] != 0 -> queue(m, val) :: else fi
#endif
#ifdef M_ADD_UNSHADED
#define SHADE_ADDED(m) skip
#else
#define SHADE_ADDED(m) if :: barrier[m] != 0 -> queue(m, val) :: else fi
#endif
#ifdef RANGES
#define RANGE_STEPS(m)                                                                     \
removed:                                                                                   \
    atomic { SHADE_REMOVED(m); val = NIL; goto end_head };                                 \
added:                                                                                     \
    atomic { SHADE_ADDED(m); val = NIL; goto end_head };
#else
#define RANGE_STEPS(m)
#endif

/*
 * gc_impl_write: inline test, critical; or in a window, which who answers there has been made to
 * leave, so that the test has not been.  gc_impl_write_slow: the critical section has been
 * left and entered again, so an answer can land in the window, and the test is repeated.
 * From there on nothing lands until the store is done.
 */
#define STORE_STEPS(m)                                                                     \
test:                                                                                      \
    atomic {                                                                               \
        level = barrier[m];                                                                \
        if                                                                                 \
        :: level == 0 -> goto store                                                        \
        :: else -> FORGET_TEST                                                             \
        fi                                                                                 \
    };                                                                                     \
window:                                                                                    \
    if                                                                                     \
    :: atomic { pend[m] -> answer(m); goto window }                                        \
    :: atomic {                                                                            \
        FREE_TO_RUN(m) -> RETEST(m);            /* gc_impl_write_slow: test */             \
        if                                                                                 \
        :: level == 0 -> goto store                                                        \
        :: else                                                                            \
        fi;                                                                                \
        READ_AND_SHADE(m)                       /* gc_impl_write_slow: shade */            \
        }                                                                                  \
    fi;                                                                                    \
    FINE_STEPS(m)                                                                          \
store:                                                                                     \
    LEAK_ANSWER(m)                                                                         \
    atomic {                                                                               \
        true;                                   /* gc_impl_write_slow: store */            \
        d_step {                                                                           \
            if                                                                             \
            :: obj == NIL -> root = val                                                    \
            :: else -> DEREF(obj); f[obj] = val                                            \
            fi;                                                                            \
            pub[val] = 1;                                                                  \
            pub[NIL] = 0;                                                                  \
            obj = NIL; val = NIL                                                           \
        };                                                                                 \
        goto end_head                                                                      \
    };                                                                                     \
taken:                                                                                     \
    atomic { colour_run(m); goto end_head };                                               \
    EXCHANGE_STEPS(m)                                                                      \
    RANGE_STEPS(m)

#define OPS_ONE(m, i)                                                                      \
    OP_ALLOC(m, i)                                                                         \
    OP_LOAD_ROOT(m, i)                                                                     \
    OP_LOAD(m, i, i)                                                                       \
    OP_DROP(m, i)                                                                          \
    OP_RAW(m, i, i)                                                                        \
    OP_EXCHANGE(m, i)                                                                      \
    OP_RANGES(m, i)                                                                        \
    OP_LOAD_HANDLE(m, i)                                                                   \
    OP_STORE(m, NIL, r[i])                                                                 \
    OP_STORE(m, NIL, NIL)                                                                  \
    OP_STORE_FIELD(m, i, r[i])                                                             \
    OP_STORE_FIELD(m, i, NIL)
#define OPS_TWO(m, i, j)                                                                   \
    OP_LOAD(m, i, j)                                                                       \
    OP_RAW(m, i, j)                                                                        \
    OP_STORE_FIELD(m, i, r[j])

/* ---- attach, detach, blocking regions: mutator 1 only ---- */

#ifdef M_DETACH_NO_FLUSH
#define DETACH_FLUSH(m) buf[m] = 0
#elif defined(M_DETACH_UNCOUNTED)
#define DETACH_FLUSH(m) k = dirty; n = k; flush_buffer(m); dirty = n
#else
#define DETACH_FLUSH(m) flush_buffer(m)
#endif
/* While marking, the rest of a run stays allocated: it may carry marks. */
#if defined(M_DETACH_RETURNS_RUN)
#define keep_run(m) uncache(m)
#else
#define keep_run(m)                                                                        \
    if                                                                                     \
    :: cache[m] != NIL && st[cache[m]] == RUN -> st[cache[m]] = ALLOC; cache[m] = NIL      \
    :: else -> uncache(m)                                                                  \
    fi
#endif
#ifdef M_DETACH_KEEPS_RUN
#define DETACH_RUN(m) cache[m] = NIL
#else
#define DETACH_RUN(m) if :: barrier[m] != 0 -> keep_run(m) :: else -> uncache(m) fi
#endif
#ifdef M_ATTACH_BARRIER_0
#define ATTACH_BARRIER(m) barrier[m] = 0
#else
#define ATTACH_BARRIER(m)                                                                  \
    if                                                                                     \
    :: hs == 1 || hs == 2 -> barrier[m] = 1                                                \
    :: hs == 3 || hs == 4 -> barrier[m] = 2                                                \
    :: else -> barrier[m] = 0                                                              \
    fi
#endif
#ifdef M_ATTACH_WHITE
#define ATTACH_BLACK(m) skip
#else
#define ATTACH_BLACK(m) black[m] = (hs == 3 || hs == 4 || hs == 5)
#endif

/* Both run under the registry lock, so no handshake is published meanwhile. */
#ifdef ATTACH
#define OPS_ATTACH(m)                                                                      \
    :: d_step {                                                                            \
        MAY(m) ->                                                                          \
        DETACH_RUN(m);                          /* gcrt_mutator_detach: runs */            \
        DETACH_FLUSH(m);                        /* gcrt_mutator_detach: delist */          \
        r[2 * m] = NIL; r[2 * m + 1] = NIL;                                                \
        pend[m] = 0; barrier[m] = 0; black[m] = 0; attached[m] = 0                         \
    }                                                                                      \
    :: d_step { !attached[m] && RUNNING -> ATTACH_BARRIER(m); ATTACH_BLACK(m); attached[m] = 1 }
#else
#define OPS_ATTACH(m)
#endif

#ifdef OUTSIDE
#define OPS_OUTSIDE(m)                                                                     \
    :: d_step { MAY(m) -> outside[m] = 1 }                                                 \
    :: d_step { outside[m] && RUNNING -> outside[m] = 0 }
#else
#define OPS_OUTSIDE(m)
#endif

active proctype mutator0()
{
    byte obj, val, old, level;

end_head:
    do
    :: atomic { pend[0] -> answer(0) }
    OPS_ONE(0, 0)
#if R0 == 2
    OPS_ONE(0, 1)
    OPS_TWO(0, 0, 1)
    OPS_TWO(0, 1, 0)
#endif
    OP_TAKE(0, 1)
#if N >= 2
    OP_TAKE(0, N)
#endif
#if N == 3
    OP_TAKE(0, 2)
#endif
    od;
    STORE_STEPS(0)
}

#if MUTATORS == 2
active proctype mutator1()
{
    byte obj, val, old, level;

end_head:
    do
    :: atomic { pend[1] && !outside[1] -> answer(1) }
#ifndef M1_PASSIVE
    OPS_ONE(1, 2)
#endif
#if R1 == 2
    OPS_ONE(1, 3)
    OPS_TWO(1, 2, 3)
    OPS_TWO(1, 3, 2)
#endif
    OP_TAKE(1, 1)
#if N >= 2
    OP_TAKE(1, N)
#endif
#if N == 3
    OP_TAKE(1, 2)
#endif
    OPS_ATTACH(1)
    OPS_OUTSIDE(1)
    od;
    STORE_STEPS(1)
}
#endif

/* ---- the collector: run_cycle ---- */

#define PUBLISH(h) hs = h; pend[0] = attached[0]; pend[1] = attached[1]

/* The collector holds an outside mutator by its state word and answers for it. */
#ifdef M_OUTSIDE_SKIPPED
#define ANSWER_OUTSIDE :: atomic { pend[1] && outside[1] -> pend[1] = 0 }
#elif defined(OUTSIDE)
#define ANSWER_OUTSIDE :: atomic { pend[1] && outside[1] -> answer(1) }
#else
#define ANSWER_OUTSIDE
#endif

/* gcrt_mark_drain: scan one grey object. */
#define TRACE(o) :: d_step { c[o] == GREY -> mark(f[o]); c[o] = BLACK }
#if N == 3
#define TRACE_ANY TRACE(1) TRACE(2) TRACE(3)
#elif N == 2
#define TRACE_ANY TRACE(1) TRACE(2)
#else
#define TRACE_ANY TRACE(1)
#endif
#ifdef DETACHED
#define MARK_HANDLE ; ROOT_WORD(hnd)
#else
#define MARK_HANDLE
#endif
#define MARK_ROOT :: d_step { !roots_done -> ROOT_WORD(root) MARK_HANDLE; roots_done = 1 }
/* mark_raw: a word counts if its slot is allocated now. */
#ifdef HAS_RAW
#define RESOLVE(o)                                                                         \
    :: d_step {                                                                            \
        open && (raw & BIT(o)) ->                                                          \
        raw = raw & ~BIT(o);                                                               \
        if                                                                                 \
        :: st[o] != FREE && c[o] == WHITE -> c[o] = GREY; dirty = dirty || hs == 4         \
        :: else                                                                            \
        fi                                                                                 \
    }
#if N == 3
#define RESOLVE_ANY RESOLVE(1) RESOLVE(2) RESOLVE(3)
#elif N == 2
#define RESOLVE_ANY RESOLVE(1) RESOLVE(2)
#else
#define RESOLVE_ANY RESOLVE(1)
#endif
#define NO_RAW_WORDS (raw == 0)
#else
#define RESOLVE_ANY
#define NO_RAW_WORDS true
#endif

/* gcrt_sweep_span by the background sweeper; a cached span is left to its owner. */
#ifdef M_SWEEP_CACHED
#define UNCACHED(o) true
#else
#define UNCACHED(o) (cache[0] != o && cache[1] != o)
#endif
#define SWEEP(o) :: d_step { advanced && !swept[o] && UNCACHED(o) -> sweep_span(o) }
#if N == 3
#define SWEEP_ANY SWEEP(1) SWEEP(2) SWEEP(3)
#elif N == 2
#define SWEEP_ANY SWEEP(1) SWEEP(2)
#else
#define SWEEP_ANY SWEEP(1)
#endif
#ifdef M_NO_H6
#define SWEPT(o) (swept[o] || !UNCACHED(o))
#else
#define SWEPT(o) swept[o]
#endif
#if defined(M_NEXT_EARLY)
#define ALL_SWEPT true
#elif N == 3
#define ALL_SWEPT (SWEPT(1) && SWEPT(2) && SWEPT(3))
#else
#define ALL_SWEPT (SWEPT(1) && SWEPT(N))
#endif

/*
 * Without ENDLESS one cycle is run, from every state that the end of a cycle and mutators
 * with the barrier off could leave: any graph, any registers, any slot in a run, any object
 * still private to one register.  The end of the cycle is such a state again (cycle_end checks
 * it), so one cycle from all of them is as good as any number of cycles.
 * Objects can be renamed, so the root is NULL or object 1.
 */
#define ANY(x, cond)                                                                       \
    if                                                                                     \
    :: x = NIL                                                                             \
    ANY_OBJECT(x, 1, cond)                                                                 \
    ANY_2(x, cond)                                                                         \
    ANY_3(x, cond)                                                                         \
    fi
#define ANY_OBJECT(x, o, cond) :: cond(o) -> x = o
#if N >= 2
#define ANY_2(x, cond) ANY_OBJECT(x, 2, cond)
#else
#define ANY_2(x, cond)
#endif
#if N == 3
#define ANY_3(x, cond) ANY_OBJECT(x, 3, cond)
#else
#define ANY_3(x, cond)
#endif
#define IS_ALLOC(o)   (st[o] == ALLOC)
#define IS_ROOT(o)    (st[o] == ALLOC && o == 1)
#define IS_CACHED_0(o) (st[o] != FREE)
#define IS_CACHED_1(o) (st[o] != FREE && cache[0] != o)
#define ANY_SLOT(o)                                                                        \
    if                                                                                     \
    :: st[o] = FREE                                                                        \
    :: st[o] = ALLOC; pub[o] = 1                                                           \
    PRIVATE(o)                                                                             \
    RUN_SLOT(o)                                                                            \
    fi
#ifdef NO_RAW
#define PRIVATE(o)
#else
#define PRIVATE(o) :: st[o] = ALLOC
#endif
#ifdef NO_ALLOC
#define RUN_SLOT(o)
#else
#define RUN_SLOT(o) :: st[o] = RUN
#endif
#ifdef DETACHED
#define IN_HANDLE(o) (hnd == o)
#else
#define IN_HANDLE(o) false
#endif
#define KNOWN(o)                                                                           \
    (IN_HANDLE(o) || root == o || f[1] == o || f[N] == o || f[MID] == o)
/* Private: in no slot, and in the registers of one mutator at most. */
#define SLOT_OK(o)                                                                         \
    ((pub[o] || st[o] != ALLOC || !(KNOWN(o)                                               \
            || ((r[0] == o || r[1] == o) && (r[2] == o || r[3] == o))))                    \
    && (st[o] != RUN || cache[0] == o || cache[1] == o))

inline any_idle_state()
{
    atomic {
        ANY_SLOT(1);
#if N >= 2
        ANY_SLOT(2);
#endif
#if N == 3
        ANY_SLOT(3);
#endif
        ANY(root, IS_ROOT);
#ifdef DETACHED
        ANY(hnd, IS_ALLOC);
#endif
        if :: st[1] == ALLOC -> ANY(f[1], IS_ALLOC) :: else fi;
#if N >= 2
        if :: st[2] == ALLOC -> ANY(f[2], IS_ALLOC) :: else fi;
#endif
#if N == 3
        if :: st[3] == ALLOC -> ANY(f[3], IS_ALLOC) :: else fi;
#endif
#ifndef NO_ALLOC
        ANY(cache[0], IS_CACHED_0);
#endif
        ANY(r[0], IS_ALLOC);
#if R0 == 2
        ANY(r[1], IS_ALLOC);
#endif
#if MUTATORS == 2
#ifndef NO_ALLOC
        ANY(cache[1], IS_CACHED_1);
#endif
        ANY(r[2], IS_ALLOC);
#if R1 == 2
        ANY(r[3], IS_ALLOC);
#endif
#endif
        if
        :: SLOT_OK(1) && SLOT_OK(N) && SLOT_OK(MID)
        :: else -> goto none
        fi
    }
}

inline cycle_begin()
{
    reach();
    k = 1;
    do
    :: k <= N ->
        garbage[k] = (st[k] == ALLOC && !(set & BIT(k)));
        k++
    :: else -> break
    od
}

inline mark_end()
{
#ifndef NO_MARKEND
    reach();
    k = 1;
    do
    :: k <= N ->
        CHECK(!(set & BIT(k)) || c[k] != WHITE, P_MARKEND);
        k++
    :: else -> break
    od
#else
    skip
#endif
}

inline cycle_end()
{
    k = 1;
    do
    :: k <= N ->
        CHECK(c[k] == WHITE, P_LATE);
#ifndef CONS
        CHECK(!garbage[k], P_GARBAGE);
#endif
        CHECK(st[k] != RUN || cache[0] == k || cache[1] == k, P_LEAK);
        garbage[k] = 0;
        swept[k] = 0;
        k++
    :: else -> break
    od;
    CHECK(buf[0] == 0 && buf[1] == 0, P_QUIET);
    advanced = 0;
#ifdef ENDLESS
    hs = 0
#else
    hs = OVER
#endif
}

/*
 * A wait for all answers; what follows it (then) is one step with its end.  The steps in the
 * collector's body are those of steps.txt.
 */
#define WHEN(cond, then) :: atomic { NOT_LOCKED && cond -> d_step { then }; break }

#ifdef M_NO_RECHECK
#define H4_AGAIN false
#define H4_DONE  !GREY_EXISTS
#else
#define H4_AGAIN dirty
#define H4_DONE  !dirty
#endif
#ifdef HAS_RAW
#define CLOSE ; open = 0
#else
#define CLOSE
#endif
/* With UNRESOLVED the roots are collected between H3 and the opening. */
#ifdef UNRESOLVED
#define H3_END && roots_done
#else
#define H3_END
#endif
#define DROP_RAW                                                                           \
    CHECK((!(raw & BIT(1)) || c[1] != WHITE) && (!(raw & BIT(N)) || c[N] != WHITE), P_QUIET);\
    raw = 0
#ifdef M_NO_H4
#define MARKED_ALL mark_end(); PUBLISH(5) CLOSE
#else
#define MARKED_ALL PUBLISH(4); dirty = 0
#endif
#ifdef M_NO_H6
#define AFTER_H5 advanced = 1; hs = 6
#else
#define AFTER_H5 advanced = 1; PUBLISH(6)
#endif
#ifdef M_NO_SETTLE
#define AFTER_H1 skip
#else
#define AFTER_H1 PUBLISH(2)
#endif
#ifdef M_SWEEP_EARLY
#define H5_SWEEP SWEEP_ANY
#define H5_START advanced = 1
#else
#define H5_SWEEP
#define H5_START skip
#endif
#ifdef M_TRACE_BEFORE_H2
#define H1_TRACE MARK_ROOT TRACE_ANY
#define H1_START roots_done = 0
#else
#define H1_TRACE
#define H1_START roots_done = 1
#endif
#ifdef M_OPEN_EARLY
#define H3_TRACE RESOLVE_ANY TRACE_ANY
#define H3_OPEN ; open = 1
#elif defined(LATE_TRACE) || defined(UNRESOLVED)
#define H3_TRACE
#else
#define H3_TRACE TRACE_ANY
#endif

#ifndef H3_OPEN
#define H3_OPEN
#endif

/* store_detached (barrier.c), under the registry's lock: no handshake is published. */
#ifdef DETACHED
#ifdef M_DETACHED_OLD_ONLY
#define DETACHED_NEW 0
#else
#define DETACHED_NEW BIT(val)
#endif
#ifdef M_DETACHED_NEW_ONLY
#define DETACHED_OLD 0
#else
#define DETACHED_OLD BIT(hnd)
#endif
#ifdef M_DETACHED_UNLOCKED
#define TAKE_REG_LOCK
#else
#define TAKE_REG_LOCK reg_lock = 1;
#endif
#define HAND_OVER(o)                                                                       \
    if                                                                                     \
    :: ((DETACHED_OLD | DETACHED_NEW) & BIT(o)) && c[o] == WHITE -> raw = raw | BIT(o)     \
    :: else                                                                                \
    fi
active proctype detached()
{
    byte val;

end_head:
    do
    ::
        if
        :: atomic { NOT_LOCKED && RUNNING -> TAKE_REG_LOCK val = root } /* store_detached: lock */
        :: atomic { NOT_LOCKED && RUNNING && hnd != NIL -> TAKE_REG_LOCK val = NIL }
        fi;
        d_step {                                                /* store_detached: marking */
            if
            :: hs >= 1 && hs <= 4 -> HAND_OVER(1); HAND_OVER(N)
            :: else
            fi
        };
        d_step {                                                /* store_detached: store */
            hnd = val; pub[val] = 1; pub[NIL] = 0; val = NIL; reg_lock = 0
        }
    od
}
#endif

active proctype collector()
{
    d_step { attached[0] = 1; attached[1] = MUTATORS - 1 };
#ifndef ENDLESS
    any_idle_state();
#endif
idle:
    atomic { NOT_LOCKED -> d_step { cycle_begin(); PUBLISH(1); H1_START } };
    do                                                              /* H1 barrier_on */
    H1_TRACE
    ANSWER_OUTSIDE
    WHEN(ACKED, AFTER_H1)
    od;
    do                                                              /* H2 settle */
    H1_TRACE
    ANSWER_OUTSIDE
    WHEN(ACKED, PUBLISH(3); roots_done = 0 H3_OPEN)
    od;
    do                                                              /* H3 scan */
    MARK_ROOT
    H3_TRACE
    ANSWER_OUTSIDE
    WHEN(ACKED H3_END, skip)
    od;
#ifdef HAS_RAW
    open = 1;
#endif
marking:
    do                                                              /* mark */
    MARK_ROOT
    TRACE_ANY
    RESOLVE_ANY
    WHEN(roots_done && !GREY_EXISTS && NO_RAW_WORDS, MARKED_ALL)
    od;
#ifndef M_NO_H4
    do                                                              /* H4 flush */
    TRACE_ANY
    RESOLVE_ANY
    ANSWER_OUTSIDE
    :: atomic { ACKED && H4_AGAIN -> d_step { dirty = 0; hs = 3 }; goto marking }
#ifdef DETACHED
    :: atomic {
        ACKED && H4_DONE && NO_RAW_WORDS && !GREY_EXISTS ->
        d_step { mark_end(); dirty = 0 };
        break
       }
    od;
    skip;
    /* drop_leftovers: what the detached thread still hands over is marked. */
    atomic { NOT_LOCKED -> d_step { DROP_RAW; open = 0; PUBLISH(5); H5_START } };
#else
    WHEN(ACKED && H4_DONE, dirty = 0; mark_end(); PUBLISH(5); H5_START CLOSE)
    od;
#endif
#endif
    do                                                              /* H5 barrier_off */
    H5_SWEEP
    ANSWER_OUTSIDE
    WHEN(ACKED, AFTER_H5)                                           /* advance_sweepgen */
    od;
    do                                                              /* H6, sweep */
    SWEEP_ANY
    ANSWER_OUTSIDE
    WHEN(ACKED && ALL_SWEPT, cycle_end())
    od;
progress:
#ifdef ENDLESS
    goto idle;
#else
    skip;
#endif
none:
    skip
}
