/* SPDX-License-Identifier: MIT */
/*
 * Who sleeps while marking, and who wakes them (worker.c, wait_until_quiet of cycle.c): two
 * workers, the coordinator, and a mutator that makes work public without ringing.  Cycles
 * are unbounded; after any of them the workers may be told to stop.
 *
 * A futex word is a bit for each of its waiters: it has changed since the waiter read it.
 * A timeout is a choice that a sleeper always has; the switches take it away:
 *     FOR_EVER_W  the workers' sleep while marking is open
 *     FOR_EVER_C  the coordinator's
 * The workers' sleep between cycles never had one.  ONE: one worker.
 *
 * SOLO: in any cycle the coordinator may mark by itself first (solo.c), in at most TURNS turns,
 * and wake nobody for them.
 */

#define CHECK(c, id) assert((c) || (id == 0))
#define P_CLOSED 61 /* somebody marks after marking was closed and found idle */

#define WORKERS 2
#define FUEL 2      /* buffers that appear in a cycle */
#define TURNS 2

bit open, closed, stop;
byte busy;          /* low half of marking.activity */
bit moved;          /* the high half, as far as a look can tell */
byte work;          /* public buffers */
byte fuel;
byte sleepers;
bit rung[WORKERS], asleep[WORKERS]; /* marking.bell */
bit idle_rung, idle_asleep;         /* marking.idle_bell */
byte gone;

#define WAKE_WORKERS d_step { asleep[0] = 0; asleep[1] = 0 }
#define ADVANCE_BELL d_step { rung[0] = 1; rung[1] = 1 }

/* gcrt_workers_ring */
#define RING                                                                               \
    if                                                                                     \
    :: atomic { sleepers == 0 -> skip }                                                    \
    :: sleepers != 0 ->                                                                    \
        ADVANCE_BELL;                   /* gcrt_workers_ring: bell */                      \
        WAKE_WORKERS                                                                       \
    fi

/* gcrt_marking_begin, gcrt_marking_end */
#define BEGIN d_step { busy++; moved = 1 }
#ifdef M_NO_IDLE_BELL
#define END busy--
#else
#define END                                                                                \
    if                                                                                     \
    :: d_step { busy > 1 -> busy-- }                                                       \
    :: d_step { busy == 1 -> busy-- };                                                     \
        if                              /* nobody_marks: work */                           \
        :: atomic { work == 0 -> skip };                                                    \
            idle_rung = 1;              /* nobody_marks: idle_bell */                      \
            idle_asleep = 0                                                                \
        :: atomic { work != 0 -> skip }; /* wants_help may say either */                   \
            if :: RING :: true fi                                                          \
        fi                                                                                 \
    fi
#endif

/* sleep_on_bell */
#define SLEEP(w, TIMES_OUT)                                                                \
    sleepers++;                         /* sleep_on_bell: count */                         \
    if                                                                                     \
    :: atomic { rung[w] -> skip }                                                          \
    :: atomic { !rung[w] -> asleep[w] = 1 }; /* sleep_on_bell: wait */                     \
        if                                                                                 \
        :: !asleep[w]                                                                      \
        :: TIMES_OUT -> asleep[w] = 0                                                      \
        fi                                                                                 \
    fi;                                                                                    \
    sleepers--
#ifdef FOR_EVER_W
#define BOUNDED false
#else
#define BOUNDED true
#endif

/* mark_quantum, as often as mark_session likes, but once; new work is shared and rung for. */
#define DRAIN                                                                              \
    do                                                                                     \
    :: d_step { work != 0 -> CHECK(!closed, P_CLOSED); work-- }                            \
    :: d_step { fuel != 0 && open -> fuel--; work++ }; RING                                \
    :: atomic { work == 0 -> break }                                                       \
    :: d_step { work != 0 -> CHECK(!closed, P_CLOSED); work-- }; break                     \
    od

#ifdef M_NO_SECOND_LOOK
#define LOOK_AGAIN DRAIN
#else
#define LOOK_AGAIN                                                                         \
    if                                                                                     \
    :: open -> DRAIN                                                                       \
    :: atomic { !open -> skip }                                                            \
    fi
#endif

