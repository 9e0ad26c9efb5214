"""Digits drawn by a pen of our own, in forms that MNIST hardly holds.

Europeans write ones with a long flag, sevens with a bar, nines with a hooked tail and fours that
stay open. Each form here is one or two strokes through a few points. A drawing moves the points at
random, joins them by a smooth curve (Catmull and Rom, 1974), and inks what lies near it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from digitsum.datasets.digits import SIDE, Digits

# points (x, y) of each form in the unit square, y down; | ends a curve at a corner, ; a stroke
FORMS: dict[int, tuple[str, ...]] = {
    0: (
        ".5,0 .12,.25 .08,.6 .4,1 .8,.8 .92,.4 .7,.06 .5,0",
        ".6,.02 .2,.15 .05,.55 .35,.98 .8,.85 .95,.4 .65,.03 .4,.06",
        ".75,.1 .4,.0 .1,.3 .1,.75 .5,1 .9,.7 .9,.3 .6,.02 .45,.1",
    ),
    1: (
        ".5,0 .5,.5 .5,1",
        ".2,.3 .55,0 | .55,0 .55,.5 .53,1",
        ".02,.5 .35,.25 .68,0 | .68,0 .66,.5 .62,1",
        ".1,.45 .4,.2 .6,0 | .6,0 .6,1",
        ".2,.25 .5,0 | .5,0 .5,1 ; .15,1 .85,1",
        ".0,.62 .4,.3 .72,0 | .72,0 .66,1",
    ),
    2: (
        ".1,.25 .3,.03 .7,.03 .85,.28 .6,.6 .1,1 | .1,1 .95,.97",
        ".1,.25 .35,0 .75,.05 .8,.35 .45,.7 .12,.97 .05,.85 .25,.8 .6,.97 .98,.9",
        ".08,.15 .45,.0 .85,.2 .65,.55 .1,.98 | .1,.98 .5,.9 .95,1",
        ".15,.2 .5,.02 .8,.15 .75,.4 .4,.7 .08,.95 | .08,.95 .4,.88 .7,.98 .95,.85",
    ),
    3: (
        ".1,.12 .45,0 .82,.18 .75,.38 .4,.47 | .4,.47 .85,.6 .85,.85 .5,1 .06,.86",
        ".1,.03 .85,.03 | .85,.03 .4,.4 | .4,.4 .85,.55 .9,.8 .5,1 .06,.9",
        ".15,.1 .5,0 .8,.2 .6,.42 .35,.5 .7,.52 .92,.75 .6,1 .1,.93",
        ".1,.15 .5,.0 .8,.15 .7,.4 .45,.45 .55,.5 .4,.42 .8,.55 .85,.85 .4,1 .05,.85",
    ),
    4: (
        ".25,0 .08,.62 | .08,.62 .95,.6 ; .68,.3 .6,1",
        ".72,1 .72,0 | .72,0 .04,.68 | .04,.68 .96,.68",
        ".15,.0 .1,.4 .35,.55 .8,.45 ; .85,.02 .8,.5 .75,1",
        ".45,0 .08,.58 | .08,.58 .9,.58 ; .62,.1 .58,.55 .55,1",
        ".3,.02 .1,.55 .2,.62 .92,.55 ; .75,.05 .66,1",
        ".6,0 .05,.72 | .05,.72 .95,.7 ; .7,.45 .66,1",
    ),
    5: (
        ".85,.02 .25,.03 | .25,.03 .18,.42 | .18,.42 .6,.38 .9,.65 .6,.97 .05,.88",
        ".8,.0 .3,.05 .2,.4 .6,.42 .85,.7 .5,1 .08,.9",
        ".25,.05 .2,.45 | .2,.45 .65,.4 .85,.72 .5,1 .05,.9 ; .25,.05 .9,0",
        ".9,.05 .35,.0 | .35,.0 .15,.5 | .15,.5 .55,.45 .75,.7 .5,.95 .05,.95",
    ),
    6: (
        ".75,.02 .3,.3 .1,.7 .4,1 .85,.78 .6,.52 .15,.7",
        ".5,0 .2,.4 .1,.75 .35,1 .8,.85 .7,.55 .35,.55 .12,.75",
        ".85,.1 .45,.05 .12,.5 .2,.9 .6,1 .88,.72 .5,.5 .18,.68",
    ),
    7: (
        ".05,.05 .9,.05 | .9,.05 .4,1",
        ".05,.05 .9,.05 | .9,.05 .4,1 ; .3,.5 .85,.48",
        ".08,.2 .1,.02 | .1,.02 .92,.04 | .92,.04 .55,.5 .45,1",
        ".05,.08 .4,.0 .6,.08 .95,.02 | .95,.02 .5,.6 .4,1 ; .25,.52 .82,.45",
        ".1,.0 .85,.03 | .85,.03 .6,.45 .5,1 ; .28,.55 .9,.5",
        ".02,.12 .1,.0 .9,.0 .6,.4 .35,1 ; .2,.45 .75,.5",
    ),
    8: (
        ".5,.47 .15,.22 .5,0 .85,.22 .5,.47 .1,.77 .5,1 .9,.77 .5,.47",
        ".82,.12 .45,0 .15,.2 .5,.47 .88,.76 .5,1 .1,.78 .45,.5 .82,.12",
        ".45,.45 .2,.2 .5,.0 .78,.2 .45,.45 ; .5,.46 .1,.75 .45,1 .9,.75 .5,.46",
        ".85,.05 .4,.03 .15,.22 .6,.5 .85,.8 .45,1 .1,.8 .5,.45 .9,.15",
    ),
    9: (
        ".85,.2 .5,0 .12,.25 .4,.5 .85,.22 | .85,.22 .8,.6 .75,1",
        ".85,.15 .5,0 .12,.25 .4,.5 .85,.25 | .85,.25 .85,.7 .55,1 .1,.92",
        ".8,.1 .4,.0 .1,.25 .45,.48 .85,.2 .85,.6 .6,.97 .2,.98",
        ".85,.1 .4,.02 .15,.3 .5,.48 .82,.3 | .88,.05 .8,.5 .5,1",
        ".9,.3 .55,.52 .15,.35 .3,.05 .75,.05 .9,.3 .85,.7 .5,1 .08,.85",
    ),
}
PIECES = 8  # straight pieces between two points of a curve


def draw_digits(count: int, rng: np.random.Generator) -> Digits:
    """Digits (M, 28, 28) in forms drawn at random, about 20 pixels high, the ten equally often."""
    labels = np.arange(count) % 10
    images = np.zeros((count, SIDE, SIDE), np.float32)
    for digit, forms in FORMS.items():
        rows = np.flatnonzero(labels == digit)
        chosen = rng.integers(0, len(forms), len(rows))
        for number, form in enumerate(forms):
            images[rows[chosen == number]] = _drawn(form, int((chosen == number).sum()), rng)
    return Digits(np.rint(255 * images).astype(np.uint8), labels.astype(np.uint8))


def _drawn(form: str, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """So many drawings of one form, (count, 28, 28) in 0..1."""
    high, wide = rng.uniform(18, 21, count), rng.uniform(8, 17, count)
    if form == FORMS[1][0]:
        wide *= 0.4
    scale = np.stack([wide, high], 1)[:, None]
    radius = rng.uniform(1.0, 1.9, (count, 1, 1))  # of the pen
    nearest = np.full((count, SIDE, SIDE), np.inf, np.float32)
    for stroke in form.split(";"):
        places: dict[str, NDArray[np.float64]] = {}  # corners stay joined when points move
        for part in stroke.split("|"):
            points = []
            for text in part.split():
                if text not in places:
                    place = np.array([float(each) for each in text.split(",")])
                    places[text] = place + rng.normal(0, 0.045, (count, 2))
                points.append(places[text])
            line = (_curve(np.stack(points, 1)) - 0.5) * scale + SIDE / 2
            nearest = np.minimum(nearest, _distance(line))
    return np.asarray(np.clip(radius + 0.5 - nearest, 0, 1), np.float32)


def _curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Curves (M, T, 2) through points (M, P, 2)."""
    ends = 2 * points[:, [0, -1]] - points[:, [1, -2]]
    p = np.concatenate([ends[:, :1], points, ends[:, 1:]], 1)[:, :, None]
    t = (np.arange(PIECES) / PIECES)[:, None]
    a, b, c, d = p[:, :-3], p[:, 1:-2], p[:, 2:-1], p[:, 3:]
    made = b + (c - a) * t / 2 + (a - 2.5 * b + 2 * c - d / 2) * t**2
    made = made + (1.5 * (b - c) + (d - a) / 2) * t**3
    return np.concatenate([made.reshape(len(points), -1, 2), points[:, -1:]], 1)


def _distance(lines: NDArray[np.float64]) -> NDArray[np.float32]:
    """Distance of each pixel from the lines (M, T, 2), (M, 28, 28)."""
    across = torch.arange(SIDE) + 0.5
    pixels = torch.stack(torch.meshgrid(across, across, indexing="xy"), -1).reshape(1, -1, 2)
    nearest = []
    for some in torch.split(torch.from_numpy(lines).float(), 500):
        least = torch.full((len(some), SIDE * SIDE), torch.inf)
        for start, end in zip(some.unbind(1), some[:, 1:].unbind(1), strict=False):
            way = (end - start)[:, None]
            along = ((pixels - start[:, None]) * way).sum(-1) / (way**2).sum(-1).clamp(min=1e-6)
            foot = start[:, None] + along.clamp(0, 1)[..., None] * way
            least = torch.minimum(least, (pixels - foot).norm(dim=-1))
        nearest.append(least)
    return torch.cat(nearest).reshape(-1, SIDE, SIDE).numpy()
