/* SPDX-License-Identifier: MIT */
/*
 * Weak references at the end of marking.  Two objects, 1 and 2; object 2 may point to object 1
 * (f2), and may have a finalizer (fin).  Each has one weak place.  No strong reference exists
 * when the model starts, all stacks have been scanned, and nothing is grey but what a finalizer
 * keeps: the collector is about to run H4.  Two mutators take objects out of the places, drop
 * what they got, and look again.  It ends with the sweep, which clears marks.
 *
 * The decision is one word per heap, not one per place:
 *     MARKING -> CLOSING -> DECIDED          (collector, around H4)
 *     CLOSING -> MARKING                     (a mutator that upgrades an unmarked target)
 * With a word per place (PERCELL) one place can be declared dead although another one, upgraded
 * a moment later, keeps the same object alive.
 */

#define MARKING 0
#define CLOSING 1
#define DECIDED 2
#define IDLE    3

#define CHECK(c, id) assert((c) || (id == 0))
#define P_DEAD_GET 21 /* a weak get returned an object that is freed */
#define P_FREED    22 /* the sweep frees an object that a register reaches */
#define P_NULL     23 /* a weak get gave NULL for an object that is strongly reachable */
#define P_AGREE    24 /* a weak get returned an object after one had given NULL for it */

bit begun;
byte word = MARKING;     /* weak decision word */
byte cell[3];            /* the target, or 0 once emptied */
bit dead[3];             /* PERCELL: this place was decided dead */
bit up[3];               /* PERCELL: this place was upgraded */
bit marked[3], grey[3], freed[3];
bit gone[3];             /* somebody was told that it is dead */
bit buf0[3], buf1[3];    /* barrier buffers: queued unmarked */
bit off[2];              /* the mutator's barrier is off: it has answered H5 */
byte r[2];
byte hs;                 /* 4, 5, or 0 */
bit pend[2];
bit dirty;
bit f2, fin;
bit ready;               /* the finalizer of object 2 may run, and give it to anybody */

#define STRONG(o) (r[0] == o || r[1] == o || (o == 1 && f2 && (r[0] == 2 || r[1] == 2)))
#define ACKED     (!pend[0] && !pend[1])

/* The next mark drain's worth of work for one object. */
#define FLUSH(b)                                                                           \
    if :: b[1] && !marked[1] -> marked[1] = 1; grey[1] = 1; dirty = 1 :: else fi;          \
    if :: b[2] && !marked[2] -> marked[2] = 1; grey[2] = 1; dirty = 1 :: else fi;          \
    b[1] = 0; b[2] = 0

/* An object that is marked already makes no work. */
#ifdef M_NO_SHADE
#define SHADE(b) skip
#else
#define SHADE(b) b[t] = 1
#endif

/* What a get ends with.  Object 2 may be held again after its finalizer: places stay empty. */
#define RETURN(m) d_step { CHECK(!freed[t], P_DEAD_GET); CHECK(!gone[t], P_AGREE); r[m] = t; t = 0 }
#define NULL_RESULT(o)                                                                     \
    d_step { CHECK(!STRONG(o) || (o == 2 && ready), P_NULL); gone[o] = 1; t = 0 }

#ifdef PERCELL
#define UPGRADE(m, b)                                                                      \
    if                                                                                     \
    :: d_step { dead[t] -> ok = 0 }                                                        \
    :: d_step { !dead[t] -> if :: word == CLOSING && !marked[t] -> up[t] = 1 :: else fi;   \
            SHADE(b); ok = 1 }                                                             \
    fi
#else
#ifdef M_NO_CANCEL
#define CANCEL w = MARKING
#elif defined(M_CANCEL_SPLIT)
#define CANCEL w = MARKING; word = MARKING
#else
#define CANCEL                                                                             \
    if                                                                                     \
    :: d_step { word == CLOSING -> word = MARKING; w = MARKING }                           \
    :: word != CLOSING                                                                     \
    fi
#endif
#define UPGRADE(m, b)                                                                      \
    if                                                                                     \
    :: off[m] -> ok = 1                                     /* gcrt_weak_upgrade: off */   \
    :: d_step { !off[m] && marked[t] -> ok = 1 }            /* gcrt_weak_upgrade: marked */\
    :: atomic { !off[m] && !marked[t] -> w = CLOSING };                                    \
       do                                                                                  \
       :: w == CLOSING ->                                                                  \
          w = word;                                         /* gcrt_weak_upgrade: word */  \
          if                                                                               \
          :: w == DECIDED ->                                                               \
             break                                          /* gcrt_weak_upgrade: decided */\
          :: w == CLOSING -> CANCEL                         /* gcrt_weak_upgrade: cancel */\
          :: w == MARKING || w == IDLE -> w = MARKING                                      \
          fi                                                                               \
       :: w == MARKING ->                                                                  \
          LAND(m, b)                                                                       \
          d_step { SHADE(b); ok = 1 };                      /* gcrt_weak_upgrade: shade */ \
          break                                                                            \
       od                                                                                  \
    fi
#endif

#ifdef M_NO_REREAD
#define STILL true
#else
#define STILL cell[t] == t
#endif

