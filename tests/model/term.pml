/* SPDX-License-Identifier: MIT */
/*
 * How marking ends while mutators assist (I-ragged-done).  Marking is open and both mutators
 * have scanned, so their barrier is the deletion half alone.  Objects form a chain G -> S -> W.
 * G is grey, in mutator 1's private queue; S and W are white.  Mutator 0 holds G in a
 * register; so does mutator 1 without M1_PASSIVE.  The coordinator decides that marking is
 * complete.  FLUSHED_FIRST: it looks at `flushed' before it looks at the queues.
 * COPIES: the worker may mark an object in its copy of the mark bits, which nobody else sees
 * before it is merged (copies.c).
 * DELETED: S has been taken out of G since, so it is in mutator 1's buffer and in a register of
 * mutator 0, which may store it again; and G has been scanned.
 *
 * A set of objects is a byte of bits.  An object that is marked and in a queue is grey.  A
 * barrier buffer may be flushed after any word that goes in, which covers every capacity; a
 * private queue may overflow into the public one at any push.  A mutator answers H4 at the
 * head of its loop only: barriers and assists are critical sections.
 */

#define NIL 0
#define G 1
#define S 2
#define W 3
#define M0 0
#define M1 1
#define WORKER 2
#define BIT(o) (1 << (o))
#define IN(o, set) (((set) & BIT(o)) != 0)

#define CHECK(c, id) assert((c) || (id == 0))
#define P_WHITE 31 /* complete, and an object that a register reaches is white */
#define P_GREY  32 /* complete, and a grey object exists */
#define P_LATE  33 /* complete, and a barrier buffer holds a white object */

byte next[4];       /* the one field of each object */
byte marked;
byte q[3];          /* marker.queue */
bit did[3];         /* marker.marked != 0 || marker.scanned != 0 */
byte pub[2];        /* work.full: 0 the mutators' stack, 1 the worker's */
byte buf[2];        /* gcrt_mutator.barrier: queued unmarked */
byte a[2], b[2];    /* registers */
byte busy;          /* low half of marking.activity */
bit moved;          /* its high half, as far as a look can tell: somebody has begun since */
bit flushed;        /* handshake.flushed */
bit pend[2];        /* handshake.request */
bit done;
byte copy;          /* marker.copies of the worker */

#define FIELD(o)  (o != NIL && next[o] != NIL)
#ifdef WINDOWS
#define STACK(m)  (m == WORKER)
#define STACKS(m, g) TAKE_FROM(m, g, 0) TAKE_FROM(m, g, 1)
#else
#define STACK(m)  0
#define STACKS(m, g) TAKE_FROM(m, g, 0)
#endif
#define BLACK_OR_GREY(o) (o == NIL || IN(o, marked))
#define CLOSED(o) (BLACK_OR_GREY(o) && BLACK_OR_GREY(next[o]) && BLACK_OR_GREY(next[next[o]]))

/* gcrt_mark_shaded (mark.c): it says that it marks, and marks.  Its mutator may have answered. */
#ifdef M_SHADED_UNSAID
#define SAY(m) skip
#else
#define SAY(m) /* gcrt_mark_shaded: said */                                                \
    atomic { if :: buf[m] & ~marked -> flushed = 1 :: else fi }
#endif
#ifdef M_SHADED_SAID_LATE
#define BEFORE(m) n = buf[m] & ~marked
#define AFTER(m)  atomic { if :: n -> flushed = 1 :: else fi; n = 0 }
#else
#define BEFORE(m) SAY(m)
#define AFTER(m)  skip
#endif

/*
 * set_mark (mark.c), and gcrt_barrier_flush, mark_buffer (barrier.c).  WINDOWS: the bit, then
 * the push, which may overflow; words one by one.
 */
