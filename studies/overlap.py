"""What overlap costs: exact-match accuracy by the smallest gap in a strip, and by how pixels add.

In the original strips the pixels of crossing digits are added in uint8 and wrap around at 256, so
that bright becomes dark. The same strips with additions that stop at 255 show what that costs.

Usage: python studies/overlap.py [--no-train]
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import numpy as np
import typer
from study import ACCURACY, SHORT, Study, drawing, fingerprint, trained

from digitsum.datasets.synthesis import Composition, compose
from digitsum.inference import LoadedModel, load_model

STRIPS, SEED = 10_000, 1  # as mnist-test is composed
GAPS = ((14, 15), (16, 17), (18, 20), (21, 23), (24, 27), (28, 42))  # pixels from edge to edge


def made(source: str, strips: int, seed: int, how: str) -> Composition:
    """Strips in which the pixels of crossing digits are `wrapped` around or `clipped`."""
    return compose(source, strips, seed=seed, clip=how == "clipped")


def by_gap(model: LoadedModel, how: str) -> dict[str, Any]:
    """Exact-match accuracy by the smallest distance between two neighbours' left edges."""
    strips = made("mnist-test", STRIPS, SEED, how)
    right = model.predict(strips.images, 4).sum == strips.sums
    other = made("mnist-test", STRIPS, SEED, "clipped" if how == "wrapped" else "wrapped")
    crossed = (strips.images != other.images).any((1, 2))  # two bright strokes cross
    gap = np.diff(strips.truth.positions[..., 0].astype(int), axis=1).min(1)
    cell: dict[str, Any] = {
        "all": 100 * float(right.mean()),
        "crossed": 100 * float(right[crossed].mean()),
        "strips crossed": int(crossed.sum()),
    }
    for low, high in GAPS:
        chosen = (gap >= low) & (gap <= high)
        cell[f"{low}-{high}"] = 100 * float(right[chosen].mean())
        cell[f"strips {low}-{high}"] = int(chosen.sum())
    return cell


def study(
    train: Annotated[bool, typer.Option(help="Also train readers on both kinds.")] = True,
    precision: str = "auto",
) -> None:
    """Measures accuracy by the smallest gap in a strip."""
    kept = Study("overlap")
    bundled, own = load_model("reader", precision="fp32"), fingerprint()
    for how in ("wrapped", "clipped"):
        kept.cell(f"bundled weights, {how}", partial(by_gap, bundled, how), own)

    def short_run(how: str) -> dict[str, Any]:
        strips = made("mnist", 30_000, 0, how).as_strips(f"mnist, {how}")
        model = trained(f"overlap_{how}", {"arch": "reader", **SHORT}, strips, precision)
        return by_gap(model, how)

    for how in ("wrapped", "clipped") if train else ():
        kept.cell(f"short run on {how}, {how}", partial(short_run, how))
    kept.show(
        {
            "all": f"all strips, {ACCURACY}",
            "crossed": "bright strokes cross",
            **{f"{low}-{high}": f"gap {low}-{high}" for low, high in GAPS},
        }
    )
    with drawing("overlap") as axes:
        for key, cell in kept.cells.items():
            exact = [cell[f"{low}-{high}"] for low, high in GAPS]
            axes.plot([f"{low}-{high}" for low, high in GAPS], exact, marker="o", label=key)
        axes.set(xlabel="smallest gap between left edges, pixels", ylabel=ACCURACY)
        axes.legend()


if __name__ == "__main__":
    typer.run(study)