proctype worker(bit w)
{
    bit tired; /* over its share until it has slept */

main:
#ifdef M_SEEN_LATE
    if :: atomic { stop -> goto out } :: atomic { !stop -> skip } fi;
    if :: atomic { open -> goto marking } :: atomic { !open -> skip } fi;
    rung[w] = 0;
#else
    rung[w] = 0;                                             /* worker_main: seen */
    if :: atomic { stop -> goto out } :: atomic { !stop -> skip } fi;    /* worker_main: stop */
    if :: atomic { open -> goto marking } :: atomic { !open -> skip } fi; /* worker_main: open */
#endif
    SLEEP(w, false);
    goto main;
marking:
    do
    :: atomic { open && !stop -> skip };
        rung[w] = 0;                                         /* mark_until_closed: seen */
        if
        :: atomic { work != 0 && !tired -> skip };           /* mark_until_closed: work */
            BEGIN;                                           /* mark_session: begin */
            LOOK_AGAIN;                                      /* mark_session: open */
            END;                                             /* mark_session: end */
            if :: tired = 1 :: true fi
        :: atomic { work == 0 || tired -> skip }
        fi;
        if
        :: atomic { tired || work == 0 -> skip };
            SLEEP(w, BOUNDED);                               /* mark_until_closed: sleep */
            tired = 0
        :: atomic { !tired && work != 0 -> skip }
        fi
    :: atomic { !(open && !stop) -> break }
    od;
    tired = 0;
    goto main;
out:
    gone++
}

/* Barrier flushes and assists: work becomes public, nobody rings. */
active proctype mutator()
{
end_head:
    do
    :: d_step { open && fuel != 0 -> fuel--; work++ }
    od
}

/* ---- the coordinator ---- */

/* gcrt_marking_is_quiet; one stack. */
#define QUIET (busy == 0 && work == 0)

#ifdef FOR_EVER_C
#define TIME_UP false
#else
#define TIME_UP true
#endif
#ifdef M_IDLE_SEEN_LATE
#define SEEN_EARLY skip
#define SEEN_LATE idle_rung = 0
#else
#define SEEN_EARLY idle_rung = 0
#define SEEN_LATE skip
#endif

/* One that is interrupted by the end of its part leaves work. */
#define MARK_SOME                                                                          \
    BEGIN;                                  /* mark_some: begin */                         \
    do                                                                                     \
    :: d_step { work != 0 -> CHECK(!closed, P_CLOSED); work-- }                            \
    :: d_step { fuel != 0 -> fuel--; work++ }                                              \
    :: break                                                                               \
    od;                                                                                    \
    atomic { busy--; turns-- }              /* mark_some: end */

#ifdef M_SOLO_RINGS_NOBODY
#define RING_IF_LEFT skip
#else
#define RING_IF_LEFT RING
#endif

#define WAIT_FOR_BELL                                                                      \
    SEEN_LATE;                                                                             \
    if                                                                                     \
    :: atomic { idle_rung -> skip }                                                        \
    :: atomic { !idle_rung -> idle_asleep = 1 };                                           \
        if                                                                                 \
        :: !idle_asleep                                                                    \
        :: TIME_UP -> idle_asleep = 0                                                      \
        fi                                                                                 \
    fi

active proctype coordinator()
{
    byte turns; /* marking.solo */

    atomic {
        run worker(0);
#ifndef ONE
        run worker(1)
#else
        gone = 1
#endif
    };
    do
    :: d_step { fuel = FUEL; closed = 0; work = 1 };
        open = 1;                                            /* open_marking: open */
#ifdef SOLO
        if :: turns = TURNS :: turns = 0 fi;
#endif
#ifndef M_NO_START_BELL
        if
        :: atomic { turns == 0 -> skip };                    /* gcrt_workers_start: solo */
            ADVANCE_BELL;                                    /* gcrt_workers_start: bell */
            WAKE_WORKERS
        :: atomic { turns != 0 -> skip }
        fi;
#endif
        do
        ::
            SEEN_EARLY;                                      /* wait_until_quiet: seen */
            if
            :: atomic { turns != 0 -> skip }; MARK_SOME      /* wait_until_quiet: solo */
            :: atomic { turns == 0 -> skip }
            fi;
            if
            :: atomic { QUIET -> break }                     /* wait_until_quiet: quiet */
            :: atomic { !QUIET -> skip }
            fi;
            if
            :: atomic { busy == 0 && turns == 0 -> skip };
                RING_IF_LEFT;                                /* wait_until_quiet: ring */
                WAIT_FOR_BELL                                /* wait_until_quiet: wait */
            :: atomic { busy != 0 -> skip }; WAIT_FOR_BELL
            :: atomic { busy == 0 && turns != 0 -> skip }
            fi
        od;
        open = 0;                                            /* end_marking: close */
        busy == 0;                                         /* end_marking: activity */
progress_cycle:
        d_step { closed = 1; fuel = 0 }
    :: break
    od;
    stop = 1;                                                /* gcrt_workers_finish: stop */
    ADVANCE_BELL;                                            /* gcrt_workers_finish: bell */
    WAKE_WORKERS;
    gone == WORKERS
}
