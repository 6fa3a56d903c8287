/* SPDX-License-Identifier: MIT */
/*
 * Sweeping by sweepgen (mcentral.c, mcache.c, sweep.c): two spans of two slots, two mutators
 * that take, use and give back spans, the coordinator, which advances sweepgen, sweeps and
 * waits until the sweep is complete.  Cycles are unbounded; sweepgen counts modulo 8.
 *
 * Marking is one step here, after H3: whatever is live then.  One kind, so one mcentral; a
 * set is a byte of bits, and a pop takes any of them.  A run is one slot.  Only what concerns
 * spans is in small steps: each load of the heap's sweepgen, each pop, push and store of a
 * span's sweepgen.
 *
 * Switches: ONE (one mutator), PROGRESS (answers have priority, and mutators begin nothing while
 * the coordinator waits for the last sweeper, else it could see one at each look).
 */

#define CHECK(c, id) assert((c) || (id == 0))
#define P_STATE  51 /* a span has a sweepgen that it cannot have there (I-sweepgen) */
#define P_FREED  52 /* the sweep frees a live object */
#define P_LATE   53 /* the sweep is complete, and a mark bit is set (I-no-late-mark) */
#define P_TWICE  54 /* a span is in two hands, or in a set and in a hand */
#define P_UNDONE 55 /* the sweep is found complete, and a span is not swept */
#define P_GARBAGE 56 /* dead when the cycle began, and there after its sweep */

#define SPANS 2
#define NONE  2 /* no span */
#define BIT(s) (1 << (s))
#define SIDE(g) ((g / 2) % 2)
#define G(x) ((x) % 8)

#define FREE  0
#define RUN   1 /* below the free index, not yet handed out */
#define ALLOC 2

byte h = 2;                      /* mheap.sweepgen */
byte sg[SPANS];                  /* mspan.sweepgen */
byte some_free[2], none_free[2];           /* mcentral's sets, by side */
byte held;                       /* a ghost, spans in somebody's hands */
byte used;                       /* spans that are in use */
byte st[4];                      /* slots: 2 * span + i */
bit mark[4];
bit live[4];                     /* a ghost, reachable */
bit dead[4];                     /* a ghost, garbage when the cycle began */
byte sweepers;
byte cache[2] = NONE;
bit black[2];
byte bgen[2];                    /* mcache.black_gen */
byte hs;                         /* 3, 5, 6 as in a cycle; 7 the last wait; 0 idle */
bit pend[2];

#define HAS_FREE(s) (st[2 * (s)] == FREE || st[2 * (s) + 1] == FREE)

/* ---- sets ---- */

#define POP(set, s)                                                                        \
    atomic {                                                                               \
        if                                                                                 \
        :: set & BIT(0) -> s = 0; set = set & ~BIT(0); TAKE_HOLD(s)                        \
        :: set & BIT(1) -> s = 1; set = set & ~BIT(1); TAKE_HOLD(s)                        \
        :: else -> s = NONE                                                                \
        fi                                                                                 \
    }
#define TAKE_HOLD(s) CHECK(!(held & BIT(s)), P_TWICE); held = held | BIT(s)
#define PUSH(set, s)                                                                       \
    d_step {                                                                               \
        CHECK(held & BIT(s), P_TWICE);                                                     \
        set = set | BIT(s);                                                                \
        held = held & ~BIT(s)                                                              \
    }

/* gcrt_mcentral_put_swept: the side is that of the sweepgen given. */
#ifdef M_PUT_BY_HEAP
#define PUT_SIDE(g) SIDE(h)
#else
#define PUT_SIDE(g) SIDE(g)
#endif
#define PUT_SWEPT(s, g)                                                                    \
    if                                                                                     \
    :: atomic { HAS_FREE(s) -> skip }; PUSH(some_free[PUT_SIDE(g)], s)                     \
    :: atomic { !HAS_FREE(s) -> skip }; PUSH(none_free[PUT_SIDE(g)], s)                    \
    fi

