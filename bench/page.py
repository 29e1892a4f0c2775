#!/usr/bin/env python3
"""The result tables in bench/README.md, one section per benchmark.

As a program, prints the rows of all sections as one table.
"""

import datetime
import os
import platform
import re
import subprocess

from process import ROOT

PAGE = ROOT / "bench" / "README.md"

# The sections in order.
SECTIONS = [
    "Git",
    "Hello",
    "JSON echo",
    "Fibonacci",
    "State",
    "State on several nodes",
    "Deploys under load",
    "Apps side by side",
    "The live table",
    "Several nodes",
    "Idle nodes",
]

HEADER = ["benchmark", "reference", "ratio", "target", "measured"]


def row(benchmark, reference, ratio, target, measured):
    """A row with a ratio, in bold if it misses the target, such as `≤ 1.3` or `≥ 0.85`."""
    shown = f"{ratio:.0f}" if ratio == 0 or ratio >= 1000 else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.4f}"
    bound = re.match(r"([≤≥]) ([\d.]+)$", target)
    if bound:
        limit = float(bound[2])
        met = ratio <= limit if bound[1] == "≤" else ratio >= limit
        shown = shown if met else f"**{shown}**"
    return [benchmark, reference, shown, target, measured]


def table(rows, header=HEADER):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(section, command, versions, *parts):
    """Prints the results, and replaces the section in the page."""
    by = ", ".join([f"`{command}`", str(datetime.date.today()), *commit(), machine(), *versions])
    text = "\n\n".join([f"{by}.", *parts])
    print(f"\n## {section}\n\n{text}", flush=True)
    head, *rest = re.split(r"^## (.*)\n", PAGE.read_text(), flags=re.MULTILINE)
    sections = {title: body.strip() for title, body in zip(rest[::2], rest[1::2])}
    sections[section] = text
    ordered = sorted(sections, key=SECTIONS.index)
    PAGE.write_text(head + "\n".join(f"## {title}\n\n{sections[title]}\n" for title in ordered))


def commit():
    """The measured commit, if this is a repository. Changes of the page itself do not count."""

    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)

    found = git("rev-parse", "--short", "HEAD")
    if found.returncode != 0:
        return []
    changed = git("diff", "--quiet", "HEAD", "--", ".", f":(exclude){PAGE.relative_to(ROOT)}").returncode
    return [f"commit {found.stdout.strip()}{' with changes' if changed else ''}"]


def machine():
    """The processor and its cores."""
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith(("model name", "Model"))]
    name = f"{names[0]}, " if names else ""
    return f"{name}{os.cpu_count()} cores, {platform.machine()}"


def main():
    rows, header = [], None
    for line in PAGE.read_text().splitlines():
        cells = line.removeprefix("| ").removesuffix(" |").split(" | ") if line.startswith("| ") else None
        # A table starts with its header and a line of dashes.
        if cells is None or header is None:
            header = cells
        elif header == HEADER and set(cells) != {"---"}:
            rows.append(cells)
    print(table(rows))


if __name__ == "__main__":
    main()
