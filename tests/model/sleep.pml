/* SPDX-License-Identifier: MIT */
/*
 * Who sleeps for one other thread, and says so, so that nobody is woken who does not sleep: the
 * collector until the last mutator has answered (wait_for_answers of handshake.c), and a mutator
 * until its record is let go (go_inside of mutator.c), which the collector and the scavenger
 * hold by turns.  No sleep has a timeout, so a wake-up that is missed is a deadlock.
 *
 * A mutator goes outside and comes back TRIPS times, and answers while it is inside; the collector
 * asks ROUNDS times, answers for those outside, and sleeps until the others have; the scavenger
 * looks at all ROUNDS times.  A futex word that has another value than its waiter read lets it
 * go at once.
 */

#define CHECK(c, id) assert((c) || (id == 0))
#define P_OWNER 42 /* two threads act on one record */

#define MUTATORS 2
#define TRIPS 2
#define ROUNDS 2

#define INSIDE  0
#define OUTSIDE 1
#define HELD    2
#define AWAITED 3

byte state[MUTATORS];
bit dozes[MUTATORS];  /* asleep on the futex `state` */
byte owners[MUTATORS]; /* who act on the record */
bit asked[MUTATORS];
byte pending;
bit asleep;           /* handshake.asleep */
bit dozing;           /* the collector, on the futex `pending` */

/* gcrt_mutator_hold of one that is outside; then LET_GO. */
#define HOLD(m) state[m] = HELD; owners[m]++; CHECK(owners[m] == 1, P_OWNER)
#ifdef M_LOOKS_THEN_LETS_GO
#define LET_GO(m)                                                                          \
    owners[m]--;                                                                           \
    if                                                                                     \
    :: atomic { state[m] == AWAITED -> state[m] = OUTSIDE }; dozes[m] = 0                  \
    :: atomic { state[m] == HELD -> skip }; state[m] = OUTSIDE                             \
    fi
#else
#define LET_GO(m)                                                                          \
    owners[m]--;                                                                           \
    if                                                                                     \
    :: atomic { state[m] == AWAITED -> state[m] = OUTSIDE }; /* gcrt_mutator_let_go: swap */ \
        dozes[m] = 0                           /* gcrt_mutator_let_go: wake */             \
    :: atomic { state[m] == HELD -> state[m] = OUTSIDE }                                   \
    fi
#endif

/* gcrt_os_wake of `pending'. */
#ifdef M_LOOKS_THEN_COUNTS
#define COUNT_DOWN                                                                         \
    if                                                                                     \
    :: atomic { asleep -> skip }; atomic { pending--; dozing = (pending == 0 -> 0 : dozing) } \
    :: atomic { !asleep -> skip }; pending--                                               \
    fi
#else
#define COUNT_DOWN                                                                         \
    if                                                                                     \
    :: atomic { pending != 1 -> pending-- }                                                \
    :: atomic { pending == 1 -> pending-- };   /* act.wake: pending */                          \
        if                                                                                 \
        :: atomic { asleep -> skip };          /* act.wake: asleep */                         \
            dozing = 0                         /* act.wake: wake */                           \
        :: atomic { !asleep -> skip }                                                      \
        fi                                                                                 \
    fi
#endif

#define ENTER(m) state[m] == OUTSIDE -> state[m] = INSIDE /* go_inside: inside */

/* It says so before it sleeps. */
#ifdef M_AWAITS_UNSAID
#define AWAIT(m) if :: atomic { state[m] == HELD -> dozes[m] = 1 } :: atomic { state[m] != HELD -> skip } fi
#else
#define AWAIT(m)                                                                           \
    if                                                                                     \
    :: atomic { state[m] == HELD -> state[m] = AWAITED } /* go_inside: awaited */          \
    :: atomic { state[m] != HELD -> skip }                                                 \
    fi;                                                                                    \
    if                                                                                     \
    :: atomic { state[m] == AWAITED -> dozes[m] = 1 } /* go_inside: wait */                \
    :: atomic { state[m] != AWAITED -> skip }                                              \
    fi
#endif

active [MUTATORS] proctype mutator()
{
    byte m = _pid, trips = 0;

end_head:
    do
    :: atomic { asked[m] -> asked[m] = 0 };
        COUNT_DOWN
    :: atomic { !asked[m] && trips < TRIPS -> state[m] = OUTSIDE; trips++ };
        do
        :: atomic { ENTER(m) }; break
        :: atomic { state[m] != OUTSIDE -> skip };
            AWAIT(m);
            !dozes[m]
        od
    od
}

active proctype scavenger()
{
    byte i, rounds = 0;

    do
    :: rounds < ROUNDS ->
        i = 0;
        do
        :: i < MUTATORS ->
            if
            :: atomic { state[i] == OUTSIDE -> HOLD(i) };
                LET_GO(i)
            :: atomic { state[i] != OUTSIDE -> skip }
            fi;
            i++
        :: i == MUTATORS -> break
        od;
        rounds++
    :: rounds == ROUNDS -> break
    od
}

#ifdef M_SLEEPS_UNSAID
#define SAY_SO skip
#else
#define SAY_SO asleep = 1
#endif

active proctype collector()
{
    byte i, seen, rounds = 0;

    do
    :: rounds < ROUNDS ->
        d_step { asked[0] = 1; asked[1] = 1; pending = MUTATORS };
        do
        :: i = 0;
            do
            :: i < MUTATORS ->
                if
                :: atomic { asked[i] && state[i] == OUTSIDE -> HOLD(i); asked[i] = 0 };
                    pending--;
                    LET_GO(i)
                :: atomic { !(asked[i] && state[i] == OUTSIDE) -> skip }
                fi;
                i++
            :: i == MUTATORS -> break
            od;
            if
            :: atomic { pending == 0 -> break }
            :: atomic { pending != 0 -> skip }
            fi;
            SAY_SO;                                          /* wait_for_answers: asleep */
            seen = pending;                                  /* wait_for_answers: look */
            if
            :: atomic { seen != 0 && pending == seen -> dozing = 1 }; /* wait_for_answers: wait */
                !dozing
            :: atomic { !(seen != 0 && pending == seen) -> skip }
            fi;
            asleep = 0
        od;
        rounds++
    :: rounds == ROUNDS -> break
    od
}
