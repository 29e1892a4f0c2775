#!/usr/bin/env python3
"""Measures the table of live revisions in process, with platform/examples/live_table.rs pinned to one core."""

import json

import page
from process import RELEASE, SERVER_CORE, output, pinned


def main():
    measured = json.loads(output([RELEASE / "examples" / "live_table"], preexec_fn=pinned(SERVER_CORE)))

    def row(benchmark, reference, key, target, unit=1, name="ns"):
        few, many = measured[key]
        return page.row(benchmark, reference, many / few, target, f"{many / unit:,.1f} {name} / {few / unit:,.1f} {name}")

    rows = [
        row("find a route among 100,000", "among 10", "lookup", "≤ 2"),
        row("swap an app's revision among 10,000 apps", "among 10", "swap", "≤ 1.2", 1e3, "µs"),
        row("the first revision of a new app among 10,000 apps", "among 10", "new_app", "–", 1e3, "µs"),
    ]
    how = "In process, on one core, medians of several rounds in turn; lookups of all 100,000 routes in random order."
    page.write("The live table", "bench/table.py", [], how, page.table(rows))


if __name__ == "__main__":
    main()
