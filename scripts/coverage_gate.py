"""Fails where tests take too few of the branches.

Usage: python scripts/coverage_gate.py .coverage.json 90

The file is what `coverage json` writes. The gate is on branches alone; the usual figure mixes them
with lines, which are easier to reach.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(path: Path, least: float) -> None:
    """Says how many branches are taken, and fails below `least` percent."""
    totals = json.loads(path.read_text())["totals"]
    taken = 100 * totals["covered_branches"] / totals["num_branches"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    print(f"tests take {taken:.1f}% of the branches and {lines:.1f}% of the lines")
    if taken < least:
        sys.exit(f"error: {taken:.1f}% of the branches is below {least:g}%: test what is new")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
