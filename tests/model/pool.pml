/* SPDX-License-Identifier: MIT */
/*
 * A pool: what a thread keeps itself, the turn, and thieves.  Two items.  Mutator 0 owns the P:
 * a stack of two items that it keeps itself, with inline gets and puts; victims; a ring in two
 * generations, from which mutator 1 steals.  Mutator 0 is signalled: it answers between any two
 * steps of its inline halves.  What either gets it keeps in a register, puts back (0) or drops
 * (1).  Mutator 0 may leave: what it keeps joins the rest, and another thread takes the P.
 * Cycles without end: H1 turns, H3 scans, then the pool's places are collected; the sweep
 * frees what has no mark, and a get that finds nothing takes a freed item as a new one.
 * Items lead nowhere, so to shade is to mark.
 */

#define CHECK(c, id) assert((c) || (id == 0))
#define P_TWICE 101 /* an item is given that somebody has, or that is in the pool still */
#define P_FREED 102 /* an item is given, or the sweep frees one, that is freed, or in use */
#define P_STAYS 103 /* an item has outlived the second cycle that started after its put */

#define ROOM 2
byte slot[4];            /* [0] is NULL for ever */
byte n;                  /* the stack's height */
bit open, mine;          /* hot_pool names the pool; the pool is the thread's */
bit vic[3];              /* victims of the owner's own */
bit ring[3], old[3];     /* in the ring; in the victims' ring */
bit freed[3], marked[3];
bit unswept[3];          /* after H5 */
byte age[3];             /* cycles that started since it was put */
byte u[2];               /* what the host holds */
byte rx, rn;             /* mutator 0's registers in an inline half */
byte ry;                 /* mutator 1's, in a get */
byte barrier[2];
bit pend[2];
byte hs;
bit idle, turned;        /* the P is nobody's; it has turned in this cycle */
bit turning;             /* from H1's publication until idle Ps have turned */

#define IN_STACK(x) ((slot[1] == x && n >= 1) || (slot[2] == x && n >= 2))
#define IN_POOL(x)  (IN_STACK(x) || vic[x] || ring[x] || old[x])
#define HELD(x)     (u[0] == x || u[1] == x)
#define ACKED       (!pend[0] && !pend[1])

#define SHADE(m, x) if :: barrier[m] != 0 -> marked[x] = 1 :: else fi
#ifdef M_TAKE_UNSHADED
#define SHADE_TAKEN(m, x) skip
#else
#define SHADE_TAKEN(m, x) SHADE(m, x)
#endif
#ifdef M_STEAL_UNSHADED
#define SHADE_STOLEN(x) skip
#else
#define SHADE_STOLEN(x) SHADE(1, x)
#endif

/* The host has it: for mutator 0 the last step of a get. */
#define GIVE(m, x)                                                                         \
    CHECK(!HELD(x) && !IN_POOL(x), P_TWICE);                                               \
    CHECK(!freed[x], P_FREED);                                                             \
    u[m] = x

/* ---- mutator 0's answers, in its handler too ---- */

#define CLEAR slot[1] = 0; slot[2] = 0
#ifdef M_NO_CLEAR
#define LET_GO n = 0
#else
#define LET_GO CLEAR
#endif

#ifdef M_TURN_MOVES
#define SHUT                                                                               \
    if :: n >= 1 && slot[1] != 0 -> vic[slot[1]] = 1 :: else fi;                           \
    if :: n >= 2 && slot[2] != 0 -> vic[slot[2]] = 1 :: else fi;                           \
    n = 0; CLEAR; open = 0
#elif defined(M_TURN_LEAVES)
#define SHUT skip
#else
#define SHUT open = 0
#endif

/* Victims go, also those in the ring; what is in the ring becomes victims. */
#define TURN_PART                                                                          \
    vic[1] = 0; vic[2] = 0; old[1] = ring[1]; old[2] = ring[2]; ring[1] = 0; ring[2] = 0;  \
    turned = 1
#define TURN_HOT                                                                           \
    if                                                                                     \
    :: !mine -> CLEAR                              /* gcrt_pool_turn_hot_locked: left */   \
    :: mine && open -> SHUT                        /* gcrt_pool_turn_hot_locked: shut */   \
    :: mine && !open -> LET_GO; mine = 0           /* gcrt_pool_turn_hot_locked: go */     \
    fi
#ifdef M_TURN_MOVES
#define TURN TURN_PART; TURN_HOT
#else
#define TURN TURN_HOT; TURN_PART
#endif
#ifdef M_NO_SLOT_ABOVE
#define ABOVE 0
#else
#define ABOVE 1
#endif
#define VISIT(i, interrupted)                                                              \
    if :: slot[i] != 0 && i <= n + interrupted -> marked[slot[i]] = 1 :: else fi
#define VISIT_REGISTER(x)                                                                  \
    if :: x != 0 -> marked[x] = 1 :: else fi
