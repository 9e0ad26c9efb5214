"""Error analysis: the misread strips of the bundled weights on `mnist-test`, sorted by hand.

Usage: python studies/errors.py [--sheets FOLDER]

`errors_by_hand.json` beside this script has a kind for each misread strip: `ambiguous` (a person
may misread it too), `overlap` (the misread digit is crossed by its neighbour), `shape` (a person
reads it at once, but it is written in a rare way), `plain` (nothing explains the error). --sheets
writes the misread strips as numbered pictures, to sort them again when the weights change.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from study import Study, drawing, fingerprint, unseen

from digitsum.display import addition
from digitsum.inference import load_model

KINDS = ("ambiguous", "overlap", "shape", "plain")
BY_HAND = Path(__file__).parent / "errors_by_hand.json"
STRIPS, SEED = 10_000, 1  # mnist-test
SHOWN = 6  # strips of each kind in the figure


def misread() -> tuple[NDArray[np.int64], list[str], NDArray[np.uint8], list[dict[str, Any]]]:
    """Rows of the misread strips, a line of text for each, their pictures, and facts."""
    made = unseen(STRIPS, 4, SEED)
    predictions = load_model("reader", precision="fp32").predict(made.images)
    assert predictions.digits is not None
    assert predictions.confidence is not None
    rows = np.flatnonzero((predictions.digits != made.truth.digits).any(1))
    said, facts = [], []
    for row in rows:
        predicted, true = predictions.digits[row], made.truth.digits[row]
        said.append(f"{addition(true)}, predicted {addition(predicted)}")
        wrong = np.flatnonzero(predicted != true)
        facts.append(
            {
                "wrong": [[int(true[k]), int(predicted[k])] for k in wrong],
                "confidence": float(predictions.confidence[row]),
            }
        )
    return rows, said, made.images[rows], facts


def study(
    sheets: Annotated[Path | None, typer.Option(help="Folder for numbered pictures.")] = None,
) -> None:
    """Counts the misread strips of each kind."""
    rows, said, pictures, facts = misread()
    if sheets is not None:
        draw_sheets(sheets, rows, said, pictures)
    by_hand = json.loads(BY_HAND.read_text())
    if by_hand["of"] != fingerprint() or set(by_hand["kinds"]) != {str(row) for row in rows}:
        raise SystemExit("errors_by_hand.json is for other weights: sort the --sheets again")
    kept = Study("errors")
    kept.cells = {}  # cheap without training, and always measured with the bundled weights
    kinds = [by_hand["kinds"][str(row)] for row in rows]
    pairs = Counter(tuple(sorted(f["wrong"][0])) for f in facts if len(f["wrong"]) == 1)
    kept.cell(
        "all",
        lambda: {
            "strips": len(rows),
            "one digit wrong": sum(len(f["wrong"]) == 1 for f in facts),
            "commonest": [[*pair, count] for pair, count in pairs.most_common(8)],
        },
    )
    for kind in KINDS:
        own = [fact for fact, k in zip(facts, kinds, strict=True) if k == kind]
        kept.cell(
            kind,
            lambda own=own: {  # type: ignore[misc]
                "strips": len(own),
                "percent": round(100 * len(own) / len(rows), 1),
                "confidence": float(np.median([f["confidence"] for f in own])) if own else None,
            },
        )
    kept.show({"strips": "strips", "percent": "share %", "confidence": "median confidence"})
    draw_kinds(kinds, said, pictures)


def draw_sheets(folder: Path, rows: Any, said: list[str], pictures: NDArray[np.uint8]) -> None:
    """Writes pictures of 24 strips each, three times as large, under their rows and texts."""
    from matplotlib import pyplot as plt

    folder.mkdir(exist_ok=True)
    for start in range(0, len(rows), 24):
        figure, grid = plt.subplots(8, 3, figsize=(15, 14), layout="constrained")
        for axes, n in zip(grid.flat, range(start, start + 24), strict=True):
            axes.axis("off")
            if n < len(rows):
                axes.imshow(pictures[n], cmap="gray")
                axes.set_title(f"{rows[n]}: {said[n]}", fontsize=11)
        figure.savefig(folder / f"{start // 24:02}.png", dpi=80)
        plt.close(figure)


def draw_kinds(kinds: list[str], said: list[str], pictures: NDArray[np.uint8]) -> None:
    """Draws a few strips of each kind."""
    present = [kind for kind in KINDS if kind in kinds]
    with drawing("errors", 9, 1.0 * SHOWN * len(present) / 3) as axes:
        axes.axis("off")
        for r, kind in enumerate(present):
            chosen = [n for n, k in enumerate(kinds) if k == kind][:SHOWN]
            for c, n in enumerate(chosen):
                y, x = 2 * r + c // 3, c % 3
                place = [x / 3 + 0.005, 1 - (y + 1) / (2 * len(present)) + 0.004]
                size = [1 / 3 - 0.01, 0.72 / (2 * len(present))]
                inner = axes.inset_axes([*place, *size])
                inner.imshow(pictures[n], cmap="gray", aspect="auto")
                inner.set(xticks=[], yticks=[])
                inner.set_title(f"{kind}: {said[n]}", fontsize=7, pad=2)


if __name__ == "__main__":
    typer.run(study)
