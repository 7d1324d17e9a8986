#!/usr/bin/env python3
"""Draws the figures of docs/scale.md and docs/results/exchanges.md from what heartsay-sim says. Standard library only.

    for n in 32 64 128 256 512 1000; do
        heartsay-sim run quiet --nodes $n --seed 1 -o json --lenient > quiet-$n.json
    done
    scripts/measure/plot-scale.py law quiet-*.json > docs/scale-law.svg

    heartsay-sim run many-crashes --seed 1 --series -o json --lenient > crashes.json
    heartsay-sim run mass-restart --seed 1 --series -o json --lenient > restart.json
    scripts/measure/plot-scale.py peaks crashes.json restart.json > docs/scale-peaks.svg

    heartsay-sim sweep crash --over protocol.exchanges=1,2,3,4 --over nodes=32,128,512 --seeds 20 -o json > calls.json
    scripts/measure/plot-scale.py exchanges calls.json > docs/results/exchanges.svg
"""

import argparse
import json
import math
import sys

# B(N) = 2 (H + N b / 8): docs/scale.md.
HEADER, BITS = 83, 2.4
# `byte_rate` of membership/src/config.rs, and how many seconds' worth may leave at once (token_bucket.rs).
BYTE_RATE, PEAK = 1_000_000, 4

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 20, 52
COLOURS = ["#2f6fb5", "#c4552d", "#3f8f4f", "#8a5fb0"]
STYLE = """
  text { font: 13px sans-serif; fill: #333 }
  .grid { stroke: #ccc; stroke-width: 1 }
  .line { fill: none; stroke-width: 2 }
  .law { fill: none; stroke: #777; stroke-width: 1.5; stroke-dasharray: 6 4 }
  @media (prefers-color-scheme: dark) { text { fill: #ccc } .grid { stroke: #444 } }
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=FIGURES)
    parser.add_argument("run", nargs="+", type=argparse.FileType(), help="JSON of heartsay-sim run")
    args = parser.parse_args()
    sys.stdout.write(FIGURES[args.figure]([json.load(run) for run in args.run]))


def law(runs):
    """Bytes per second of a quiet member, against the size of the cluster."""
    measured = sorted((run["nodes"], run["runs"][0]["summary"]["bytes"]["mean"]) for run in runs)
    sizes = [n for n, _ in measured]
    plot = Plot(x=Log(min(sizes), max(sizes), sizes), y=Log(100, 2000, [100, 200, 500, 1000, 2000]), legend=(90, 38))
    curve = [min(sizes) * (max(sizes) / min(sizes)) ** (i / 60) for i in range(61)]
    plot.line("law", [(n, 2 * (HEADER + n * BITS / 8)) for n in curve], css="law", lower=True)
    plot.line("of it headers", [(n, 2 * HEADER) for n in (min(sizes), max(sizes))], css="law")
    plot.line("measured, mean of members and seconds", measured, marks=True)
    return plot.drawn("members", "bytes per second, each")


def peaks(runs):
    """The most bytes that any member sent in each second, against time."""
    series = [(run, run["runs"][0]["series"]) for run in runs]
    end = max(second["at"] for _, seconds in series for second in seconds)
    cap = (1 + PEAK) * BYTE_RATE
    axes = Linear(0, end, range(0, end + 1, 10)), Log(100, 10e6, [10**i for i in range(2, 8)])
    plot = Plot(*axes, legend=(456, 140))
    for run, seconds in series:
        points = [(second["at"], max(100, second["bytes_max"])) for second in seconds]
        plot.line(f"{run['scenario']}, {run['nodes']} members", points)
    plot.line(f"cap of a second: {shown(cap)}B", [(0, cap), (end, cap)], css="law")
    plot.line(f"cap in the long run: {shown(BYTE_RATE)}B", [(0, BYTE_RATE), (end, BYTE_RATE)], css="law")
    return plot.drawn("seconds", "most bytes of any member in the second")


def exchanges(sweeps):
    """How old the oldest heartbeats of a view are, against bytes, for one call per round and more."""
    lines = {}
    for point in sweeps[0]["points"]:
        nodes = next(words for words in point["set"] if words.startswith("nodes="))
        summary = point["summary"]
        lines.setdefault(nodes, []).append((summary["bytes"]["mean"], summary["age"]["p99"]))
    right = 300 * math.ceil(max(sent for points in lines.values() for sent, _ in points) / 300)
    top = max(age for points in lines.values() for _, age in points) + 1
    plot = Plot(x=Linear(0, right, range(0, right + 1, 300)), y=Linear(0, top, range(0, int(top) + 1)), legend=(480, 60))
    for nodes, points in lines.items():
        plot.line(f"{nodes.removeprefix('nodes=')} members, 1 to {len(points)} calls", points, marks=True)
    return plot.drawn("bytes per second, each", "p99 of the age of heartbeats, rounds")


FIGURES = {"law": law, "peaks": peaks, "exchanges": exchanges}


class Linear:
    def __init__(self, low, high, ticks):
        self.low, self.high, self.ticks = low, high, ticks

    def share(self, value):
        return (value - self.low) / (self.high - self.low)


class Log(Linear):
    def share(self, value):
        return math.log(value / self.low) / math.log(self.high / self.low)


class Plot:
    """Lines over two axes, each named at the side or in the legend."""

    def __init__(self, x, y, legend):
        self.x, self.y, self.corner = x, y, legend
        self.parts, self.legend = [], []

    def line(self, name, points, css="line", marks=False, lower=False):
        colour = COLOURS[sum(css == "line" for _, css, _ in self.legend) % len(COLOURS)]
        at = [self.at(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        stroke = f' stroke="{colour}"' if css == "line" else ""
        self.parts.append(f'<polyline class="{css}"{stroke} points="{path}"/>')
        if marks:
            self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in at]
        if css == "law":
            x, y = at[-1]
            self.parts.append(f'<text x="{x - 4:.1f}" y="{y + (34 if lower else -6):.1f}" text-anchor="end">{name}</text>')
        self.legend.append((name, css, colour))

    def at(self, x, y):
        return (
            LEFT + self.x.share(x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - self.y.share(y) * (HEIGHT - TOP - BOTTOM),
        )

    def drawn(self, below, beside):
        axes = []
        for tick in self.x.ticks:
            x, _ = self.at(tick, self.y.low)
            axes.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            axes.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:,}</text>')
        for tick in self.y.ticks:
            _, y = self.at(self.x.low, tick)
            axes.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            axes.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown(tick)}</text>')
        middle = (HEIGHT - BOTTOM + TOP) / 2
        axes.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">{below}</text>')
        axes.append(f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{beside}</text>')
        named = [(name, colour) for name, css, colour in self.legend if css == "line"]
        for i, (name, colour) in enumerate(named):
            x, y = self.corner[0], self.corner[1] + 20 * i
            axes.append(f'<line x1="{x}" x2="{x + 24}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" '
                        f'stroke-width="2"/><text x="{x + 32}" y="{y}">{name}</text>')
        body = "\n".join([f"<style>{STYLE}</style>", *axes, *self.parts])
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
                f'aria-label="{beside}, by {below}">\n{body}\n</svg>\n')


def shown(number):
    """1,000,000 as 1 M."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:g}{name}"
    return f"{number:g} "


if __name__ == "__main__":
    main()
