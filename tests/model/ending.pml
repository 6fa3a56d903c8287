/* SPDX-License-Identifier: MIT */
/*
 * What a word in a root means, from H1 to H5.  Two objects lie one behind the other, A and B, and
 * the one word W is both the address of B and the end of A, which in a root counts for A too.  B
 * is alive and marked whatever happens; this is about A.  W in a buffer means B alone, and A is
 * there by an address of its own.  At the start the root names A, by its
 * end, or A is garbage and the root is empty.  Mutators store W into the root and take it out; the
 * collector decides what is dead, empties what is weak, and closes marking before H5.
 *
 * Until the roots have been collected whoever takes W out must shade A; once it is decided that A
 * is dead nobody may mark it.  A mutator knows the one from the other by two words, marking.open
 * and the cycle's phase, and both are read step by step.  A buffer may be full after any word that
 * goes in, which covers every capacity.  A mutator answers outside of barriers and assists.
 */

#define CHECK(c, id) assert((c) || (id == 0))
#define P_WHITE 13 /* complete, and A is white although a register or the root names it */
#define P_LATE  62 /* A is marked after it was decided to be dead */

#define OFF      0
#define HYBRID   1
#define DELETION 2

#define NOTHING 0 /* in the root */
#define FOR_A   1 /* W, for A: its end */
#define FOR_B   2 /* W, for B */

byte root;
bit reg[2];         /* the mutator holds A */
byte barrier[2];
bit queued[2];      /* gcrt_mutator.barrier: A itself */
bit word[2];        /* the same: W, if raw words mean A too */
bit raw;            /* work.raw, or on the way to it: A, or W of a root */
bit marked;
bit open;           /* marking.open */
bit ending;         /* cycles.phase is PHASE_ENDING */
bit decided;
bit flushed;
byte busy;          /* marking.activity */
bit pend[2];
byte hs;

/* mark_buffer (barrier.c) by gcrt_mark_shaded, and scan_raw (mark.c) */
#define MARK_A                                                                             \
    if                                                                                     \
    :: !marked -> CHECK(!decided, P_LATE); marked = 1; flushed = 1                         \
    :: else                                                                                \
    fi
#define DROP(m) queued[m] = 0; word[m] = 0
#define HAND_OVER(m) raw = raw || queued[m] || word[m]; DROP(m)
#ifdef M_RAW_AMBIGUOUS
#define AS_RAW 1
#else
#define AS_RAW 0
#endif

#ifdef M_FLUSH_NOT_OVER
#define DROPS 0
#else
#define DROPS ending
#endif
#ifdef M_SHADE_NOT_OVER
#define EXACT 0
#else
#define EXACT ending
#endif

/* Nobody but the collector writes the two words, so what is read is looked at later. */
#define FLUSH(m)                                                                           \
    seen_open = open;                               /* gcrt_barrier_flush: open */         \
    if                                                                                     \
    :: d_step { seen_open -> if :: queued[m] -> MARK_A :: else fi; DROP(m) }               \
    :: !seen_open ->                                                                       \
       seen_over = DROPS;                           /* gcrt_barrier_flush: over */         \
       d_step { if :: seen_over -> DROP(m) :: else -> HAND_OVER(m) fi; seen_over = 0 }     \
    fi;                                                                                    \
    seen_open = 0

/* buffer_word */
#define BUFFER(m, kind, means)                                                             \
    kind[m] = kind[m] || means;                                                            \
    if :: FLUSH(m) :: true fi

#ifdef M_AMBIGUOUS_WHILE_OPEN
#define SEEN 0
#else
#define SEEN open
#endif

/* shade_word of W, of a slot that is a root. */
#ifdef M_EXACT_ALWAYS
#define SHADE(m) BUFFER(m, word, AS_RAW)
#else
#define SHADE(m)                                                                           \
    BUFFER(m, word, AS_RAW);                        /* shade_word: word */                 \
    seen_open = SEEN;                               /* shade_word: open */                 \
    if                                                                                     \
    :: seen_open -> seen_open = 0                                                          \
    :: !seen_open ->                                                                       \
       seen_over = EXACT;                           /* shade_word: over */                 \
       if                                                                                  \
       :: seen_over -> seen_over = 0                                                       \
       :: !seen_over -> BUFFER(m, queued, 1)        /* shade_word: before */               \
       fi                                                                                  \
    fi
