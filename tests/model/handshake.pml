/* SPDX-License-Identifier: MIT */
/*
 * How one handshake is asked and answered (handshake.c, mutator.c), word by word: two threads,
 * the collector, signals, blocking regions, attaching and detaching.  What an action does is
 * protocol.pml's matter; here it is a step that begins and ends, and must come exactly once.
 *
 * A signal is delivered at its thread's next step, whatever that is; SIG stands wherever the
 * code can be interrupted.  A second nudge of the same handshake does not find the thread
 * critical again: that a thread is critical at every one of endlessly many retries is left
 * out.  Epochs count modulo 4.
 *
 * HOLDS: a handshake may hold, as the verifier's does and that of GC_MODE_STW: who has answered
 * stays until it is released.  REST: there may be no further handshake.
 *
 * Switches: ATTACH, BLOCK, HOLDS, SILENT (a thread may stop calling us for good), ONE (mutator 1
 * stays out of it), NO_SIGNALS (no grace time ever ends: fewer states).  Tags in comments
 * (function: step) are tied to the code by order.txt.
 */

#define CHECK(c, id) assert((c) || (id == 0))
#define P_CRITICAL 41 /* an action runs between a barrier's test and its store */
#define P_OWNER    42 /* two threads act on one record, or the collector while it is inside */
#define P_ONCE     43 /* an action runs twice, or one was skipped */
#define P_SPILLED  44 /* the collector acts for a thread whose registers are not saved */
#define P_WALK     46 /* the walk over the registry stands on a record that has left it */
#define P_HELD     47 /* a thread gets on while everybody is held */
#define P_ACKED    45 /* the handshake ends, and somebody has neither answered nor was born so */

#define INSIDE  0
#define OUTSIDE 1
#define HELD    2
#define FREE    3 /* nobody has the registry's lock; else who has */
#define COLLECTOR 2
#define NONE    9

byte lock = FREE;
byte epoch, pending, count;
byte inherit;                 /* registry.barrier and the like: as of which handshake */
byte req[2], ans[2];
bit holding, held;            /* this handshake holds; newcomers wait */
byte released;                /* newest handshake that held, and is over */
bit waits[2];                 /* a newcomer, until released changes */
bit poll[2], critical[2], depth[2], listed[2];
byte state[2];
byte sig[2];                  /* 1 a signal is on its way, 2 one that will not find it critical */
bit nudged[2];                /* in this handshake already */
bit asleep;                   /* the collector, on `pending' */
/* ghosts */
bit busy[2];                  /* somebody acts on the record */
bit mid[2];                   /* between the barrier's test and the store */
bit spilled[2];
bit all_held;                  /* all have answered one that holds */
byte ran[2];                  /* newest handshake carried out, or born with */

/* PROGRESS: who has just had the lock lets another go first, for there is no strong fairness. */
#ifdef PROGRESS
bit wants[3];
byte last = FREE;
#define QUEUED(who) (wants[0] + wants[1] + wants[2] > wants[who])
#define LOCK(who)                                                                          \
    wants[who] = 1;                                                                        \
    atomic { lock == FREE && !(last == who && QUEUED(who)) -> lock = who; wants[who] = 0 }
#define UNLOCK      d_step { last = lock; lock = FREE }
#else
#define LOCK(who)   atomic { lock == FREE -> lock = who }
#define UNLOCK      lock = FREE
#endif
#define NEXT(e)     ((e + 1) % 4)

#define RUN_BEGIN(m, e)                                                                    \
    d_step {                                                                               \
        CHECK(!mid[m], P_CRITICAL);                                                        \
        CHECK(!busy[m], P_OWNER);                                                          \
        CHECK(NEXT(ran[m]) == e, P_ONCE);                                                  \
        busy[m] = 1                                                                        \
    }
#define RUN_END(m, e) d_step { busy[m] = 0; ran[m] = e }

/* pending counts down; the last one wakes the collector. */
#define COUNT_DOWN d_step { pending--; if :: pending == 0 -> asleep = 0 :: else fi }