/* ---- sweep of one span ---- */

#define SWEEP_SLOT(i)                                                                      \
    if                                                                                     \
    :: st[i] != FREE && !mark[i] -> CHECK(!live[i], P_FREED); st[i] = FREE; dead[i] = 0    \
    :: else                                                                                \
    fi;                                                                                    \
    mark[i] = 0

/* gcrt_sweep_span, then sweep_claimed or what follows the claim elsewhere. */
#define SWEEP(s, g)                                                                        \
    d_step {                                                                               \
        CHECK(sg[s] == G(g + 7), P_STATE);                                                 \
        SWEEP_SLOT(2 * s);                                                                 \
        SWEEP_SLOT(2 * s + 1)                                                              \
    };                                                                                     \
    sg[s] = g                           /* gcrt_sweep_span: sweepgen */

#define EMPTY(s) (st[2 * (s)] == FREE && st[2 * (s) + 1] == FREE)
#define END_SPAN(s) d_step { held = held & ~BIT(s); used = used & ~BIT(s) }
#define FILE_OR_FREE(s, g)                                                                 \
    if                                                                                     \
    :: atomic { EMPTY(s) -> skip }; END_SPAN(s)                                            \
    :: atomic { !EMPTY(s) -> skip }; PUT_SWEPT(s, g)                                       \
    fi

/* gcrt_mcentral_claim: s, and g for which it was claimed; or NONE. */
#if defined(M_CLAIM_BLIND)
#define CLAIM_TEST(s, g) :: atomic { true -> sg[s] = G(g + 7) }; break
#else
#define CLAIM_TEST(s, g)                                                                   \
    :: atomic { sg[s] == G(g + 6) -> sg[s] = G(g + 7) }; break                             \
    :: atomic { sg[s] != G(g + 6) -> CHECK(sg[s] == g, P_STATE) }; PUT_SWEPT(s, g)
#endif
#define CLAIM(s, g)                                                                        \
    do                                                                                     \
    ::                                                                                     \
        g = h;                          /* gcrt_mcentral_claim: side */                    \
        POP(some_free[1 - SIDE(g)], s);                                                    \
        if                                                                                 \
        :: atomic { s == NONE -> skip }; POP(none_free[1 - SIDE(g)], s)                    \
        :: atomic { s != NONE -> skip }                                                    \
        fi;                                                                                \
        if                                                                                 \
        :: atomic { s == NONE -> break }                                                   \
        :: atomic { s != NONE -> g = h }; /* gcrt_mcentral_claim: sweepgen */              \
            if                                                                             \
            CLAIM_TEST(s, g)                                                               \
            fi                                                                             \
        fi                                                                                 \
    od

#ifdef M_COUNT_LATE
#define SWEEP_BEGIN
#define SWEEP_COUNT if :: atomic { s != NONE -> sweepers++ } :: atomic { s == NONE -> skip } fi;
#define SWEEP_END if :: sweepers > 0 -> sweepers-- :: atomic { sweepers == 0 -> skip } fi
#else
#define SWEEP_BEGIN sweepers++;
#define SWEEP_COUNT
#define SWEEP_END sweepers--
#endif

/* ---- mutators ---- */

/* gcrt_mcentral_give; g is read once. */
#ifdef M_GIVE_STALE
#define IS_STALE(s, g) false
#define GIVE_CHECK(s, g) skip
#else
#define IS_STALE(s, g) (sg[s] == G(g + 1))
#define GIVE_CHECK(s, g) CHECK(sg[s] == G(g + 3), P_STATE)
#endif
#define GIVE(m)                                                                            \
    g = h;                              /* gcrt_mcentral_give: heap */                     \
    if                                                                                     \
    :: atomic { IS_STALE(s, g) -> sweepers++ };                                            \
        sg[s] = G(g + 7);                                                                  \
        SWEEP(s, g);                                                                       \
        FILE_OR_FREE(s, g);                                                                \
        sweepers--                                                                         \
    :: d_step { !IS_STALE(s, g) -> GIVE_CHECK(s, g) };                                     \
        sg[s] = g;                      /* gcrt_mcentral_give: sweepgen */                 \
        PUT_SWEPT(s, g)                 /* gcrt_mcentral_give: file */                     \
    fi;                                                                                    \
    s = NONE; g = 0

