/* SPDX-License-Identifier: MIT */
/*
 * The picture: one column per percentage, three panels below each other with time to the right:
 * memory, the collector's share of the CPU time, operations a second.  The run with the limiter
 * is blue, the one without is orange.
 */
#include "plot.h"

#include <stdio.h>

#define MIB     1048576.0
#define LEFT    60
#define TOP     70
#define WIDTH   250
#define HEIGHT  130
#define GAP_X   60
#define GAP_Y   44
#define PANELS  3
#define SMOOTH  3 /* samples on each side that a rate is taken over */

enum panel { MEMORY, SHARE, RATE };
enum line { MAPPED, RSS, GOAL, SHARES, RATES, LINES };

static const char *const colours[] = {"#1f6fb4", "#d95f02"}; /* limiter on, off */

static const struct {
    enum panel panel;
    double width;
    const char *dash;
} looks[LINES] = {
        [MAPPED] = {MEMORY, 1.8, "none"},
        [RSS] = {MEMORY, 0.8, "none"},
        [GOAL] = {MEMORY, 0.8, "4 2"},
        [SHARES] = {SHARE, 1.4, "none"},
        [RATES] = {RATE, 1.4, "none"},
};

struct plot {
    FILE *out;
    double most[PANELS]; /* the top of each panel's scale */
    double seconds;
};

static double
value(const struct run *run, size_t i, enum line line)
{
    size_t from = i > SMOOTH ? i - SMOOTH : 0;
    size_t to = i + SMOOTH < run->n ? i + SMOOTH : run->n - 1;

    switch (line) {
    case MAPPED: return (double)run->samples[i].mapped / MIB;
    case RSS: return (double)run->samples[i].rss / MIB;
    case GOAL: return (double)run->samples[i].goal / MIB;
    case SHARES: return 100 * sample_share(&run->samples[from], &run->samples[to]);
    default: return sample_rate(&run->samples[from], &run->samples[to]);
    }
}

static void
find_scales(struct plot *p, const struct run *runs, int n)
{
    p->seconds = 0.1;
    p->most[MEMORY] = p->most[RATE] = 1;
    p->most[SHARE] = 100;
    for (int r = 0; r < n; r++) {
        double end = runs[r].samples[runs[r].n - 1].seconds;

        p->seconds = end > p->seconds ? end : p->seconds;
        for (size_t i = 0; i < runs[r].n; i++)
            for (int line = 0; line < LINES; line++) {
                double v = value(&runs[r], i, (enum line)line);
                double *most = &p->most[looks[line].panel];

                *most = looks[line].panel != SHARE && v > *most ? v : *most;
            }
    }
}

static double
x_of(const struct plot *p, int column, double seconds)
{
    return LEFT + column * (WIDTH + GAP_X) + seconds / p->seconds * WIDTH;
}

static double
y_of(const struct plot *p, enum panel panel, double v)
{
    return TOP + panel * (HEIGHT + GAP_Y) + HEIGHT - v / p->most[panel] * HEIGHT;
}

static void
text(const struct plot *p, double x, double y, const char *anchor, const char *s)
{
    fprintf(p->out, "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, s);
}

/* Frame, title and numbers of one panel. */
static void
draw_panel(const struct plot *p, int column, enum panel panel)
{
    static const char *const titles[PANELS] = {"memory, MiB", "collector, % of CPU time",
            "operations per second"};
    double x = x_of(p, column, 0), y = y_of(p, panel, p->most[panel]);
    char number[32];

    fprintf(p->out,
            "<rect x=\"%.0f\" y=\"%.0f\" width=\"%d\" height=\"%d\" fill=\"none\""
            " stroke=\"#888\"/>\n",
            x, y, WIDTH, HEIGHT);
    text(p, x, y - 6, "start", titles[panel]);
    snprintf(number, sizeof(number), "%.0f", p->most[panel]);
    text(p, x - 4, y + 9, "end", number);
    text(p, x - 4, y + HEIGHT, "end", "0");
    snprintf(number, sizeof(number), "%.0f s", p->seconds);
    text(p, x + WIDTH, y + HEIGHT + 13, "end", number);
}

static void
draw_level(const struct plot *p, int column, enum panel panel, double v, const char *name)
{
    double x = x_of(p, column, 0), y = y_of(p, panel, v);

    fprintf(p->out,
            "<line x1=\"%.0f\" y1=\"%.1f\" x2=\"%.0f\" y2=\"%.1f\" stroke=\"#222\""
            " stroke-dasharray=\"1 2\"/>\n",
            x, y, x + WIDTH, y);
    text(p, x + 4, y - 3, "start", name);
}

static void
draw_line(const struct plot *p, int column, const struct run *run, enum line line)
{
    fprintf(p->out,
            "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\""
            " stroke-dasharray=\"%s\" points=\"",
            colours[run->cap >= 100], looks[line].width, looks[line].dash);
    for (size_t i = 0; i < run->n; i++)
        fprintf(p->out, "%.1f,%.1f ", x_of(p, column, run->samples[i].seconds),
                y_of(p, looks[line].panel, value(run, i, line)));
    fprintf(p->out, "\"/>\n");
}

static void
draw_run(const struct plot *p, int column, const struct run *run)
{
    char title[64];

    for (int panel = 0; panel < PANELS; panel++)
        draw_panel(p, column, (enum panel)panel);
    for (int line = 0; line < LINES; line++)
        draw_line(p, column, run, (enum line)line);
    draw_level(p, column, MEMORY, (double)run->limit / MIB, "limit");
    if (run->cap < 100)
        draw_level(p, column, SHARE, run->cap, "cap");
    snprintf(title, sizeof(title), "limit %d %% of the live set", run->percent);
    fprintf(p->out, "<text x=\"%.0f\" y=\"44\" font-weight=\"bold\">%s</text>\n",
            x_of(p, column, 0), title);
}

static void
draw_legend(const struct plot *p)
{
    fprintf(p->out,
            "<text x=\"%d\" y=\"20\"><tspan fill=\"%s\">limiter on</tspan> <tspan"
            " fill=\"%s\">limiter off</tspan>; memory: thick mapped, thin RSS, dashed heap"
            " goal</text>\n",
            LEFT, colours[0], colours[1]);
}

int
plot_runs(const char *path, const struct run *runs, int n)
{
    struct plot p = {.out = fopen(path, "w")};
    int column = -1, columns = 0, failed;

    if (p.out == NULL) {
        perror(path);
        return 1;
    }
    find_scales(&p, runs, n);
    for (int r = 0; r < n; r++)
        columns += r == 0 || runs[r].percent != runs[r - 1].percent;
    fprintf(p.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\""
            " font-family=\"sans-serif\" font-size=\"11\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            LEFT + columns * (WIDTH + GAP_X), TOP + PANELS * (HEIGHT + GAP_Y));
    draw_legend(&p);
    for (int r = 0; r < n; r++) {
        column += r == 0 || runs[r].percent != runs[r - 1].percent;
        draw_run(&p, column, &runs[r]);
    }
    fprintf(p.out, "</svg>\n");
    failed = ferror(p.out);
    return fclose(p.out) != 0 || failed;
}