#ifdef WINDOWS
#define MARK(m, o)                                                                         \
    if                                                                                     \
    :: d_step { BLACK_OR_GREY(o) -> o = NIL }                                              \
    :: d_step { !BLACK_OR_GREY(o) -> marked = marked | BIT(o); did[m] = 1 };               \
       d_step { q[m] = q[m] | BIT(o); o = NIL };                                           \
       if                                                                                  \
       :: d_step { pub[STACK(m)] = pub[STACK(m)] | q[m]; q[m] = 0 }                        \
       :: true                                                                             \
       fi                                                                                  \
    fi
#define BUFFER_FLUSH(m)                                                                    \
    BEFORE(m);                                                                             \
    do                                                                                     \
    :: atomic { IN(S, buf[m]) -> buf[m] = buf[m] & ~BIT(S); o = S }; MARK(m, o)            \
    :: atomic { IN(W, buf[m]) -> buf[m] = buf[m] & ~BIT(W); o = W }; MARK(m, o)            \
    :: atomic { buf[m] == 0 -> break }                                                     \
    od;                                                                                    \
    AFTER(m)
#else
#ifdef COPIES
#define MARK_COPIED(m, o) /* mark_copied (plain.c) */                                      \
        :: m == WORKER && !IN(o, marked | copy) && o != NIL ->                             \
            copy = copy | BIT(o); did[m] = 1; q[m] = q[m] | BIT(o)
#define SEEN(m, o) (BLACK_OR_GREY(o) || m == WORKER && IN(o, copy))
#else
#define MARK_COPIED(m, o)
#define SEEN(m, o) BLACK_OR_GREY(o)
#endif
#define MARK(m, o)                                                                         \
    atomic {                                                                               \
        if                                                                                 \
        MARK_COPIED(m, o)                                                                  \
        :: !SEEN(m, o) -> marked = marked | BIT(o); did[m] = 1; q[m] = q[m] | BIT(o) \
        :: else                                                                            \
        fi;                                                                                \
        o = NIL                                                                            \
    }
#define BUFFER_FLUSH(m)                                                                    \
    BEFORE(m);                                                                             \
    atomic {          /* gcrt_mark_shaded: mark */                                         \
        q[m] = q[m] | (buf[m] & ~marked);                                                  \
        did[m] = did[m] || (buf[m] & ~marked) != 0;                                        \
        marked = marked | buf[m];                                                          \
        buf[m] = 0                                                                         \
    };                                                                                     \
    AFTER(m)
#endif

/* gcrt_marker_flush (mark.c): the copies, the flag, then the queue. */
#ifdef COPIES
#define MERGE(m) atomic { if :: m == WORKER -> marked = marked | copy; copy = 0 :: else fi }
#else
#define MERGE(m) skip
#endif
#ifdef M_MERGE_LATE
#define MERGE_BEFORE(m) skip
#define MERGE_AFTER(m)  MERGE(m)
#else
#define MERGE_BEFORE(m) MERGE(m)                          /* gcrt_marker_flush: merge */
#define MERGE_AFTER(m)  skip
#endif
#ifdef M_NO_FLUSHED_ON_MARK
#define FLAG(m) did[m] = 0
#else
#define FLAG(m) /* gcrt_marker_flush: flag */                                              \
    atomic { if :: did[m] -> flushed = 1 :: else fi; did[m] = 0 }
#endif
#define PUBLISH(m) /* gcrt_marker_flush: publish */                                        \
    atomic { pub[STACK(m)] = pub[STACK(m)] | q[m]; q[m] = 0 }
#ifdef M_FLAG_AFTER_END
#define MARKER_FLUSH(m) PUBLISH(m)
#else
#define MARKER_FLUSH(m) MERGE_BEFORE(m); FLAG(m); PUBLISH(m)
#endif

/* gcrt_marking_begin, gcrt_marking_end (worker.c). */
#ifdef WINDOWS
#define BEGIN d_step { busy++; moved = 1 }
#else
#define BEGIN busy++
#endif
#ifdef M_FLAG_AFTER_END
#define END(m) busy--; FLAG(m)
#else
#define END(m) busy--; MERGE_AFTER(m)
#endif