/*
 * gcrt_mcache_flush: the unused slot is free again, or stays allocated (RUNS_KEPT).  What an
 * interrupted allocation has found (RUNS_INTERRUPTED) was allocated just before, by OP_ALLOC.
 */
#define REST(i, to) if :: st[i] == RUN -> st[i] = to :: else fi
#define KEEP_RUNS (hs == 3 || hs == 4)
#define FLUSH(m)                                                                           \
    d_step {                                                                               \
        s = cache[m];                                                                      \
        cache[m] = NONE;                                                                   \
        if                                                                                 \
        :: s == NONE                                                                       \
        :: s != NONE && KEEP_RUNS -> REST(2 * s, ALLOC); REST(2 * s + 1, ALLOC)            \
        :: else -> REST(2 * s, FREE); REST(2 * s + 1, FREE)                                \
        fi                                                                                 \
    };                                                                                     \
    if                                                                                     \
    :: atomic { s != NONE -> skip }; GIVE(m)                                               \
    :: atomic { s == NONE -> skip }                                                        \
    fi

/* gcrt_mcentral_take: a swept one, else one that we sweep, else a fresh one. */
#ifdef M_TAKE_READS_AGAIN
#define CACHE_GEN(g) h
#else
#define CACHE_GEN(g) g
#endif
#define FRESH(m)                                                                           \
    g = h;                                                                                 \
    d_step {                                                                               \
        if                                                                                 \
        :: !(used & BIT(0)) -> s = 0                                                       \
        :: (used & BIT(0)) && !(used & BIT(1)) -> s = 1                                    \
        :: else                                                                            \
        fi;                                                                                \
        if                                                                                 \
        :: s != NONE ->                                                                    \
            CHECK(EMPTY(s) && !mark[2 * s] && !mark[2 * s + 1], P_LATE);                   \
            used = used | BIT(s);                                                          \
            held = held | BIT(s);                                                          \
            sg[s] = g                                                                      \
        :: else                                                                            \
        fi                                                                                 \
    }
#define SWEEP_FOR_SPACE(m)                                                                 \
    SWEEP_BEGIN                                                                            \
    do                                                                                     \
    ::                                                                                     \
        CLAIM(s, g);                                                                       \
        SWEEP_COUNT                                                                        \
        if                                                                                 \
        :: atomic { s == NONE -> break }                                                   \
        :: atomic { s != NONE -> skip };                                                   \
            SWEEP(s, g);                                                                   \
            if                                                                             \
            :: atomic { HAS_FREE(s) -> break }                                             \
            :: atomic { !HAS_FREE(s) -> skip }; PUT_SWEPT(s, g)                            \
            fi                                                                             \
        fi                                                                                 \
    od;                                                                                    \
    SWEEP_END
#define TAKE(m)                                                                            \
    g = h;                              /* gcrt_mcentral_take: heap */                     \
    POP(some_free[SIDE(g)], s);              /* gcrt_mcentral_take: swept */               \
    if                                                                                     \
    :: atomic { s == NONE -> skip };                                                       \
        SWEEP_FOR_SPACE(m);             /* gcrt_mcentral_take: unswept */                  \
        if                                                                                 \
        :: atomic { s == NONE -> skip }; FRESH(m) /* gcrt_mcentral_take: fresh */          \
        :: atomic { s != NONE -> skip }                                                    \
        fi                                                                                 \
    :: atomic { s != NONE -> skip }                                                        \
    fi;                                                                                    \
    if                                                                                     \
    :: atomic { s != NONE -> sg[s] = G(CACHE_GEN(g) + 3) } /* gcrt_mcentral_take: cached */\
    :: atomic { s == NONE -> skip }                                                        \
    fi

