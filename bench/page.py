#!/usr/bin/env python3
"""The tables of what was measured, and bench/README.md, where each part has its own sections.

Run by itself it prints all rows of the page as one table.
"""

import datetime
import os
import platform
import re
import subprocess

from process import ROOT

PAGE = ROOT / "bench" / "README.md"

# The sections in the order of the page.
SECTIONS = [
    "Git",
    "Hello",
    "JSON echo",
    "Fibonacci",
    "Deploys under load",
    "Apps side by side",
    "The live table",
    "Several nodes",
    "Idle nodes",
]

HEADER = ["what", "reference", "ratio", "to reach", "measured"]


def row(what, reference, ratio, reach, measured):
    """A row of ratios. The ratio is bold where it misses what is to be reached, written as `≤ 1.3` or `≥ 0.85`."""
    shown = f"{ratio:.0f}" if ratio == 0 or ratio >= 1000 else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.4f}"
    bound = re.match(r"([≤≥]) ([\d.]+)$", reach)
    if bound:
        limit = float(bound[2])
        held = ratio <= limit if bound[1] == "≤" else ratio >= limit
        shown = shown if held else f"**{shown}**"
    return [what, reference, shown, reach, measured]


def table(rows, header=HEADER):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(section, command, versions, *parts):
    """Prints what was measured and puts it into its section of the page, in place of what was there."""
    by = ", ".join([f"`{command}`", str(datetime.date.today()), *commit(), machine(), *versions])
    text = "\n\n".join([f"{by}.", *parts])
    print(f"\n## {section}\n\n{text}", flush=True)
    head, *rest = re.split(r"^## (.*)\n", PAGE.read_text(), flags=re.MULTILINE)
    sections = {title: body.strip() for title, body in zip(rest[::2], rest[1::2])}
    sections[section] = text
    ordered = sorted(sections, key=SECTIONS.index)
    PAGE.write_text(head + "\n".join(f"## {title}\n\n{sections[title]}\n" for title in ordered))


def commit():
    """The commit that was measured, where this is a repository; the page itself may have changed since."""

    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)

    found = git("rev-parse", "--short", "HEAD")
    if found.returncode != 0:
        return []
    changed = git("diff", "--quiet", "HEAD", "--", ".", f":(exclude){PAGE.relative_to(ROOT)}").returncode
    return [f"commit {found.stdout.strip()}{' and changes' if changed else ''}"]


def machine():
    """The processor, as far as the kernel tells its name."""
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith(("model name", "Model"))]
    name = f"{names[0]}, " if names else ""
    return f"{name}{os.cpu_count()} cores, {platform.machine()}"


def main():
    rows, header = [], None
    for line in PAGE.read_text().splitlines():
        cells = line.removeprefix("| ").removesuffix(" |").split(" | ") if line.startswith("| ") else None
        # The first line of a table is its header; the one below it, of dashes, is no row.
        if cells is None or header is None:
            header = cells
        elif header == HEADER and set(cells) != {"---"}:
            rows.append(cells)
    print(table(rows))


if __name__ == "__main__":
    main()