#ifdef M_NOT_CRITICAL
#define LAND(m, b) if :: pend[m] -> ANSWER(m, b) :: true fi;
#else
#define LAND(m, b)
#endif
#define ANSWER(m, b)                                                                       \
    d_step {                                                                               \
        if                                                                                 \
        :: hs == 4 -> FLUSH(b)                                                             \
        :: else -> b[1] = 0; b[2] = 0; off[m] = 1                                          \
        fi;                                                                                \
        pend[m] = 0                                                                        \
    }

#define GET(m, b, o)                                                                       \
    :: d_step { cell[o] != 0 -> t = o };                    /* gcrt_weak_load: look */     \
       UPGRADE(m, b);                                       /* gcrt_weak_load: upgrade */  \
       if                                                                                  \
       :: !ok -> NULL_RESULT(t)                                                            \
       :: ok && STILL -> RETURN(m)                          /* gcrt_weak_load: again */    \
       :: ok && !(STILL) -> NULL_RESULT(t)                                                 \
       fi;                                                                                 \
       d_step { ok = 0; w = 0 }                                                            \
    :: cell[o] == 0 -> NULL_RESULT(o)

#define BODY(m, b)                                                                         \
    byte t, w;                                                                             \
    bit ok;                                                                                \
    begun;                                                                                 \
end_head:                                                                                  \
    do                                                                                     \
    :: atomic { pend[m] -> ANSWER(m, b) }                                                  \
    GET(m, b, 1)                                                                           \
    GET(m, b, 2)                                                                           \
    :: d_step { r[m] == 2 && f2 -> r[m] = 1 }                                              \
    :: d_step { ready && r[m] == 0 -> r[m] = 2 }                                           \
    :: d_step { r[m] != 0 -> r[m] = 0 }                                                    \
    od

active proctype mutator0() { BODY(0, buf0) }
active proctype mutator1() { BODY(1, buf1) }

#define PUBLISH(h) hs = h; pend[0] = 1; pend[1] = 1
#define EMPTY(o)                                                                           \
    if :: !marked[o] -> cell[o] = 0 :: else fi
#define SWEEP(o)                                                                           \
    d_step {                                                                               \
        if                                                                                 \
        :: !marked[o] -> CHECK(!STRONG(o), P_FREED); freed[o] = 1                          \
        :: else -> marked[o] = 0                                                           \
        fi                                                                                 \
    }
#define REVIVE                                                                             \
    if :: fin && !marked[2] -> marked[2] = 1; ready = 1 :: else fi

active proctype collector()
{
    d_step { cell[1] = 1; cell[2] = 2 };
    if :: f2 = 1 :: f2 = 0 fi;
    if :: fin = 1; marked[1] = f2 :: fin = 0 fi;
    begun = 1;
marking:
    do                                                              /* mark */
    :: d_step { grey[2] -> grey[2] = 0;
            if :: f2 && !marked[1] -> marked[1] = 1; grey[1] = 1 :: else fi }
    :: d_step { grey[1] -> grey[1] = 0 }
    :: atomic { !grey[1] && !grey[2] -> dirty = 0; break }
    od;
#ifdef M_CLOSE_LATE
    skip;
#else
    word = CLOSING;                                                 /* mark_to_the_end: close */
#endif
    d_step { PUBLISH(4); up[1] = 0; up[2] = 0 };                    /* mark_to_the_end: flush */
    ACKED;
#ifdef M_CLOSE_LATE
    word = CLOSING;
#endif
#ifdef PERCELL
    if
    :: dirty -> word = MARKING; goto marking
    :: else
    fi;
    d_step { if :: !marked[1] && !up[1] -> dead[1] = 1 :: else fi };
    d_step { if :: !marked[2] && !up[2] -> dead[2] = 1 :: else fi };
    if
    :: up[1] || up[2] -> word = MARKING; goto marking
    :: else
    fi;
    word = DECIDED;
#else
    if
    :: d_step { dirty -> word = MARKING }; goto marking
    :: atomic { !dirty && word == CLOSING -> word = DECIDED }       /* mark_to_the_end: decide */
#ifdef M_NO_CANCEL
    :: false
#else
    :: d_step { !dirty && word != CLOSING -> word = MARKING };      /* mark_to_the_end: reopen */
       goto marking
#endif
    fi;
#endif
#ifdef M_REVIVE_FIRST
    REVIVE;
#endif
#ifndef M_CLEAR_LATE
    EMPTY(1);                                                       /* end_marking: empty */
    EMPTY(2);
#endif
#ifndef M_REVIVE_FIRST
    REVIVE;                                                         /* end_marking: ready */
#endif
    d_step { PUBLISH(5) };                                          /* end_marking: off */
    ACKED;
    word = IDLE;                                                    /* end_marking: idle */
    SWEEP(1);                                                       /* end_marking: advance */
    SWEEP(2);
#ifdef M_CLEAR_LATE
    d_step { if :: freed[1] -> cell[1] = 0 :: else fi };
    d_step { if :: freed[2] -> cell[2] = 0 :: else fi };
#endif
}
