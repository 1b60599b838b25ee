# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection costs, as counts and as ratios within one run: seconds differ from machine to machine."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.bench import joining, ports, registering
from tests.bench.report import Row, markdown, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the result as a page")
    parser.add_argument("--only", choices=["ports", "registering", "joining"], help="one part alone")
    given = parser.parse_args()
    parts = {"ports": ports.measure, "registering": registering.measure, "joining": joining.measure}
    rows: list[Row] = []
    for name, measure in parts.items():
        if given.only in (None, name):
            print(f"-- {name}", file=sys.stderr, flush=True)
            rows.extend(measure())
    print(table(rows))
    if given.markdown:
        given.markdown.write_text(markdown(rows, os.cpu_count() or 1))
    missed = [row for row in rows if not row.kept]
    if missed:
        print("over budget: " + "; ".join(row.what for row in missed), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
