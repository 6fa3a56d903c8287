/* SPDX-License-Identifier: MIT */
/*
 * Asking for a cycle and waiting for it (the end of cycle.c): two threads that collect, one
 * that asks for the pacer, the coordinator.  No sleep here has a timeout.
 *
 * Counters are kept as differences: `ahead' is started - swept, `left' a waiter's target -
 * swept.  A futex word is a bit for its waiter: it has changed since that read it.
 * NO_PACER leaves the third thread out.
 */

#define CHECK(c, id) assert((c) || (id == 0))
#define P_STALE 71 /* gc_collect returns, and no cycle has begun after the call and is complete */

#define FORCED 1
#define PACER  2
#define HAS(set, bits) (((set) & (bits)) != 0)

byte wanted;
byte ahead;
byte left[2];
bit rung, asleep;     /* cycles.bell */
bit moved[2], waiting[2]; /* cycles.swept */
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

#ifndef NO_PACER
active proctype pacer()
{
end_head:
    do
    :: REQUEST(PACER)
    od
}
#endif

#define BEGIN(i) if :: calls[i] -> begun[i] = 1 :: else fi
#define SWEPT(i) moved[i] = 1; if :: left[i] > 0 -> left[i]-- :: else fi
#define COMPLETE(i) if :: begun[i] -> fresh[i] = 1 :: else fi

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
        :: atomic { wanted != 0 -> break }                   /* wait_for_request: wanted */
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
        if
        :: HAS(got, FORCED) || got == PACER ->               /* coordinator_main: run */
#ifndef M_COUNT_LATE
            ahead++;                                         /* run_cycle: started */
#endif
            d_step { BEGIN(0); BEGIN(1) };                   /* run_cycle: start */
#ifdef M_COUNT_LATE
            ahead++;
#endif
            skip;                                            /* run_cycle: sweep */
            d_step { COMPLETE(0); COMPLETE(1) };
            d_step { ahead--; SWEPT(0); SWEPT(1) };          /* announce_complete: swept */
            d_step { waiting[0] = 0; waiting[1] = 0 }                 /* announce_complete: wake */
        :: got == PACER /* not due any more */
        fi;
        got = 0
    od
}