/* gcrt_workqueue_refill (work.c) takes a buffer; take_group (mark.c) an item. */
#define TAKE(m, g)                                                                         \
    :: d_step { IN(g, q[m]) -> q[m] = q[m] & ~BIT(g); SCAN(m, g) }; MARK(m, o)             \
    STACKS(m, g)
#define TAKE_FROM(m, g, i)                                                                 \
    :: d_step { q[m] == 0 && IN(g, pub[i]) -> pub[i] = pub[i] & ~BIT(g); SCAN(m, g) };     \
       MARK(m, o)

/* scan_item (mark.c); mark_batch comes later. */
#define SCAN(m, g) o = next[g]; did[m] = 1

/* gcrt_mark_drain (mark.c), for as long as it likes; gcrt_workqueue_share. */
#define DRAIN(m)                                                                           \
    do                                                                                     \
    TAKE(m, G)                                                                             \
    TAKE(m, S)                                                                             \
    TAKE(m, W)                                                                             \
    :: break                                                                               \
    od

/* work_off (assist.c), mark_session (worker.c). */
#define MARK_SOME(m) BEGIN; DRAIN(m); MARKER_FLUSH(m); END(m)

/* action_flush (actions.c); then act (handshake.c). */
#define HAD(m) (q[m] != 0)
#define ANSWER_STEPS(m)                                                                    \
    had = HAD(m);                                                                          \
    BUFFER_FLUSH(m);                    /* action_flush: buffer */                         \
    had = had || (HAD(m));                                                                 \
    FLAG(m);                            /* action_flush: marker */                         \
    PUBLISH(m);                                                                            \
    if :: had -> flushed = 1 :: else fi; /* action_flush: had */                           \
    had = 0;                                                                               \
    pend[m] = 0
#ifdef WINDOWS
#define ANSWER(m) ANSWER_STEPS(m)
#else
#define ANSWER(m) atomic { ANSWER_STEPS(m) }
#endif

/* gc_impl_write_slow, buffer_word (barrier.c): old value shaded, buffer full or not, store. */
#define WRITE(m, value)                                                                    \
    d_step { buf[m] = buf[m] | (BIT(next[a[m]]) & ~BIT(NIL)) };                            \
    if :: buf[m] != 0 -> BUFFER_FLUSH(m) :: true fi;                                       \
    next[a[m]] = value

#ifdef STORES
#define OP_STORE(m) :: atomic { a[m] != NIL && b[m] != NIL && next[a[m]] != b[m] ->        \
            skip }; WRITE(m, b[m])
#else
#define OP_STORE(m)
#endif

/*
 * Loads, moves, and clears of fields.  That a register is dropped is left out: it takes
 * away what must be marked, and enables nothing.
 */
#define OPS(m)                                                                             \
    :: d_step { !done && FIELD(a[m]) -> b[m] = next[a[m]] }                                \
    :: d_step { !done && b[m] != NIL -> a[m] = b[m] }                                      \
    :: atomic { !done && FIELD(a[m]) -> skip }; WRITE(m, NIL)                              \
    OP_STORE(m)
#ifdef M1_PASSIVE
#define OPS_1
#else
#define OPS_1 OPS(M1)
#endif

/* workqueue_put_slow, gcrt_workqueue_share (work.c): no flag. */
#ifdef M_SHARE_FORGETS
#define FORGET(m) did[m] = 0
#else
#define FORGET(m) skip
#endif
#define SHARE(m)                                                                           \
    d_step {                                                                               \
        !done && q[m] != 0 -> pub[STACK(m)] = pub[STACK(m)] | q[m]; q[m] = 0; FORGET(m)    \
    }

#define BODY(m, ops)                                                                       \
    byte o, n;                                                                             \
    bit had;                                                                               \
