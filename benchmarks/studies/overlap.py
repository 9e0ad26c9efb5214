"""What overlap costs: exact accuracy by the smallest gap in a strip, and by how pixels are added.

In the original strips crossings are added in uint8 and wrap around at 256: bright becomes dark. The
same strips with additions that stop at 255 show what that costs.

Usage: python benchmarks/studies/overlap.py [--no-train]
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer
from study import SHORT, Study, drawing, fingerprint, strips_of, trained

from digitsum.datasets.digits import load_digits
from digitsum.datasets.synthesis import Composition, compose
from digitsum.inference import LoadedModel, load_model

STRIPS, SEED = 10_000, 1  # those of mnist-test
GAPS = ((14, 15), (16, 17), (18, 20), (21, 23), (24, 27), (28, 42))  # columns, left edge to left


def made(source: str, strips: int, seed: int, how: str) -> Composition:
    """Strips whose crossings are `wrapped` around or `clipped`."""
    return compose(load_digits(source), strips, seed=seed, clip=how == "clipped")


def by_gap(model: LoadedModel, how: str) -> dict[str, Any]:
    """Exact accuracy by the smallest distance of two neighbours' left edges."""
    strips = made("mnist-test", STRIPS, SEED, how)
    right = model.read(strips.images, 4).sum == strips.sums
    other = made("mnist-test", STRIPS, SEED, "clipped" if how == "wrapped" else "wrapped")
    crossed = (strips.images != other.images).any((1, 2))  # somewhere two bright strokes cross
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
    train: Annotated[bool, typer.Option(help="Train readers on both kinds too.")] = True,
    precision: str = "auto",
) -> None:
    kept = Study("overlap")
    shipped, whose = load_model("reader", precision="fp32"), fingerprint()
    for how in ("wrapped", "clipped"):
        key = f"weights that ship, {how}"
        kept.cell(key, lambda h=how: by_gap(shipped, h), whose)  # type: ignore[misc]

    def short_run(how: str) -> dict[str, Any]:
        strips = strips_of(made("mnist", 30_000, 0, how), f"mnist, {how}")
        model = trained(f"overlap_{how}", {"arch": "reader", **SHORT}, strips, precision)
        return by_gap(model, how)

    for how in ("wrapped", "clipped") if train else ():
        kept.cell(f"short run on {how}, {how}", lambda h=how: short_run(h))  # type: ignore[misc]
    names = {
        "all": "all",
        "crossed": "bright strokes cross",
        **{f"{low}-{high}": f"{low}-{high}" for low, high in GAPS},
    }
    kept.show(names)
    with drawing("overlap") as axes:
        for key, cell in kept.cells.items():
            exact = [cell[f"{low}-{high}"] for low, high in GAPS]
            axes.plot([f"{low}-{high}" for low, high in GAPS], exact, marker="o", label=key)
        axes.set(xlabel="smallest gap between left edges, columns", ylabel="exact %")
        axes.legend()


if __name__ == "__main__":
    typer.run(study)