#if defined(M_COUNT_FIRST)
#define ACT(m, e)                                                                          \
    COUNT_DOWN; RUN_BEGIN(m, e); RUN_END(m, e); poll[m] = 0; ans[m] = e
#elif defined(M_POLL_LAST)
#define ACT(m, e)                                                                          \
    RUN_BEGIN(m, e); RUN_END(m, e); ans[m] = e; COUNT_DOWN; poll[m] = 0
#elif defined(M_ANSWER_EARLY)
#define ACT(m, e)                                                                          \
    ans[m] = e; RUN_BEGIN(m, e); RUN_END(m, e); poll[m] = 0; COUNT_DOWN
#else
#define ACT(m, e)                                                                          \
    RUN_BEGIN(m, e);                    /* act: action */                                  \
    RUN_END(m, e);                                                                         \
    poll[m] = 0;                        /* act: poll */                                    \
    ans[m] = e;                         /* act: answered */                                \
    COUNT_DOWN                          /* act: pending */
#endif

#ifdef HOLDS
#define STAY(m) if :: hold -> released == e :: atomic { !hold -> skip } fi; hold = 0;
#define GETS_ON d_step { CHECK(!all_held, P_HELD) };
#define READ_HOLD hold = holding
#else
#define STAY(m)
#define GETS_ON
#define READ_HOLD skip
#endif

/* gcrt_handshake_answer; critical. */
#define ANSWER(m)                                                                          \
    if                                                                                     \
    :: atomic { req[m] != ans[m] -> e = req[m]; READ_HOLD };                               \
        ACT(m, e);                                                                         \
        STAY(m)                                                                            \
        e = 0                                                                              \
    :: req[m] == ans[m]                                                                    \
    fi

/* gcrt_handshake_signal, on the thread itself. */
#ifdef M_SIGNAL_CRITICAL
#define DEAF(m) (depth[m] || !poll[m])
#elif defined(M_SIGNAL_OUTSIDE)
#define DEAF(m) (critical[m] || !poll[m])
#else
#define DEAF(m) (critical[m] || depth[m] || !poll[m])
#endif
#ifdef M_SIGNAL_CRITICAL
#define HANDLE(m)                                                                          \
    if                                                                                     \
    :: atomic { DEAF(m) -> sig[m] = 0 }                                                    \
    :: atomic { !DEAF(m) -> sig[m] = 0 }; ANSWER(m)                                        \
    fi
#else
#define HANDLE(m)                                                                          \
    if                                                                                     \
    :: atomic { DEAF(m) -> sig[m] = 0 } /* gcrt_handshake_signal: deaf */                  \
    :: atomic { !DEAF(m) -> sig[m] = 0; critical[m] = 1 }; /* answer_unless_forking: critical */\
        ANSWER(m);                      /* answer_unless_forking: answer */                \
        critical[m] = 0                 /* answer_unless_forking: leave */                 \
    fi
#endif
#define HIT(m) (sig[m] == 1 || (sig[m] == 2 && !critical[m]))
#ifdef NO_SIGNALS
#define SIG(m)
#else
#define SIG(m) if :: HIT(m) -> HANDLE(m) :: atomic { !HIT(m) -> skip } fi;
#endif

/* gc_impl_poll */
#define POLL(m)                                                                            \
    do                                                                                     \
    :: atomic { poll[m] && !depth[m] -> critical[m] = 1 }; ANSWER(m); critical[m] = 0      \
    :: atomic { !(poll[m] && !depth[m]) -> break }                                         \
    od

/* The inline barrier or allocation: no poll at its end.  Then the slow forms, with one. */
#define FAST(m)                                                                            \
    critical[m] = 1;                                                                       \
    SIG(m)                                                                                 \
    mid[m] = 1;                                                                            \
    GETS_ON                                                                                \
    SIG(m)                                                                                 \
    mid[m] = 0;                                                                            \
    critical[m] = 0

/* gcrt_block_enter_with */
#ifdef M_OUTSIDE_FIRST
#define ENTER(m)                                                                           \
    critical[m] = 1; depth[m] = 1; state[m] = OUTSIDE; spilled[m] = 1; critical[m] = 0
