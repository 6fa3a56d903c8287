/* SPDX-License-Identifier: MIT */
/*
 * Filing and firing of ephemerons.  Two of them, 1 and 2, whose keys 1 and 2 fall into one
 * bucket; the value of the first is the key of the second.  Three markers share the work: to
 * scan each ephemeron and to mark each key from elsewhere, or not (a key that nobody else
 * holds is marked only as a value).  When nobody has work, what is filed is broken.
 *
 *     scan   key marked: mark the value; else enter the bucket, then look at the key again
 *     mark   set the mark, look whether anything is filed, then into the bucket
 *     look   by its tag, or another key's that is the same: take the chain out and queue it
 *     copy   (COPIES) the mark is set where its marker alone sees it, and later, before the marker
 *            counts itself out, where all do; then it looks as who marks does
 *     chain  the first of it: mark the value if its key is marked, else file it again; then the
 *            next one, or the rest is queued
 *
 * Each step on shared memory is one step here (src/gc/ephemeron.c names them).  That an
 * ephemeron is late work before it is filed is a matter of time alone.  Termination is
 * H4's: all queues are empty and no marker is active.
 */

#define CHECK(c, id) assert((c) || (id == 0))
#define P_BROKEN 91 /* an ephemeron is broken although its key is marked */
#define P_VALUE  92 /* marking ends, a scanned ephemeron's key is marked, its value is not */

bit marked[4];         /* keys 1 and 2, and 3, the value of ephemeron 2 */
bit scan[3], mark[4];  /* queued work */
bit chain[4];          /* queued chains: of 1, of 2, of both */
bit filed;
bit inb[3], tag[3];    /* the bucket */
byte busy;

#ifdef M_CHAIN_IS_NO_WORK
#define CHAINS 0
#else
#define CHAINS (chain[1] || chain[2] || chain[3])
#endif
#define WORK (scan[1] || scan[2] || mark[1] || mark[2] || mark[3] || CHAINS)

/* c is the caller's. */
inline look(o)
{
    if
    :: d_step { tag[o] || inb[1] || inb[2] ->
            c = inb[1] + 2 * inb[2]; inb[1] = 0; inb[2] = 0; tag[1] = 0; tag[2] = 0 };
       if
       :: c != 0 -> chain[c] = 1
       :: else
       fi;
       c = 0
    :: atomic { !tag[o] -> skip }
    fi
}

inline set_mark(o)
{
#ifdef M_LOOK_FIRST
    f = filed;
    if
    :: f -> look(o)
    :: else
    fi;
    marked[o] = 1
#else
    marked[o] = 1;                      /* scan_near: mark */
    if                                  /* scan_near: filed */
    :: atomic { filed -> skip }; look(o)
    :: atomic { !filed -> skip }
    fi
#endif
}

/* What was marked in a copy is merged. */
inline merge(o)
{
    marked[o] = 1;                      /* merge: mark */
#ifdef M_MERGED_BLINDLY
    skip
#else
    if                                  /* merge: filed */
    :: atomic { filed -> skip }; look(o)
    :: atomic { !filed -> skip }
    fi
#endif
}

inline enter(e)
{
#ifdef M_TAG_LOST
    d_step { inb[e] = 1; tag[e] = 1; tag[3 - (e)] = 0 }
#else
    d_step { inb[e] = 1; tag[e] = 1 }
#endif
}

inline look_again(e)
{
    if
    :: atomic { marked[e] -> skip }; look(e)
    :: atomic { !marked[e] -> skip }
    fi
}

inline scan_one(e)
{
    if
    :: atomic { marked[e] || mine[e] -> mark[e + 1] = 1 }
    :: atomic { !marked[e] && !mine[e] -> skip };
#ifndef M_FILED_LATE
       filed = 1;
#endif
       enter(e);
#ifndef M_NO_RECHECK
       look_again(e);
#endif
#ifdef M_FILED_LATE
       filed = 1;
#endif
       skip
    fi
}

inline sort_out(e)
{
    if
    :: atomic { marked[e] || mine[e] -> mark[(e) + 1] = 1 }
    :: atomic { !marked[e] && !mine[e] -> skip };
       enter(e);
#ifndef M_FILED_AGAIN_BLINDLY
       look_again(e);
#endif
       skip
    fi
}

/* Of both: one goes first, and the other with it or later. */
inline sort_out_both(e)
{
    sort_out(e);
    if
    :: sort_out(3 - e)
#ifdef M_REST_LOST
    :: skip
#else
    :: chain[3 - e] = 1
#endif
    fi
}

active [3] proctype marker()
{
    byte c;
    bit f;
    bit mine[3]; /* marked in this one's copy */

end_idle:
    do
    :: d_step { scan[1] -> scan[1] = 0; busy++ }; scan_one(1); busy--
    :: d_step { scan[2] -> scan[2] = 0; busy++ }; scan_one(2); busy--
    :: d_step { mark[1] -> mark[1] = 0; busy++ }; set_mark(1); busy--
    :: d_step { mark[2] -> mark[2] = 0; busy++ }; set_mark(2); busy--
#ifdef COPIES
    :: d_step { mark[1] -> mark[1] = 0; busy = busy + 1 - mine[1]; mine[1] = 1 }
    :: d_step { mark[2] -> mark[2] = 0; busy = busy + 1 - mine[2]; mine[2] = 1 }
    :: d_step { mine[1] -> mine[1] = 0 }; merge(1); busy--
    :: d_step { mine[2] -> mine[2] = 0 }; merge(2); busy--
#endif
    :: d_step { mark[3] -> mark[3] = 0; busy++; marked[3] = 1; busy-- }
    :: d_step { chain[1] -> chain[1] = 0; busy++ }; sort_out(1); busy--
    :: d_step { chain[2] -> chain[2] = 0; busy++ }; sort_out(2); busy--
    :: d_step { chain[3] -> chain[3] = 0; busy++ };
       if
       :: sort_out_both(1)
       :: sort_out_both(2)
       fi;
       busy--
    od
}

active proctype collector()
{
    d_step { scan[1] = 1; scan[2] = 1; busy = 0 };
    if :: mark[1] = 1 :: skip fi;
    if :: mark[2] = 1 :: skip fi;
    d_step {
        busy == 0 && !WORK ->
        CHECK(!(inb[1] && marked[1]) && !(inb[2] && marked[2]), P_BROKEN);
        CHECK(inb[1] || marked[2] || !marked[1], P_VALUE);
        CHECK(inb[2] || marked[3] || !marked[2], P_VALUE)
    }
}