#define SCAN(interrupted)                                                                  \
    VISIT_REGISTER(u[0]); VISIT_REGISTER(rx); VISIT(1, interrupted); VISIT(2, interrupted)

#define ANSWER(interrupted)                                                                \
    d_step {                                                                               \
        if                                                                                 \
        :: hs == 1 -> TURN; barrier[0] = 1                                                 \
        :: hs == 3 -> SCAN(interrupted); barrier[0] = 2                                    \
        :: hs == 5 -> barrier[0] = 0                                                       \
        fi;                                                                                \
        pend[0] = 0                                                                        \
    }
/* The handler, or not, before the next step. */
#define INTERRUPT                                                                          \
    do                                                                                     \
    :: pend[0] -> ANSWER(ABOVE)                                                            \
    :: break                                                                               \
    od;                                                                                    \
    true

/* ---- mutator 0's calls: critical ---- */

#define ASIDE(i)                                                                           \
    if                                                                                     \
    :: slot[i] != 0 && n >= i -> SHADE(0, slot[i]); vic[slot[i]] = 1                       \
    :: else                                                                                \
    fi
#ifdef M_OPEN_AGAIN
#define PUT_ASIDE skip
#define OPEN open = 1; mine = 1
#else
#define PUT_ASIDE ASIDE(1); ASIDE(2)
#define OPEN CLEAR; n = 0; open = 1; mine = 1
#endif
#define BECOME                                                                             \
    d_step {                                                                               \
        if                                                                                 \
        :: mine && !open -> PUT_ASIDE              /* gcrt_pool_become_hot: aside */       \
        :: else                                                                            \
        fi;                                                                                \
        if                                                                                 \
        :: !open -> OPEN                           /* gcrt_pool_become_hot: open */        \
        :: else                                                                            \
        fi                                                                                 \
    }

/* Born black from the own scan to the sweep. */
#define NEW(x)                                                                             \
    freed[x] = 0; rx = x;                                                                  \
    if :: barrier[0] == 2 || unswept[x] -> marked[x] = 1 :: else fi

#define CALL_GET                                                                           \
    BECOME;                                                                                \
    if                                                                                     \
    :: d_step { n != 0 -> rx = slot[n]; n = n - 1 }                                        \
    :: d_step { n == 0 && ring[1] -> ring[1] = 0; rx = 1; SHADE_TAKEN(0, 1) }              \
    :: d_step { n == 0 && ring[2] -> ring[2] = 0; rx = 2; SHADE_TAKEN(0, 2) }              \
    :: d_step { n == 0 && vic[1] -> vic[1] = 0; rx = 1; SHADE_TAKEN(0, 1) }                \
    :: d_step { n == 0 && vic[2] -> vic[2] = 0; rx = 2; SHADE_TAKEN(0, 2) }                \
    :: d_step { n == 0 && old[1] -> old[1] = 0; rx = 1; SHADE_TAKEN(0, 1) }                \
    :: d_step { n == 0 && freed[1] -> NEW(1) }                                             \
    :: d_step { n == 0 && freed[2] -> NEW(2) }                                             \
    :: else                                                                                \
    fi;                                                                                    \
    if                                                                                     \
    :: d_step { rx != 0 -> GIVE(0, rx); rx = 0 }                                           \
    :: else                                                                                \
    fi

#define CALL_PUT                                                                           \
    BECOME;                                                                                \
    d_step {                                                                               \
        age[rx] = 0;                                                                       \
        if                                                                                 \
        :: n < ROOM -> n = n + 1; slot[n] = rx                                             \
        :: else -> SHADE(0, rx); ring[rx] = 1                                              \
        fi;                                                                                \
        rx = 0                                                                             \
    }

/* The thread detaches, and another one takes the P, inheriting its barrier. */
#define HAND_OVER(i)                                                                       \
    if                                                                                     \
    :: slot[i] != 0 && n >= i -> SHADE(0, slot[i]); ring[slot[i]] = 1                      \
    :: else                                                                                \
    fi
#ifdef M_LEAVE_YOUNG
#define LEAVE_STACK HAND_OVER(1); HAND_OVER(2)
#else
#define LEAVE_STACK                                                                        \
    if                                                                                     \
    :: open -> HAND_OVER(1); HAND_OVER(2)          /* gcrt_pool_leave_locked: open */      \
    :: else -> PUT_ASIDE                           /* gcrt_pool_leave_locked: shut */      \
    fi
#endif
/* Born behind H1, it leaves what it finds for the next turn. */
#define BORN                                                                               \
    idle = 0;                                                                              \
    barrier[0] = (hs == 1 -> 1 : (hs == 3 -> 2 : 0));                                      \
    if                                                                                     \
    :: turning && !turned -> age[1] = 0; age[2] = 0                                        \
    :: else                                                                                \
    fi