#else
#define ENTER(m)                                                                           \
    critical[m] = 1;                                                                       \
    SIG(m)                                                                                 \
    depth[m] = 1;                       /* gcrt_block_enter_with: depth */                 \
    spilled[m] = 1;                     /* gcrt_block_enter_with: registers */             \
    SIG(m)                                                                                 \
    state[m] = OUTSIDE;                 /* gcrt_mutator_go_outside: state */               \
    SIG(m)                                                                                 \
    critical[m] = 0                     /* gcrt_mutator_go_outside: critical */
#endif

/* gc_block_leave.  The wait of go_inside needs no timeout: who lets go wakes. */
#ifdef M_LEAVE_NO_WAIT
#define GO_INSIDE(m) state[m] = INSIDE
#else
#define GO_INSIDE(m) atomic { state[m] == OUTSIDE -> state[m] = INSIDE }
#endif
#ifdef M_LEAVE_DEPTH_FIRST
#define LEAVE(m)                                                                           \
    depth[m] = 0; SIG(m) critical[m] = 1; GO_INSIDE(m); spilled[m] = 0; critical[m] = 0; POLL(m)
#else
#define LEAVE(m)                                                                           \
    critical[m] = 1;                    /* gc_block_leave: critical */                     \
    SIG(m)                                                                                 \
    GO_INSIDE(m);                       /* gc_block_leave: state */                        \
    spilled[m] = 0;                                                                        \
    SIG(m)                                                                                 \
    depth[m] = 0;                       /* gc_block_leave: depth */                        \
    SIG(m)                                                                                 \
    critical[m] = 0;                    /* gc_block_leave: leave */                        \
    POLL(m)
#endif

/* gcrt_mutator_attach, enlist, wait_unlocked */
#if defined(HOLDS) && !defined(M_BORN_HELD)
#define WAIT_UNHELD(m)                                                                     \
    do                                                                                     \
    :: atomic { held -> waits[m] = 1 }; UNLOCK; !waits[m]; LOCK(m)                         \
    :: atomic { !held -> break }                                                           \
    od;                                                                                    \
    skip;
#else
#define WAIT_UNHELD(m)
#endif
#ifdef M_BORN_ASKED
#define BIRTH(m) req[m] = epoch
#else
#define BIRTH(m) req[m] = epoch; ans[m] = epoch
#endif
#define ENLIST(m)                                                                          \
    critical[m] = 1;                                                                       \
    LOCK(m);                            /* enlist: lock */                                 \
    WAIT_UNHELD(m)                                                                         \
    d_step { BIRTH(m) };                /* enlist: epoch */                                \
    ran[m] = inherit;                   /* enlist: inherit */                              \
    poll[m] = 0;                        /* enlist: poll */                                 \
    d_step { count++; listed[m] = 1 };  /* enlist: count */                                \
    UNLOCK;                             /* enlist: unlock */                               \
    critical[m] = 0;                                                                       \
    POLL(m)

/* gcrt_mutator_detach, delist */
#ifdef M_DETACH_UNASKED
#define LAST_ANSWER(m)
#else
#define LAST_ANSWER(m)                                                                     \
    do                                                                                     \
    :: req[m] != ans[m] -> UNLOCK; ANSWER(m); LOCK(m)                                      \
    :: atomic { req[m] == ans[m] -> break }                                                \
    od;
#endif
#define DELIST(m)                                                                          \
    critical[m] = 1;                                                                       \
    SIG(m)                                                                                 \
    LOCK(m);                            /* delist: lock */                                 \
    LAST_ANSWER(m)                      /* delist: answer */                               \
    atomic { listed[m] = 0; count-- };  /* delist: count */                                \
    UNLOCK;                             /* delist: unlock */                               \
    d_step { critical[m] = 0; sig[m] = 0; poll[m] = 0 }

#ifdef SILENT
#define GO_SILENT(m) :: goto silent
#else
#define GO_SILENT(m)
#endif
#ifdef BLOCK
#define GO_OUTSIDE(m) :: ENTER(m); SIG(m) goto outside
#else
#define GO_OUTSIDE(m)
#endif
#ifdef ATTACH
#define GO_AWAY(m) :: DELIST(m); goto away
#else
#define GO_AWAY(m)
#endif