/* run_in_span, install_run: the colour is decided by the span's sweepgen. */
#ifdef M_COLOUR_BY_FLAG
#define BLACK_RUN(m, s) black[m]
#else
#define BLACK_RUN(m, s) (black[m] && sg[s] == bgen[m])
#endif
#define NEXT_RUN(m)                                                                        \
    d_step {                                                                               \
        if                                                                                 \
        :: st[2 * s] == FREE -> i = 2 * s                                                  \
        :: else -> i = 2 * s + 1                                                           \
        fi;                                                                                \
        if :: BLACK_RUN(m, s) -> mark[i] = 1 :: else fi;                                   \
        st[i] = RUN;                                                                       \
        i = 0                                                                              \
    }

/* is_good (mcache.c), when the cached span has a free slot left. */
#ifdef M_STALE_USED
#define MAY_GO_ON(m) true
#else
#define MAY_GO_ON(m) (sg[cache[m]] == G(h + 3))
#endif
#define HAS_RUN(m) (cache[m] != NONE && (st[2 * cache[m]] == RUN || st[2 * cache[m] + 1] == RUN))

/* gcrt_mcache_take_run */
#define TAKE_RUN(m)                                                                        \
    if                                                                                     \
    :: atomic { cache[m] != NONE && HAS_FREE(cache[m]) && MAY_GO_ON(m) -> s = cache[m] };  \
        NEXT_RUN(m);                                                                       \
        s = NONE                                                                           \
    :: atomic {                                                                            \
           cache[m] != NONE && !(HAS_FREE(cache[m]) && MAY_GO_ON(m)) ->                    \
           s = cache[m]; cache[m] = NONE                                                   \
       };                                                                                  \
        GIVE(m);                                                                           \
        goto take                                                                          \
    :: atomic { cache[m] == NONE -> skip };                                                \
        goto take                                                                          \
    fi

/* The inline bump. */
#define OP_ALLOC(m, k)                                                                     \
    :: d_step {                                                                            \
        MAY(m) && cache[m] != NONE && st[2 * cache[m] + k] == RUN ->                       \
        st[2 * cache[m] + k] = ALLOC;                                                      \
        live[2 * cache[m] + k] = 1                                                         \
    }

#define HELD_BLACK(k) if :: st[2 * cache[m] + k] == RUN -> mark[2 * cache[m] + k] = 1 :: else fi

#ifdef PROGRESS
#define MAY(m) (hs != 7 && !pend[m])
#else
#define MAY(m) true
#endif

proctype mutator(bit m)
{
    byte s = NONE, g, i;

end_head:
    do
    :: d_step {                                        /* H3, gcrt_mcache_blacken */
        pend[m] && hs == 3 ->
        if :: cache[m] != NONE -> HELD_BLACK(0); HELD_BLACK(1) :: else fi;
        black[m] = 1;
        bgen[m] = G(h + 3);
        pend[m] = 0
       }
    :: d_step { pend[m] && hs == 5 -> pend[m] = 0 }    /* H5 */
    :: atomic { pend[m] && hs >= 6 -> skip };          /* H6, action_flush_cache */
        FLUSH(m);
        d_step { black[m] = 0; bgen[m] = 0; pend[m] = 0 }
    OP_ALLOC(m, 0)
    OP_ALLOC(m, 1)
    :: atomic { MAY(m) && !HAS_RUN(m) -> skip }; TAKE_RUN(m)
#ifdef DETACH
    :: atomic { MAY(m) && cache[m] != NONE -> skip }; FLUSH(m) /* gcrt_mutator_detach */
#endif
    od;
take:
    TAKE(m);
    if
    :: atomic { s != NONE -> cache[m] = s }; NEXT_RUN(m)
    :: atomic { s == NONE -> skip }
    fi;
    d_step { s = NONE; g = 0 };
    goto end_head
}