active proctype owner()
{
    freed[1] = 1;
    freed[2] = 1;
end_head:
    do
    :: pend[0] -> ANSWER(0)
    :: d_step { u[0] == 0 && !pend[0] -> LEAVE_STACK; CLEAR; n = 0;
            open = 0; mine = 0; idle = 1 };
        if
        :: d_step { idle -> BORN }
        fi
    :: u[0] == 0 ->
        if
        :: open ->
            INTERRUPT;
            rn = n;                                             /* gc_pool_get: height */
            INTERRUPT;
            rx = slot[rn];                                      /* gc_pool_get: item */
            INTERRUPT;
            if
            :: d_step { rx != 0 -> n = rn - 1; GIVE(0, rx); rx = 0; rn = 0 } /* gc_pool_get: got */
            :: d_step { rx == 0 -> rn = 0 };
                CALL_GET
            fi
        :: !open ->
            CALL_GET
        fi
    :: d_step { u[0] != 0 -> rx = u[0]; u[0] = 0 };
        if
        :: open ->
            INTERRUPT;
            rn = n;                                             /* gc_pool_put: height */
            INTERRUPT;
            if
            :: rn < ROOM ->
                d_step { slot[rn + 1] = rx; rx = 0 };           /* gc_pool_put: item */
                INTERRUPT;
                d_step { n = rn + 1; age[slot[n]] = 0; rn = 0 } /* gc_pool_put: put */
            :: rn == ROOM ->
                rn = 0;
                CALL_PUT
            fi
        :: !open ->
            CALL_PUT
        fi
    /* What is put need not have come from the pool. */
    :: d_step { u[0] == 0 && freed[1] -> NEW(1); u[0] = 1; rx = 0 }
    :: d_step { u[0] == 0 && freed[2] -> NEW(2); u[0] = 2; rx = 0 }
    /* It goes to the ring at once, as from a stack and rack that are full. */
    :: d_step { u[0] != 0 -> rx = u[0]; u[0] = 0; age[rx] = 0; SHADE(0, rx); ring[rx] = 1; rx = 0 }
    od
}

/* ---- mutator 1, a thief: critical from the claim to the shade ---- */

#ifdef M_CLAIM_SPLIT
#define CLAIM(from, x) :: from[x] -> ry = x; from[x] = 0
#else
#define CLAIM(from, x) :: d_step { from[x] -> ry = x; from[x] = 0 } /* the compare-and-swap */
#endif

active proctype thief()
{
end_head:
    do
    :: d_step { pend[1] ->
            if
            :: hs == 3 -> VISIT_REGISTER(u[1])
            :: else
            fi;
            barrier[1] = (hs == 1 -> 1 : (hs == 3 -> 2 : 0));
            pend[1] = 0 }
#ifndef M1_PASSIVE
    :: u[1] == 0 ->
        if
        CLAIM(ring, 1)
        CLAIM(ring, 2)
        CLAIM(old, 1)
        CLAIM(old, 2)
        fi;
        SHADE_STOLEN(ry);
        d_step { GIVE(1, ry); ry = 0 }
    :: u[1] != 0 -> u[1] = 0 /* garbage */
#endif
    od
}

/* ---- the collector ---- */

#define PUBLISH(h) d_step { hs = h; pend[0] = !idle; pend[1] = 1 }
#define GROW_OLD(x)                                                                        \
    if :: IN_POOL(x) && age[x] < 2 -> age[x] = age[x] + 1 :: else fi
#define COLLECT(x)                                                                         \
    d_step { if :: vic[x] || ring[x] || old[x] -> marked[x] = 1 :: else fi }
#define SWEEP(x)                                                                           \
    d_step {                                                                               \
        if                                                                                 \
        :: !marked[x] && !freed[x] ->                                                      \
            CHECK(!HELD(x) && rx != x && ry != x, P_FREED);                                \
            freed[x] = 1                                                                   \
        :: else                                                                            \
        fi;                                                                                \
        marked[x] = 0; unswept[x] = 0                                                      \
    }
#ifdef M_IDLE_STAYS
#define IDLE_TURNS false
#else
#define IDLE_TURNS idle && !turned
#endif
#define STAYS(x) (IN_POOL(x) && age[x] >= 2)

active proctype collector()
{
end_idle:
    do
    :: d_step { hs = 1; pend[0] = !idle; pend[1] = 1; turned = 0; turning = 1;
            GROW_OLD(1); GROW_OLD(2) };
        ACKED;
        d_step { if :: IDLE_TURNS -> TURN_PART :: else fi; turned = 0; turning = 0 };
        PUBLISH(3);
        ACKED;
        COLLECT(1);
        COLLECT(2);
        d_step { hs = 5; pend[0] = !idle; pend[1] = 1; unswept[1] = 1; unswept[2] = 1 };
        ACKED;
        SWEEP(1);
        SWEEP(2);
        d_step { CHECK(!STAYS(1) && !STAYS(2), P_STAYS) }
    od
}
