"""What the parts of `faults.py` share: the counts of a session, and the rows of their tables."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from fault_children import Case, Ended, run_all, run_batched

SPARE_MB = 200  # megabytes that opening a file may take besides twice its size
EXAMPLES = 3  # of each outcome that is not allowed

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """What every part knows: where it works, and how much it tries."""

    folder: Path
    kills: int
    signals: int
    files: int
    states: int
    lengths: int
    writers: int
    every: int  # of the cases that a part lists, only each so-manieth is tried

    def some(self, cases: Iterable[T]) -> Iterator[T]:
        """Those of the cases that are tried."""
        return islice(cases, 0, None, self.every)

    def place(self, name: str) -> Path:
        """A new folder."""
        (place := self.folder / name).mkdir(parents=True)
        return place


@dataclass
class Row:
    """What came of one kind of fault.

    Attributes:
        fault: In words.
        outcomes: How often each was seen.
        wrong: The names of those that are not allowed, with examples.
        grown: The most megabytes that a case took beyond the baseline, if that was measured.
    """

    fault: str
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    grown: float | None = None

    def allowed(self, outcome: str) -> None:
        """Counts a case that ended as it should."""
        self.outcomes[outcome] += 1

    def fail(self, outcome: str, example: str) -> None:
        """Counts a case that did not."""
        self.outcomes[outcome] += 1
        examples = self.wrong.setdefault(outcome, [])
        if len(examples) < EXAMPLES:
            examples.append(example)

    def measure(self, case: Case, ended: Ended, baseline: float) -> bool:
        """Compares a child's memory with the size of its file; gives whether it may take as much.

        Args:
            case: What was tried.
            ended: How it ended.
            baseline: Megabytes that a sound and small file takes.
        """
        grown = max(0.0, ended.megabytes - baseline)
        self.grown = max(grown, self.grown or 0.0)
        if grown <= 2 * case.size / 2**20 + SPARE_MB:
            return True
        self.fail("took too much memory", f"{case.name}: {grown:.0f} MB for {case.size:,} bytes")
        return False

    @property
    def tried(self) -> int:
        """Number of cases."""
        return self.outcomes.total()

    def to_dict(self) -> dict[str, Any]:
        """As the JSON holds it."""
        row: dict[str, Any] = {"fault": self.fault, "tried": self.tried}
        row["outcomes"] = dict(self.outcomes.most_common())
        if self.grown is not None:
            row["grown_mb"] = round(self.grown)
        return {**row, "not_allowed": self.wrong} if self.wrong else row


def judge(row: Row, case: Case, ended: Ended, done: str = "done") -> None:
    """Counts a child that may do its work or say in one line why not."""
    if broken := ended.broken():
        row.fail(broken, f"{case.name}: {ended.last_line}")
    elif ended.code == 0:
        row.allowed(done)
    elif ended.refused():
        row.allowed("one line of error")
    else:
        row.fail(f"exit {ended.code} without a line", f"{case.name}: {ended.err[-300:]!r}")


def judge_all(
    row: Row, cases: Iterable[Case], baseline: float | None = None, batched: bool = False
) -> Row:
    """Runs cases and judges each; where there is a baseline, its memory comes first."""
    most = SPARE_MB + (baseline or 0)
    for case, ended in run_batched(cases, most) if batched else run_all(cases):
        if baseline is None or row.measure(case, ended, baseline):
            judge(row, case, ended)
        shutil.rmtree(case.folder, ignore_errors=True)
    return row


def table(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows of all parts in Markdown, and the machine that they ran on."""
    lines = ["| fault | tried | what happened | memory |", "|---|---|---|---|"]
    for part in parts.values():
        for row in part["rows"]:
            what = "; ".join(f"{count:,} {name}" for name, count in row["outcomes"].items())
            grown = f"{row['grown_mb']:,} MB" if "grown_mb" in row else ""
            lines.append(f"| {row['fault']} | {row['tried']:,} | {what} | {grown} |")
    machines = {
        f"{part['machine']['processor']}, torch {part['machine']['torch']}"
        for part in parts.values()
    }
    return "\n".join([*lines, "", f"On {' and '.join(sorted(machines))}."])


def faults_of(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every outcome that is not allowed, with its count and examples, a line each."""
    return [
        f"{row['fault']}: {row['outcomes'][name]:,} {name}: {' | '.join(examples)}"
        for part in parts.values()
        for row in part["rows"]
        for name, examples in row.get("not_allowed", {}).items()
    ]


def kept(path: Path) -> dict[str, Any]:
    """The parts that a JSON file holds already; none if there is no such file."""
    document = json.loads(path.read_text()) if path.exists() else {}
    parts: dict[str, Any] = document.get("parts", {})
    return parts