end_head:                                                                                  \
    do                                                                                     \
    :: done -> break                                                                       \
    :: atomic { pend[m] -> skip }; ANSWER(m)                                               \
    :: SHARE(m)                                                                            \
    :: atomic { !done && (q[m] != 0 || pub[0] != 0 || pub[1] != 0) -> skip }; MARK_SOME(m) \
    ops                                                                                    \
    od

proctype mutator0() { BODY(M0, OPS(M0)) }
proctype mutator1() { BODY(M1, OPS_1) }

/* mark_until_closed (worker.c) */
proctype worker()
{
    byte o;
end_head:
    do
    :: done -> break
    :: atomic { !done && (pub[0] != 0 || pub[1] != 0) -> skip }; MARK_SOME(WORKER)
    od
}

/*
 * gcrt_marking_is_quiet (worker.c): the word, the stacks one by one, the word again.  With
 * one stack that is the same as one look.
 */
#ifdef WINDOWS
#define QUIET_OR(elsewhere)                                                                \
    if                                                                                     \
    :: d_step { busy == 0 -> moved = 0 }                                                   \
    :: atomic { busy != 0 -> goto elsewhere }                                              \
    fi;                                                                                    \
    if :: pub[0] == 0 :: atomic { pub[0] != 0 -> goto elsewhere } fi;                      \
    if :: pub[1] == 0 :: atomic { pub[1] != 0 -> goto elsewhere } fi;                      \
    if :: !moved :: atomic { moved -> goto elsewhere } fi
#else
#define QUIET_OR(elsewhere)                                                                \
    if                                                                                     \
    :: busy == 0 && pub[0] == 0                                                            \
    :: atomic { busy != 0 || pub[0] != 0 -> goto elsewhere }                               \
    fi
#endif

#define FLUSHED_OR(elsewhere)                                                              \
    if :: !flushed :: atomic { flushed -> goto elsewhere } fi

/* mark_to_the_end (cycle.c) */
proctype coordinator()
{
again:
    QUIET_OR(again);                                      /* mark_to_the_end: quiet */
    flushed = 0;                                          /* mark_to_the_end: clear */
#ifndef M_NO_SECOND_LOOK
    QUIET_OR(again);                                      /* mark_to_the_end: look */
#endif
    d_step { pend[M0] = 1; pend[M1] = 1 };                /* mark_to_the_end: flush */
    !pend[M0] && !pend[M1];
#ifdef FLUSHED_FIRST
#ifndef M_NO_FLUSHED
    FLUSHED_OR(again);
#endif
#ifndef M_NO_RECHECK
    QUIET_OR(again);
#endif
#else
#ifndef M_NO_RECHECK
    QUIET_OR(again);                                      /* mark_to_the_end: again */
#endif
#ifndef M_NO_FLUSHED
    FLUSHED_OR(again);                                    /* mark_to_the_end: flushed */
#endif
#endif
    d_step {
        done = 1;
        CHECK(CLOSED(a[M0]) && CLOSED(b[M0]) && CLOSED(a[M1]) && CLOSED(b[M1]), P_WHITE);
#ifndef WHITE_ONLY
        CHECK((q[M0] | q[M1] | q[WORKER] | pub[0] | pub[1]) == 0, P_GREY);
        CHECK(((buf[M0] | buf[M1]) & ~marked) == 0, P_LATE);
#endif
        skip
    }
}

init {
    atomic {
        next[S] = W;
        marked = BIT(G);
        a[M0] = G;
#ifdef DELETED
        b[M0] = S;
        buf[M1] = BIT(S);
#else
        next[G] = S;
        q[M1] = BIT(G);
        did[M1] = 1;
#endif
#ifndef M1_PASSIVE
        a[M1] = G;
#endif
        run mutator0();
        run mutator1();
#ifndef NO_WORKER
        run worker();
#endif
        run coordinator()
    }
}
