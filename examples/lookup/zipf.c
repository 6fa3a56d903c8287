/* SPDX-License-Identifier: MIT */
/*
 * Zipf-distributed ranks by rejection-inversion (W. Hormann and G. Derflinger, 1996).
 *
 * With h(x) = x^-s and its integral H(x) = (x^(1-s) - 1) / (1-s), a rank k owns the stretch
 * of the H axis from H(k + 1/2) - h(k) to H(k + 1/2), whose length is its weight.  Since h
 * is convex these stretches do not overlap, and together they nearly fill the axis from
 * H(3/2) - 1 to H(n + 1/2).  So: draw u on that axis, let k be the nearest rank to the
 * inverse H(u), and accept if u lies in k's stretch; else draw again.  If H(u) inverted
 * lies within `sure` below k, it does so without testing.  No table; the same cost for
 * any n.
 *
 * The most popular ranks would be neighbouring keys; scramble_key spreads them over the key
 * space by a step that is coprime to n.
 */
#include "zipf.h"

#include "gen.h"

#include <math.h>

static double
integral(double s, double x)
{
    return (pow(x, 1 - s) - 1) / (1 - s);
}

static double
integral_inverse(double s, double y)
{
    return pow(1 + y * (1 - s), 1 / (1 - s));
}

void
zipf_init(struct zipf *z, double s, uint64_t n)
{
    z->s = s;
    z->n = n;
    z->h_first = integral(s, 1.5) - 1;
    z->h_last = integral(s, (double)n + 0.5);
    /* At rank 2 the margin is the smallest; beyond, the stretches only get fuller. */
    z->sure = 2 - integral_inverse(s, integral(s, 2.5) - pow(2, -s));
}

uint64_t
zipf_draw(const struct zipf *z, uint64_t *random)
{
    for (;;) {
        double u = z->h_last + rng_unit(random) * (z->h_first - z->h_last);
        double x = integral_inverse(z->s, u);
        double k = floor(x + 0.5);

        if (k < 1)
            k = 1;
        else if (k > (double)z->n)
            k = (double)z->n;
        if (k - x <= z->sure || u >= integral(z->s, k + 0.5) - pow(k, -z->s))
            return (uint64_t)k;
    }
}

static uint64_t
gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

void
scramble_init(struct scramble *sc, uint64_t n, uint64_t seed)
{
    sc->n = n;
    sc->step = (uint64_t)((double)n * 0.6180339887498949);
    if (sc->step == 0)
        sc->step = 1;
    while (gcd(sc->step, n) != 1)
        sc->step++;
    sc->offset = mix64(seed) % n;
}

uint64_t
scramble_key(const struct scramble *sc, uint64_t rank)
{
    return (rank * sc->step + sc->offset) % sc->n;
}
