#!/usr/bin/env python3
"""Draws the figure of docs/benchmarks.md and the README from the tables of docs/results/detectors.md: how long until a silent
host is down, against how many healthy members are called down when eight of 128 members stand still. Standard library only.

    heartsay-sim compare-detectors crash --seeds 10        the tables of that page
    heartsay-sim compare-detectors threshold --seeds 10
    scripts/measure/plot-detectors.py docs/results/detectors.md > docs/results/detectors.svg
"""

import math
import re
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 330, 70, 30, 36, 56
SEEDS, TIMES, COUNTS = 10, (1, 30), (1, 100_000)
NONE = 34  # pixels below the logarithmic part: there 0 lies
STYLE = """
  .paper { fill: #ffffff; stroke: #d0d7de }
  text { font: 13px sans-serif; fill: #1f2328 }
  .small { fill: #59636e }
  .ours { font-weight: bold }
  .grid { stroke: #d0d7de }
  .dot { fill: #59636e }
  .dot.ours { fill: #1a7f37 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; stroke: #30363d }
    text { fill: #e6edf3 }
    .small { fill: #8b949e }
    .grid { stroke: #30363d }
    .dot { fill: #8b949e }
    .dot.ours { fill: #3fb950 }
  }
"""


def main():
    page = open(sys.argv[1], encoding="utf-8").read()
    crash, threshold = table(page, "crash"), table(page, "threshold")
    points = [(name, float(row["down med"]), int(threshold[name]["FP"]), row) for name, row in crash.items()]
    sys.stdout.write(drawn(points))


def table(page, scenario):
    """The rows of a scenario's table: name to column to text. Columns are parted by two spaces at least, and right-aligned."""
    block = page.split(f"\n## {scenario}\n")[1].split("```text\n")[1].split("```")[0]
    lines = [line for line in block.splitlines() if line.strip()]
    head = next(i for i, line in enumerate(lines) if line.startswith("   "))
    ends = [(match[0], match.end()) for match in re.finditer(COLUMN, lines[head])]
    rows = {}
    for line in lines[head + 1 :]:
        name, cells = line.split()[0], {match.end(): match[0] for match in re.finditer(r"\S+", line)}
        rows[name] = {column: cells[end] for column, end in ends}
    return rows


COLUMN = r"susp med|susp p99|down 1st|down med|down p99|missed|FP-|FP|needless|diverge s|bytes/s"


def x(seconds):
    low, high = map(math.log, TIMES)
    return LEFT + (math.log(seconds) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def y(count):
    floor = HEIGHT - BOTTOM
    if count == 0:
        return floor
    low, high = map(math.log, COUNTS)
    return floor - NONE - (math.log(count) - low) / (high - low) * (floor - NONE - TOP)


def drawn(points):
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
        "<title>Detection time against false verdicts: heartsay and models of other detectors</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="6"/>',
        f'<text class="small" x="{LEFT}" y="22">healthy members called down, per observer, while 8 of 128 are blocked for 16 s; 10 seeds</text>',
        f'<text class="small" x="{WIDTH - RIGHT}" y="{HEIGHT - 12}" text-anchor="end">seconds until a silent host is down, median</text>',
    ]
    for seconds in (1, 2, 5, 10, 20):
        out.append(f'<path class="grid" d="M{x(seconds):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        out.append(f'<text x="{x(seconds):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{seconds}</text>')
    for count in (0, 1, 10, 100, 1000, 10_000, 100_000):
        out.append(f'<path class="grid" d="M{LEFT} {y(count):.1f}H{WIDTH - RIGHT}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(count) + 4:.1f}" text-anchor="end">{count:,}</text>')
    for name, seconds, count, row in points:
        css = " ours" if name == "heartsay" else ""
        observers, missed = SEEDS * 127, int(row["missed"])
        label = f"{name} *" if missed else name
        if missed:
            note = f"* noticed within the run by {observers - missed:,} of {observers:,} observers"
            out.append(f'<text class="small" x="{LEFT}" y="{HEIGHT - 12}">{note}</text>')
        across, up = x(seconds), y(count)
        left, below = across > WIDTH * 0.7, up < TOP + 20
        anchor = ' text-anchor="end"' if left else ""
        out.append(f'<circle class="dot{css}" cx="{across:.1f}" cy="{up:.1f}" r="5"/>')
        place = f'x="{across + (-10 if left else 10):.1f}" y="{up + (16 if below else -8):.1f}"'
        out.append(f'<text class="{css.strip() or "small"}" {place}{anchor}>{label}</text>')
    return "\n".join([*out, "</svg>", ""])


main()
