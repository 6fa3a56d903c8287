#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws the results of bench.py as bars: one SVG file for each chart.

    tests/bench/charts.py result.json docs/benchmarks

A chart has a panel for each of its groups, a panel a bar for each peer: the median of the
group's first column over the rounds, with a line from the least to the largest value.  Lower
is better in all of them.  Bars that would dwarf the others are cut off and say their value.
"""

import json
import statistics
import sys
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH = 760
LEFT = 150  # names of the peers
RIGHT = 110  # values
BAR = 15
GAP = 4
TITLE = 26
TALLEST = 6.0  # times gcrt's value: longer bars are cut off

COLOURS = {"gcrt": "#1b7f4d", "walk": "#888888", "Go": "#4a90c2", "Boehm": "#b5651d"}
OTHER = "#c9b458"
STYLE = (
    "text{font:12px sans-serif;fill:#222}.t{font-weight:bold}.v{font-size:11px}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}}"
)

TITLES = {
    "alloc-scan": "Allocation of objects with pointers, which die young",
    "alloc-noscan": "Allocation of objects without pointers, which die young",
    "alloc-variable": "Allocation where type or size are variables",
    "alloc-surviving": "Allocation of objects some of which survive",
    "alloc-threads": "Allocation by several threads",
    "mark": "A full collection, one marking thread",
    "programs": "Whole programs",
    "latency": "Latency of a request of 40 objects, 5000 a second",
}


def colour(label):
    for start, value in COLOURS.items():
        if label == start or label.startswith((start + ",", start + " ")):
            return value
    return OTHER


def bars(group):
    """(label, median, least, largest) of each peer that has values."""
    result = []
    for label in group["peers"]:
        numbers = [run[group["key"]] / group["divisor"] for run in group["runs"][label]
                   if group["key"] in run]
        if numbers:
            result.append((label, statistics.median(numbers), min(numbers), max(numbers)))
    return result


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def text(x, y, words, kind="", anchor="start"):
    mark = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{mark} text-anchor="{anchor}">{escape(words)}</text>'


def bar(y, scale, limit, row, base):
    label, middle, least, largest = row
    length = end = min(middle, limit) * scale
    parts = [
        text(LEFT - 6, y + BAR - 4, label, anchor="end"),
        f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" '
        f'fill="{colour(label)}"/>',
    ]
    if middle > limit:  # a cut through the bar's end
        x = LEFT + length - 12
        parts.append(f'<path d="M{x:.0f} {y + BAR}l6 -{BAR}" stroke="#fff" '
                     'stroke-width="3"/>')
    else:
        end = min(largest, limit) * scale
        parts.append(f'<path d="M{LEFT + least * scale:.1f} {y + BAR / 2}'
                     f'H{LEFT + end:.1f}" stroke="#777"/>')
    words = number(middle)
    if base and label != base[0]:
        words += f"  ({middle / base[1]:.2f}x)"
    parts.append(text(LEFT + end + 6, y + BAR - 4, words, "v"))
    return parts


def panel(y, group):
    """The group's part of the picture from y on, and where it ends."""
    rows = bars(group)
    if not rows:
        return [], y
    base = rows[0] if rows[0][1] > 0 else None
    limit = TALLEST * base[1] if base else max(row[1] for row in rows)
    limit = max(min(limit, max(row[3] for row in rows)), 1e-9)
    scale = (WIDTH - LEFT - RIGHT) / limit
    parts = [text(LEFT, y + 16, f"{group['label']}: {group['column']}", "t")]
    y += TITLE
    for row in rows:
        parts += bar(y, scale, limit, row, base)
        y += BAR + GAP
    return parts, y + 8


def draw(title, groups):
    parts, y = [text(8, 18, title, "t")], 26
    for group in groups:
        more, y = panel(y, group)
        parts += more
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
            f'viewBox="0 0 {WIDTH} {y}">')
    return "\n".join([head, f"<style>{STYLE}</style>"] + parts + ["</svg>", ""])


def draw_all(result, folder):
    """Writes folder/NAME.svg for each chart that the result's groups name."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(g["chart"] for g in result["groups"] if g["chart"]))
    for name in names:
        groups = [group for group in result["groups"] if group["chart"] == name]
        (folder / f"{name}.svg").write_text(draw(TITLES.get(name, name), groups))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    draw_all(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