#endif

/* gc_write to the root */
#define WRITE(m, value)                                                                    \
    if                                                                                     \
    :: barrier[m] != OFF && root != NOTHING -> SHADE(m)                                    \
    :: barrier[m] == OFF || root == NOTHING                                                \
    fi;                                                                                    \
    if                                                                                     \
    :: barrier[m] == HYBRID && value != NOTHING -> SHADE(m)                                \
    :: barrier[m] != HYBRID || value == NOTHING                                            \
    fi;                                                                                    \
    root = value

/* work_off (assist.c) */
#define ASSIST                                                                             \
    busy++;                                                                                \
    if                                                                                     \
    :: open -> do :: d_step { raw -> raw = 0; MARK_A } :: break od                         \
    :: !open                                                                               \
    fi;                                                                                    \
    busy--

#define ANSWER(m)                                                                          \
    if                                                                                     \
    :: hs == 1 -> barrier[m] = HYBRID                                                      \
    :: hs == 2                                                                             \
    :: hs == 3 -> d_step { barrier[m] = DELETION; raw = raw || reg[m] }; FLUSH(m)          \
    :: hs == 4 -> FLUSH(m)                                                                 \
    :: hs == 5 -> d_step { barrier[m] = OFF; DROP(m) }                                     \
    fi;                                                                                    \
    pend[m] = 0

/* What a mutator reads as A from the root is A; from a word for B nobody makes it. */
#define BODY(m)                                                                            \
    bit seen_open, seen_over;                                                              \
end_head:                                                                                  \
    do                                                                                     \
    :: pend[m] -> ANSWER(m)                                                                \
    :: d_step { root == FOR_A && !reg[m] -> reg[m] = 1 }                                   \
    :: d_step { reg[m] -> reg[m] = 0 }                                                     \
    :: WRITE(m, NOTHING)                                                                   \
    :: WRITE(m, FOR_B)                                                                     \
    :: reg[m] -> WRITE(m, FOR_A)                                                           \
    :: open || busy != 0 -> ASSIST                                                         \
    od

proctype mutator0() { BODY(0) }
proctype mutator1() { BODY(1) }

#define HANDSHAKE(h)                                                                       \
    d_step { hs = h; pend[0] = 1; pend[1] = 1 };                                           \
    !pend[0] && !pend[1]

#define QUIET (busy == 0 && !raw)

/* run_cycle (cycle.c); workers are assists that nobody else sees. */
proctype coordinator()
{
    HANDSHAKE(1);
    HANDSHAKE(2);
    HANDSHAKE(3);
#ifdef M_OPEN_BEFORE_ROOTS
    open = 1;
#endif
    raw = raw || root != NOTHING;                   /* start_cycle: roots */
    open = 1;                                       /* start_cycle: open */
again:
    atomic { QUIET -> flushed = 0 };
    HANDSHAKE(4);
    if
    :: d_step { QUIET && !flushed -> decided = 1;
            CHECK(marked || (!reg[0] && !reg[1] && root != FOR_A), P_WHITE) }
    :: atomic { !(QUIET && !flushed) -> goto again }
    fi;
#ifndef M_PHASE_LATE
    ending = 1;                                     /* end_marking.close: phase */
#endif
    open = 0;                                       /* end_marking.close: open */
#ifdef M_PHASE_LATE
    ending = 1;
#endif
    HANDSHAKE(5);                                   /* end_marking.close: off */
    busy == 0                                       /* end_marking.close: idle */
}

init {
    atomic {
        if :: root = FOR_A :: root = NOTHING fi;
        run mutator0();
        run mutator1();
        run coordinator()
    }
}
