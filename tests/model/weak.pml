/* SPDX-License-Identifier: MIT */
/*
 * Weak references at the end of marking.  Two objects, 1 and 2; object 2 may point to object 1
 * (f2).  Each has one weak cell.  No strong reference exists when the model starts, all
 * stacks have been scanned, and nothing is grey: the collector is about to run H4.  Two
 * mutators upgrade cells, drop what they got, and look again.
 *
 * The decision is one word per heap, not one per cell:
 *     MARKING -> CLOSING -> DECIDED          (collector, around H4)
 *     CLOSING -> MARKING                     (a mutator that upgrades an unmarked target)
 * With a word per cell (PERCELL) one cell can be declared dead although another one, upgraded
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

byte word = MARKING;     /* weak decision word */
byte cell[3];            /* the target, or 0 once cleared */
bit dead[3];             /* PERCELL: this cell was decided dead */
bit up[3];               /* PERCELL: this cell was upgraded */
bit marked[3], grey[3], freed[3];
bit buf0[3], buf1[3];    /* barrier buffers: queued unmarked */
byte r[2];
byte hs;                 /* 4, 5, or 0 */
bit pend[2];
bit dirty;
bit f2;

#define STRONG(o) (r[0] == o || r[1] == o || (o == 1 && f2 && (r[0] == 2 || r[1] == 2)))
#define ACKED     (!pend[0] && !pend[1])

/* The next mark drain's worth of work for one object. */
#define FLUSH(b)                                                                           \
    if :: b[1] && !marked[1] -> marked[1] = 1; grey[1] = 1; dirty = 1 :: else fi;          \
    if :: b[2] && !marked[2] -> marked[2] = 1; grey[2] = 1; dirty = 1 :: else fi;          \
    b[1] = 0; b[2] = 0

/* gc_weak_get shades what it returns.  DIRECT marks at once. */
#ifdef M_NO_SHADE
#define SHADE(b, o) skip
#else
#define SHADE(b, o) if :: !marked[o] -> b[o] = 1 :: else fi
#endif

/* gc_weak_get: read the cell; read mark and word; compare-and-swap the word; return. */
#define RETURN(m, o) d_step { CHECK(!freed[o], P_DEAD_GET); r[m] = o; t = 0 }
#define NULL_RESULT(o) d_step { CHECK(!STRONG(o), P_NULL); t = 0 }

#ifdef PERCELL
#define TEST_AND_DECIDE(m, b)                                                              \
    if                                                                                     \
    :: d_step { dead[t] -> skip }; NULL_RESULT(t)                                          \
    :: d_step { !dead[t] -> if :: word == CLOSING && !marked[t] -> up[t] = 1 :: else fi;   \
            SHADE(b, t) };                                                                 \
       RETURN(m, t)                                                                        \
    fi
#elif defined(M_NO_CANCEL)
#define TEST_AND_DECIDE(m, b)                                                              \
    if                                                                                     \
    :: atomic { word == DECIDED && !marked[t] -> NULL_RESULT(t) }                          \
    :: atomic { word != DECIDED || marked[t] -> SHADE(b, t) }; RETURN(m, t)                \
    fi
#elif defined(M_CANCEL_SPLIT)
#define TEST_AND_DECIDE(m, b)                                                              \
    if                                                                                     \
    :: atomic { word == DECIDED && !marked[t] -> NULL_RESULT(t) }                          \
    :: word == CLOSING && !marked[t] -> word = MARKING; SHADE(b, t); RETURN(m, t)          \
    :: atomic { word == MARKING || word == IDLE || marked[t] -> SHADE(b, t) }; RETURN(m, t)\
    fi
#else
#define TEST_AND_DECIDE(m, b)                                                              \
    if                                                                                     \
    :: atomic { word == DECIDED && !marked[t] -> NULL_RESULT(t) }                          \
    :: d_step { word == CLOSING && !marked[t] -> word = MARKING }; SHADE(b, t); RETURN(m, t)\
    :: atomic { word == MARKING -> skip }; SHADE(b, t); RETURN(m, t)                       \
    :: atomic { word == IDLE || marked[t] -> skip }; RETURN(m, t)                          \
    fi
#endif

#ifdef M_NOT_CRITICAL
#define LAND(m, b) if :: pend[m] -> ANSWER(m, b) :: true fi;
#else
#define LAND(m, b)
#endif
#define ANSWER(m, b) d_step { FLUSH(b); pend[m] = 0 }

#define GET(m, b, o)                                                                       \
    :: atomic { cell[o] != 0 -> t = cell[o] }; LAND(m, b) TEST_AND_DECIDE(m, b)            \
    :: d_step { cell[o] == 0 -> CHECK(!STRONG(o), P_NULL) }

#define BODY(m, b)                                                                         \
    byte t;                                                                                \
end_head:                                                                                  \
    do                                                                                     \
    :: atomic { pend[m] -> ANSWER(m, b) }                                                  \
    GET(m, b, 1)                                                                           \
    GET(m, b, 2)                                                                           \
    :: d_step { r[m] == 2 && f2 -> r[m] = 1 }                                              \
    :: d_step { r[m] != 0 -> r[m] = 0 }                                                    \
    od

active proctype mutator0() { BODY(0, buf0) }
active proctype mutator1() { BODY(1, buf1) }

#define PUBLISH(h) hs = h; pend[0] = 1; pend[1] = 1
#define CLEAR(o)                                                                           \
    if :: !marked[o] -> cell[o] = 0 :: else fi
#define SWEEP(o)                                                                           \
    d_step {                                                                               \
        if                                                                                 \
        :: !marked[o] -> CHECK(!STRONG(o), P_FREED); freed[o] = 1                          \
        :: else                                                                            \
        fi                                                                                 \
    }

active proctype collector()
{
    cell[1] = 1; cell[2] = 2;
    if :: f2 = 1 :: f2 = 0 fi;
marking:
    do                                                              /* mark */
    :: d_step { grey[2] -> grey[2] = 0;
            if :: f2 && !marked[1] -> marked[1] = 1; grey[1] = 1 :: else fi }
    :: d_step { grey[1] -> grey[1] = 0 }
    :: atomic { !grey[1] && !grey[2] -> dirty = 0; break }
    od;
    word = CLOSING;
    d_step { PUBLISH(4); up[1] = 0; up[2] = 0 };                    /* H4 flush */
    ACKED;
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
    :: atomic { !dirty && word == CLOSING -> word = DECIDED }       /* compare-and-swap */
#ifdef M_NO_CANCEL
    :: false
#else
    :: atomic { !dirty && word != CLOSING }; goto marking
#endif
    fi;
#endif
#ifndef M_CLEAR_LATE
    CLEAR(1);
    CLEAR(2);
#endif
    d_step { PUBLISH(5) };                                          /* H5 barrier_off */
    ACKED;
    word = IDLE;
    SWEEP(1);                                                       /* sweep */
    SWEEP(2);
#ifdef M_CLEAR_LATE
    CLEAR(1);
    CLEAR(2);
#endif
}
