/* SPDX-License-Identifier: MIT */
/*
 * Filing and firing of ephemerons.  Two of them, 1 and 2, whose keys 1 and 2 fall into one
 * bucket; the value of the first is the key of the second.  Three markers share the work: to
 * scan each ephemeron and to mark each key from elsewhere, or not (a key that nobody else
 * holds is marked only as a value).  When nobody has work, what is filed is broken.
 *
 *     scan   key marked: mark the value; else enter the bucket, then look at the key again
 *     mark   set the mark, look whether anything is filed, then into the bucket
 *     look   take the chain out, divide it, put it back; who finds it taken leaves `again`
 *
 * Each step on shared memory is one step here (src/gc/ephemeron.c names them).  Termination is
 * H4's: all queues are empty and no marker is active.
 */

#define CHECK(c, id) assert((c) || (id == 0))
#define P_BROKEN 91 /* an ephemeron is broken although its key is marked */
#define P_VALUE  92 /* marking ends, a scanned ephemeron's key is marked, its value is not */

bit marked[4];           /* keys 1 and 2, and 3, the value of ephemeron 2 */
bit scan[3], mark[4];    /* queued work */
bit filed;
bit inb[3], held, again; /* the bucket: chain and flags */
byte busy;

#define WORK (scan[1] || scan[2] || mark[1] || mark[2] || mark[3])

/* The private chain of whoever has the bucket. */
#define DIVIDE(e)                                                                          \
    if                                                                                     \
    :: atomic { ch[e] && marked[e] -> ch[e] = 0; scan[e] = 1 }                             \
    :: atomic { !(ch[e] && marked[e]) -> skip }                                            \
    fi

#ifdef M_NOT_HELD
#define HOLD 0
#else
#define HOLD 1
#endif
#ifdef M_NO_AGAIN
#define AGAIN 0
#else
#define AGAIN 1
#endif

inline look()
{
    if
    :: d_step { held -> again = AGAIN }
    :: atomic { !held && !inb[1] && !inb[2] -> skip }
    :: d_step { !held && (inb[1] || inb[2]) ->
            held = HOLD; ch[1] = inb[1]; ch[2] = inb[2]; inb[1] = 0; inb[2] = 0 };
       do
       :: DIVIDE(1);
          DIVIDE(2);
          if
#ifndef M_AGAIN_IGNORED
          :: d_step { again -> again = 0; ch[1] = ch[1] || inb[1]; ch[2] = ch[2] || inb[2];
                  inb[1] = 0; inb[2] = 0 }
          :: d_step { !again -> inb[1] = inb[1] || ch[1]; inb[2] = inb[2] || ch[2];
                  ch[1] = 0; ch[2] = 0; held = 0 };
#else
          :: d_step { again = 0; inb[1] = inb[1] || ch[1]; inb[2] = inb[2] || ch[2];
                  ch[1] = 0; ch[2] = 0; held = 0 };
#endif
             break
          fi
       od
    fi
}

inline set_mark(o)
{
#ifdef M_LOOK_FIRST
    f = filed;
    if
    :: f -> look()
    :: else
    fi;
    marked[o] = 1
#else
    marked[o] = 1;                      /* scan_near: mark */
    if                                  /* scan_near: filed */
    :: atomic { filed -> skip }; look()
    :: atomic { !filed -> skip }
    fi
#endif
}

inline scan_one(e)
{
    if
    :: atomic { marked[e] -> mark[e + 1] = 1 }
    :: atomic { !marked[e] -> skip };
#ifndef M_FILED_LATE
       filed = 1;
#endif
       inb[e] = 1;
#ifdef M_NO_RECHECK
       skip
#else
       if
       :: atomic { marked[e] -> skip }; look()
       :: atomic { !marked[e] -> skip }
       fi
#endif
#ifdef M_FILED_LATE
       ; filed = 1
#endif
    fi
}

active [3] proctype marker()
{
    bit ch[3];
    bit f;

end_idle:
    do
    :: d_step { scan[1] -> scan[1] = 0; busy++ }; scan_one(1); busy--
    :: d_step { scan[2] -> scan[2] = 0; busy++ }; scan_one(2); busy--
    :: d_step { mark[1] -> mark[1] = 0; busy++ }; set_mark(1); busy--
    :: d_step { mark[2] -> mark[2] = 0; busy++ }; set_mark(2); busy--
    :: d_step { mark[3] -> mark[3] = 0; busy++; marked[3] = 1; busy-- }
    od
}

active proctype collector()
{
    d_step { scan[1] = 1; scan[2] = 1; busy = 0 };
    if :: mark[1] = 1 :: skip fi;
    if :: mark[2] = 1 :: skip fi;
    d_step {
        busy == 0 && !WORK && !held ->
        CHECK(!(inb[1] && marked[1]) && !(inb[2] && marked[2]), P_BROKEN);
        CHECK(inb[1] || marked[2] || !marked[1], P_VALUE);
        CHECK(inb[2] || marked[3] || !marked[2], P_VALUE)
    }
}