/* progress_ labels must not stand in here: a mutator that runs on is no progress. */
#define BODY(m)                                                                            \
    byte e;                                                                                \
    bit hold;                                                                              \
end_away:                                                                                  \
    do :: goto born od;                                                                    \
born:                                                                                      \
    ENLIST(m);                                                                             \
end_head:                                                                                  \
    do                                                                                     \
    :: FAST(m); SIG(m)                                                                     \
    :: atomic { HIT(m) -> skip }; SIG(m)                                                   \
    :: atomic { poll[m] -> skip }; POLL(m)                                                 \
    GO_SILENT(m)                                                                           \
    GO_OUTSIDE(m)                                                                          \
    GO_AWAY(m)                                                                             \
    od;                                                                                    \
end_outside:                                                                               \
outside:                                                                                   \
    do                                                                                     \
    :: atomic { HIT(m) -> skip }; SIG(m)                                                   \
    :: LEAVE(m); goto end_head                                                             \
    :: goto asleep_outside                                                                 \
    od;                                                                                    \
asleep_outside: /* for good */                                                             \
end_asleep:                                                                                \
    do :: atomic { HIT(m) -> skip }; SIG(m) od;                                            \
silent:                                                                                    \
end_silent:                                                                                \
    do :: atomic { HIT(m) -> skip }; SIG(m) od;                                            \
away:                                                                                      \
    goto end_away

active proctype mutator0() { BODY(0) }
#ifndef ONE
active proctype mutator1() { BODY(1) }
#endif

/* ---- the collector: gcrt_handshake_run, endlessly ---- */

#define ASK(m)                                                                             \
    if                                                                                     \
    :: listed[m] ->                                                                        \
        req[m] = epoch;                 /* publish.ask: request */                         \
        poll[m] = 1                     /* publish.ask: poll */                            \
    :: atomic { !listed[m] -> skip }                                                       \
    fi;                                                                                    \
    nudged[m] = 0

/* serve_outside, answer_for_locked: the lock is let go while the collector acts. */
#ifdef M_NO_RECHECK
#define STILL_DUE(m) true
#else
#define STILL_DUE(m) (ans[m] != epoch)
#endif
#ifdef M_LET_UNLOCKED
#define LET_GO(m) state[m] = OUTSIDE; LOCK(COLLECTOR)
#elif defined(HOLDS) && !defined(M_LET_HELD)
#define LET_GO(m)                                                                          \
    LOCK(COLLECTOR);                                                                       \
    if :: holding :: !holding -> state[m] = OUTSIDE fi;                                    \
    skip
#else
#define LET_GO(m)                                                                          \
    LOCK(COLLECTOR);                    /* answer_for_locked.let: lock */                  \
    state[m] = OUTSIDE                  /* answer_for_locked.let: let */
#endif
#define SERVE(m)                                                                           \
    LOCK(COLLECTOR);                                                                       \
    if                                                                                     \
    :: listed[m] && ans[m] != epoch ->                                                     \
        if                                                                                 \
        :: atomic { state[m] == OUTSIDE -> state[m] = HELD }; /* answer_for_locked: hold */\
            UNLOCK;                     /* answer_for_locked: unlock */                    \
            if                                                                             \
            :: STILL_DUE(m) ->          /* answer_for_locked: due */                       \
                d_step { CHECK(spilled[m], P_SPILLED); CHECK(state[m] == HELD, P_OWNER) }; \
                ACT(m, epoch);          /* answer_for_locked: act */                       \
                d_step { CHECK(state[m] == HELD, P_OWNER) }                                \
            :: atomic { !STILL_DUE(m) -> skip }                                            \
            fi;                                                                            \
            LET_GO(m);                                                                     \
            d_step { CHECK(listed[m], P_WALK) }                                            \
        :: atomic { state[m] != OUTSIDE -> skip }                                          \
        fi                                                                                 \
    :: atomic { !(listed[m] && ans[m] != epoch) -> skip }                                  \
    fi;                                                                                    \
    UNLOCK