/* ---- the coordinator ---- */

#ifdef ONE
#define ASK(n) hs = n; pend[0] = 1
#else
#define ASK(n) hs = n; pend[0] = 1; pend[1] = 1
#endif
#define ACKED (!pend[0] && !pend[1])

#define MARK(i) if :: st[i] == ALLOC && live[i] -> mark[i] = 1 :: else fi
/* Pointers are dropped here; at any other time it would come to the same. */
#define DROP(i) if :: live[i] -> live[i] = 0 :: true fi
#define BEGIN(i) dead[i] = (st[i] == ALLOC && !live[i])
#define END(i) CHECK(!mark[i], P_LATE); CHECK(!dead[i], P_GARBAGE)
#define DONE(s)                                                                            \
    CHECK(!(used & BIT(s)) || sg[s] == h || sg[s] == G(h + 3), P_UNDONE)

/* gcrt_sweep_is_done: the sets, then the count. */
#define SETS_EMPTY (some_free[1 - SIDE(h)] == 0 && none_free[1 - SIDE(h)] == 0)
#if defined(M_NO_SWEEPERS)
#define LOOK                                                                               \
    if :: SETS_EMPTY :: atomic { !SETS_EMPTY -> goto sweep } fi
#elif defined(M_COUNT_FIRST)
#define LOOK                                                                               \
    if :: sweepers == 0 :: atomic { sweepers != 0 -> goto sweep } fi;                      \
    if :: some_free[1 - SIDE(h)] == 0 :: atomic { some_free[1 - SIDE(h)] != 0 -> goto sweep } fi;\
    if :: none_free[1 - SIDE(h)] == 0 :: atomic { none_free[1 - SIDE(h)] != 0 -> goto sweep } fi
#else
#define LOOK                                                                               \
    if :: some_free[1 - SIDE(h)] == 0 :: atomic { some_free[1 - SIDE(h)] != 0 -> goto sweep } fi;\
    if :: none_free[1 - SIDE(h)] == 0 :: atomic { none_free[1 - SIDE(h)] != 0 -> goto sweep } fi;\
    if :: sweepers == 0 :: atomic { sweepers != 0 -> goto sweep } fi
#endif

active proctype coordinator()
{
    byte s = NONE, g;

    atomic {
        run mutator(0);
#ifndef ONE
        run mutator(1)
#endif
    };
end_idle:
    do
    ::
        atomic { DROP(0); DROP(1); DROP(2); DROP(3) };
        d_step { BEGIN(0); BEGIN(1); BEGIN(2); BEGIN(3); ASK(3) };
        atomic { ACKED -> hs = 4 };
        d_step { MARK(0); MARK(1); MARK(2); MARK(3); ASK(5) };
        ACKED;
#ifdef M_NO_H6
        d_step { h = G(h + 2); hs = 6; black[0] = 0; black[1] = 0 };
#else
        h = G(h + 2);                                /* end_marking: advance */
        d_step { ASK(6) };                           /* end_marking: H6 */
#ifndef M_DONE_BEFORE_H6
        ACKED;
#endif
#endif
sweep:
        hs = 7;
        SWEEP_BEGIN                                  /* gcrt_sweep_some */
        CLAIM(s, g);
        SWEEP_COUNT
        if
        :: atomic { s != NONE -> skip }; SWEEP(s, g); FILE_OR_FREE(s, g)
        :: atomic { s == NONE -> skip }
        fi;
        SWEEP_END;
        d_step { s = NONE; g = 0 };
        LOOK;                                        /* gcrt_sweep_is_done */
        skip;
        d_step { DONE(0); DONE(1); END(0); END(1); END(2); END(3); hs = 0 };
progress_cycle:
        skip
    od
}
