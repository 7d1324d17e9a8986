#!/usr/bin/env python3
"""Draws the picture of the README: the screen of a real `heartsay dev` at the moment when a death is known to all. With --cut,
that of `heartsay dev --cut` when both sides know of the cut.

    cargo build --release
    scripts/measure/draw-dev.py > docs/dev.svg
    scripts/measure/draw-dev.py --cut > docs/dev-cut.svg
    scripts/measure/draw-dev.py path/to/heartsay > docs/dev.svg

Standard library only.
"""

import fcntl
import html
import os
import pty
import re
import struct
import sys
import termios

COLUMNS = 100
DEATH = (), "is killed", "every survivor knows that", "every survivor sees that n3 is down"
CUT = ("--cut",), "the network is cut", "both sides know of the cut", "two of five are cut off, and which side holds quorum"
WIDE, HIGH, MARGIN = 8.4, 19, 16
TOKEN = re.compile(r"\x1b\[(\d*(?:;\d+)*)([A-Za-z])|(\r\n|\n)|([^\x1b\r\n]+)|\r")
STYLE = """
  .paper { fill: #ffffff; stroke: #d0d7de }
  text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2328 }
  .b { font-weight: bold } .dim { fill: #6e7781 } .red { fill: #cf222e } .green { fill: #1a7f37 } .yellow { fill: #9a6700 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; stroke: #30363d }
    text { fill: #e6edf3 }
    .dim { fill: #8b949e } .red { fill: #ff7b72 } .green { fill: #3fb950 } .yellow { fill: #d29922 }
  }
"""
CLASSES = {"1": "b", "2": "dim", "31": "red", "32": "green", "33": "yellow"}


def main():
    arguments = sys.argv[1:]
    options, first, last, title = CUT if "--cut" in arguments else DEATH
    heartsay = next((one for one in arguments if one != "--cut"), "target/release/heartsay")
    lines = moment(recorded([heartsay, "dev", "--once", *options]), first, last)
    sys.stdout.write(drawn(lines, title))


def recorded(command):
    """All that a command writes to a terminal."""
    os.environ.update(TERM="xterm-256color")
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(sys.stdout, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        os.execvp(command[0], command)
    told = bytearray()
    while more := read(terminal):
        told.extend(more)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        sys.exit(f"draw-dev.py: {' '.join(command)} ended with {code}")
    return told.decode()


def read(terminal):
    """Some bytes; none when the other side is closed, which Linux tells as an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def moment(text, first, last):
    """The lines of the screen, each a list of (class, text), when `last` was first drawn together with the table below it."""
    screen, row, style = [[]], 0, set()
    for codes, letter, newline, plain in (match.groups() for match in TOKEN.finditer(text)):
        if letter == "F":
            if any(last in shown(line) for line in screen):
                return cropped(screen, first)
            row = max(0, row - int(codes or 1))
        elif letter == "J":
            del screen[row:]
            screen.append([])
        elif letter == "m":
            style = (style | {CLASSES[code] for code in codes.split(";") if code in CLASSES}) if codes != "0" else set()
        elif newline:
            row += 1
            if row == len(screen):
                screen.append([])
        elif plain:
            screen[row].append((" ".join(sorted(style)), plain))
    sys.exit(f"draw-dev.py: “{last}” was never drawn")


def shown(line):
    return "".join(text for _, text in line)


def cropped(screen, words):
    first = next(i for i, line in enumerate(screen) if words in shown(line))
    last = max(i for i, line in enumerate(screen) if shown(line).strip())
    return screen[first : last + 1]


def drawn(lines, title):
    width = max(len(shown(line)) for line in lines) * WIDE + 2 * MARGIN
    height = len(lines) * HIGH + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}" role="img">',
        f"<title>heartsay dev: {title}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1}" rx="6"/>',
    ]
    for row, line in enumerate(lines):
        y, column = MARGIN + row * HIGH + 14, 0
        for style, text in line:
            css = f' class="{style}"' if style else ""
            for words in re.finditer(r"\S+(?: \S+)*", text):
                x, length = MARGIN + (column + words.start()) * WIDE, len(words[0]) * WIDE
                word = html.escape(words[0])
                out.append(f'<text{css} x="{x:.1f}" y="{y}" textLength="{length:.1f}">{word}</text>')
            column += len(text)
    return "\n".join([*out, "</svg>", ""])


main()
