/* SPDX-License-Identifier: MIT */
/*
 * Asking for a cycle and waiting for it (coordinator.c): two threads that collect, one that asks
 * for the pacer, the coordinator.  No sleep here has a timeout.
 *
 * DRIVE: the third thread sits in the coordinator's seat (seat.c) and runs the cycle itself, or
 * begins it and has the coordinator go on (drive.c).
 *
 * Counters are kept as differences: `ahead' is started - swept, `left' a waiter's target -
 * swept.  A futex word is a bit for its waiter: it has changed since that read it.
 * NO_PACER leaves the third thread out; ONCE lets it drive once.
 */

#define CHECK(c, id) assert((c) || (id == 0))
#define P_STALE 71 /* gc_collect returns, and no cycle has begun after the call and is complete */
#define P_TWO   72 /* a cycle begins while another one is not complete */

#define FORCED 1
#define PACER  2
#define GO_ON  4
#define HAS(set, bits) (((set) & (bits)) != 0)

byte wanted;
byte ahead;
byte left[2];
bit rung, asleep;     /* cycles.bell */
bit moved[2], waiting[2]; /* cycles.swept */
bit seat;             /* cycles.seat */
bit running;          /* ghost: a cycle is not complete */
bit calls[2];         /* ghost: in a call */
bit begun[2], fresh[2]; /* ghost: a cycle began after the call; and is complete */

/* gcrt_cycle_request */
#define REQUEST(why)                                                                       \
    if                                                                                     \
    :: atomic { HAS(wanted, why) -> skip }                                                 \
    :: atomic { !HAS(wanted, why) -> wanted = wanted | why }; /* gcrt_cycle_request: wanted */\
        BELL                            /* gcrt_cycle_request: bell */                     \
        asleep = 0                                                                         \
    fi
#ifdef M_NO_BELL
#define BELL
#else
#define BELL rung = 1;
#endif

#ifdef M_TARGET_LOW
#define TARGET ahead
#else
#define TARGET (ahead + 1)
#endif

/* wait_for_cycle */
proctype collect(bit i)
{
    do
    ::
        d_step { calls[i] = 1; begun[i] = 0; fresh[i] = 0 };
        left[i] = TARGET;                                    /* wait_for_cycle: started */
        REQUEST(FORCED);                                     /* wait_for_cycle: request */
        do
        ::
            if                                               /* wait_for_cycle: swept */
            :: atomic { left[i] == 0 -> break }
            :: atomic { left[i] != 0 -> moved[i] = 0 }
            fi;
            if
            :: atomic { moved[i] -> skip }
            :: atomic { !moved[i] -> waiting[i] = 1 };
                !waiting[i]                                  /* wait_for_cycle: wait */
            fi
        od;
progress_return:
        atomic { CHECK(fresh[i], P_STALE); calls[i] = 0 }
    od
}

#define BEGIN(i) if :: calls[i] -> begun[i] = 1 :: else fi
#define SWEPT(i) moved[i] = 1; if :: left[i] > 0 -> left[i]-- :: else fi
#define COMPLETE(i) if :: begun[i] -> fresh[i] = 1 :: else fi

inline begin()
{
#ifndef M_COUNT_LATE
    ahead++;                                                 /* begin_cycle: started */
#endif
    d_step { CHECK(!running, P_TWO); running = 1; BEGIN(0); BEGIN(1) }; /* begin_cycle: start */
#ifdef M_COUNT_LATE
    ahead++;
#endif
    skip
}

inline complete()
{
    skip;                                                    /* end_cycle: sweep */
    d_step { running = 0; COMPLETE(0); COMPLETE(1) };
    d_step { ahead--; SWEPT(0); SWEPT(1) };                  /* announce_complete: swept */
    d_step { waiting[0] = 0; waiting[1] = 0 }                /* announce_complete: wake */
}

inline get_up()
{
    seat = 0;                                                /* gcrt_seat_leave: seat */
#ifndef M_LEAVES_QUIETLY
    if
    :: atomic { wanted != 0 -> skip };                       /* gcrt_seat_leave: wanted */
        BELL                                                 /* gcrt_seat_leave: bell */
        asleep = 0
    :: atomic { wanted == 0 -> skip }
    fi
#endif
}

#ifdef DRIVE
inline drive()
{
#ifdef M_NO_SEAT
    skip;
#else
    atomic { seat == 0 -> seat = 1 };                        /* gcrt_drive: seat */
#endif
    if
    :: wanted != 0 || running                                /* run: wanted */
    :: atomic { wanted == 0 && !running -> skip };           /* no trigger while one runs */
        begin();                                             /* run: cycle */
        if
        :: complete()
        :: REQUEST(GO_ON)                                    /* run: go_on */
        fi
    fi;
    get_up()
}
#endif

#ifndef NO_PACER
active proctype pacer()
{
#ifdef ONCE
    drive()
#else
end_head:
    do
    :: REQUEST(PACER)
#ifdef DRIVE
    :: drive()
#endif
    od
#endif
}
#endif

active proctype coordinator()
{
    byte got;

    atomic { run collect(0); run collect(1) };
end_idle:
    do
    ::
#ifndef M_SEEN_LATE
        rung = 0;                                            /* wait_for_request: seen */
#endif
        do
        :: atomic { wanted != 0 -> skip };                   /* wait_for_request: wanted */
            if
            :: atomic { seat == 0 -> seat = 1; break }       /* wait_for_request: seat */
            :: atomic { seat != 0 -> skip }
            fi;
            if
            :: atomic { rung -> skip }
            :: atomic { !rung -> asleep = 1 };
                !asleep
            fi;
            rung = 0
        :: atomic { wanted == 0 -> skip };
#ifdef M_SEEN_LATE
            rung = 0;
#endif
            if
            :: atomic { rung -> skip }
            :: atomic { !rung -> asleep = 1 };               /* wait_for_request: wait */
                !asleep
            fi;
            rung = 0
        od;
        atomic { got = wanted; wanted = 0 };                 /* coordinator_main: take */
#ifdef M_GO_ON_LATER
        if :: HAS(got, FORCED) -> begin(); complete() :: else fi;
#endif
        if
        :: HAS(got, GO_ON) -> complete()                     /* serve: go_on */
        :: else
        fi;
#ifndef M_GO_ON_LATER
        if
        :: HAS(got, FORCED) || HAS(got, PACER) -> begin(); complete() /* serve: run */
        :: !HAS(got, FORCED) /* not due any more, or not asked for */
        fi;
#endif
        got = 0;
        get_up()                                             /* coordinator_main: leave */
    od
}