/* nudge_silent, send_nudge. */
#ifdef M_ONE_SIGNAL
#define AGAIN(m) !nudged[m]
#else
#define AGAIN(m) true
#endif
#define NUDGE(m)                                                                           \
    LOCK(COLLECTOR);                                                                       \
    d_step {                                                                               \
        if                                                                                 \
        :: listed[m] && ans[m] != epoch && AGAIN(m) ->                                     \
            sig[m] = (nudged[m] -> 2 : 1);                                                 \
            nudged[m] = 1                                                                  \
        :: else                                                                            \
        fi                                                                                 \
    };                                                                                     \
    UNLOCK

#if defined(NO_SIGNALS) || defined(M_NO_SIGNAL)
#define NUDGE_ALL skip
#elif defined(ONE)
#define NUDGE_ALL NUDGE(0)
#else
#define NUDGE_ALL NUDGE(0); NUDGE(1)
#endif

/* The futex wait on `pending': it slept in vain, is woken, or the time is up. */
#ifdef M_NO_TIMEOUT
#define TIME_UP
#else
#define TIME_UP :: true -> nudge = 1
#endif

/* release_all_locked */
#define LET_ONE_GO(m) if :: atomic { state[m] == HELD -> state[m] = OUTSIDE } :: else fi
#define LET_ALL_GO LET_ONE_GO(0); LET_ONE_GO(1)

/* announce_release */
#define RELEASE d_step { released = epoch; waits[0] = 0; waits[1] = 0 }

active proctype collector()
{
    byte seen;
    byte e;
    bit nudge;

    do
#ifdef REST
    :: goto end_rest
#endif
    ::
#ifdef M_INHERIT_EARLY
        inherit = NEXT(epoch);
#endif
        LOCK(COLLECTOR);                                        /* publish: lock */
        epoch = NEXT(epoch);                                    /* publish: epoch */
        pending = count;                                        /* publish: pending */
#ifdef HOLDS
        if
        :: d_step {
            holding = 1;
            held = 1;
            if :: released == epoch -> released = NONE /* so old it was another */ :: else fi
        }
        :: d_step { holding = 0; held = 0 }
        fi;
#endif
#if !defined(M_INHERIT_EARLY) && !defined(M_INHERIT_LATE)
        inherit = epoch;                                        /* publish: inherit */
#endif
        ASK(0);
#ifndef ONE
        ASK(1);
#endif
        UNLOCK;                                                 /* publish: unlock */
#ifdef M_INHERIT_LATE
        inherit = epoch;
#endif
        nudge = 0;
        do
        ::
#ifdef BLOCK
            SERVE(0);                                           /* handshake: chase */
#ifndef ONE
            SERVE(1);
#endif
#endif
            if :: nudge -> NUDGE_ALL :: atomic { !nudge -> skip } fi;
            seen = pending;                                     /* handshake: look */
            if
            :: atomic { seen == 0 -> break }
            :: atomic { seen != 0 && pending != seen -> skip }
            :: atomic { seen != 0 && pending == seen -> asleep = 1 }; /* handshake: wait */
                if
                :: !asleep
                TIME_UP
                fi;
                asleep = 0
            fi
        od;
        skip;
        d_step {
            CHECK(!listed[0] || ran[0] == epoch, P_ACKED);
            CHECK(!listed[1] || ran[1] == epoch, P_ACKED)
        };
#ifdef HOLDS
        if
        :: holding ->
            all_held = 1;
            all_held = 0;
#ifdef M_ANNOUNCE_FIRST
            RELEASE;
#endif
            LOCK(COLLECTOR);                                    /* gcrt_resume_all: lock */
            LET_ALL_GO;                                         /* gcrt_resume_all: go */
            held = 0;
            UNLOCK;                                             /* gcrt_resume_all: unlock */
#ifndef M_ANNOUNCE_FIRST
            RELEASE                                             /* gcrt_resume_all: tell */
#endif
        :: !holding
        fi;
#endif
progress_end:
        skip
    od;
#ifdef REST
end_rest:
    skip
#endif
}
