"""The distribution of the sum by discrete Fourier transform: quick, and exact where it says so.

`digitsum.models.sum_likelihood` multiplies the columns' polynomials in x (sums) and y (counts) one
after the other. At a root of unity in the place of x each of them is a single complex number, and
9 K + 1 roots, one for each sum of K digits, tell all coefficients by one inverse transform.

Where the count K is known, the coefficient of y^K is wanted alone. Divide each column by the
probability of its blank; then it is the K-th elementary symmetric polynomial of the columns'
digits. Let the last of k digits stand in column t: it comes after k - 1 in the columns before it,

    chosen_k[t] = digits[t] * (chosen_(k-1)[0] + ... + chosen_(k-1)[t - 1])

so that K rounds, each a product and a cumulative sum, take the place of T.

Float64 rounds these numbers by some 1e-14 of P(count). So what is `CERTAIN` of it or more is right
to five digits, and what is less must be computed otherwise.

Letters: B strips, T columns, K digits in a strip, S possible sums. Log-probabilities are
(B, T, 11), as in `digitsum.models.sum_likelihood`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

CERTAIN = 1e-9  # of P(count)
MOST_DIGITS = 8  # of a known count; with more, going column by column is no slower
MOST_COLUMNS = 100  # where the count is unknown: what it takes grows with their square
IMPOSSIBLE = -1e6  # a log-probability in the place of minus infinity
LARGEST = 600.0  # logarithm of a product of K numbers that float64 holds, with room for adding up


def is_quick(log_probs: Tensor, count: int | None) -> bool:
    """Whether this is the way for such strips; Apple's GPUs have no float64."""
    few = log_probs.shape[1] <= MOST_COLUMNS if count is None else 0 < count <= MOST_DIGITS
    return few and log_probs.device.type != "mps"


def log_joint(log_probs: Tensor, sums: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Log P(count, sum), float64, and whether it is right; (B, T, 11), (B,) -> (B,) each.

    Where it is not, the logarithm is a number without meaning, and has no gradient.
    """
    spectrum, scale = _known_count(log_probs, count)
    angles = _angles(sums, 9 * count + 1)
    terms = spectrum.real * angles.cos() - spectrum.imag * angles.sin()
    once = terms[:, 0] if count % 2 == 0 else terms[:, 0] + terms[:, -1]  # real roots: no twin
    entry = (2 * terms.sum(1) - once) / (9 * count + 1)
    right = entry > CERTAIN * spectrum[:, 0].real
    return torch.where(right, entry, 1.0).log() + scale, right


def sum_distribution(log_probs: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    """P(sum | count) and P(count), float64; (B, T, 11) -> (B, S), whose rows add up to 1, and (B,).

    Where the count is None, it is P(sum) over all counts, and 1. Rows are NaN where P(count) is
    below what float64 holds.
    """
    if count is None:
        top, scale = 9 * log_probs.shape[1], log_probs.new_zeros(len(log_probs)).double()
        probs = log_probs.double().exp()
        spectrum = (_waves(probs[..., 1:], top + 1) + probs[..., :1]).prod(1)
    else:
        top = 9 * count
        spectrum, scale = _known_count(log_probs, count)
    table = torch.fft.irfft(spectrum, n=top + 1).clamp(min=0)
    total = table.sum(1)
    return table / total[:, None], (total.log() + scale).exp().clamp(max=1)


def exported_sum_distribution(log_probs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`sum_distribution` of a known count without complex numbers, which ONNX has not.

    A row whose P(count) is below what float64 holds is 0.
    """
    digits, scale = _over_blanks(log_probs, count)
    angles = _angles(torch.arange(10), 9 * count + 1)
    re, im = digits @ angles.cos(), digits @ -angles.sin()
    chosen_re, chosen_im = re, im
    for k in range(1, count):
        a, b = re[:, k:], im[:, k:]
        c, d = chosen_re.cumsum(1)[:, :-1], chosen_im.cumsum(1)[:, :-1]
        chosen_re, chosen_im = a * c - b * d, a * d + b * c
    angles = _angles(torch.arange(9 * count + 1), 9 * count + 1).T
    twice = torch.full((len(angles), 1), 2.0, dtype=torch.float64)
    twice[0] = 1.0
    if count % 2:
        twice[-1] = 1.0  # real roots have no twin
    waves = chosen_re.sum(1) @ (twice * angles.cos()) - chosen_im.sum(1) @ (twice * angles.sin())
    table = waves.clamp(min=0)
    total = table.sum(1)
    probability = (total.clamp_min(1e-300).log() + scale - math.log(9 * count + 1)).exp()
    return table / total.clamp_min(1e-300)[:, None], probability.clamp(max=1)


def _known_count(log_probs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The coefficient of y^K at half of the roots, and the logarithm of what it is to be scaled by.

    Complex128 (B, S // 2 + 1), as the other half are its conjugates, and float64 (B,).
    """
    ratios, scale = _over_blanks(log_probs, count)
    digits = _waves(ratios, 9 * count + 1)
    chosen = digits
    for k in range(1, count):
        chosen = digits[:, k:] * chosen.cumsum(1)[:, :-1]
    return chosen.sum(1), scale


def _over_blanks(log_probs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Digits' probabilities over their column's blank, float64 (B, T, 10), of moderate size.

    And the logarithm of what a product of K of them is to be scaled by, (B,).
    """
    exact = log_probs.double().clamp(min=IMPOSSIBLE)
    blank, gain = exact[..., :1], exact[..., 1:] - exact[..., :1]
    shift = (gain.detach().amax((1, 2)) - LARGEST / count).clamp(min=0)
    return (gain - shift[:, None, None]).exp(), blank.sum((1, 2)) + count * shift


def _waves(digits: Tensor, points: int) -> Tensor:
    """Polynomials (B, T, 10) at half of so many roots, complex (B, T, points // 2 + 1)."""
    angles = _angles(torch.arange(10, device=digits.device), points)
    waves = torch.stack([angles.cos(), -angles.sin()], -1).flatten(1)
    return torch.view_as_complex((digits @ waves).view(*digits.shape[:2], points // 2 + 1, 2))


def _angles(exponents: Tensor, points: int) -> Tensor:
    """Of the roots that lie from 0 to pi, to these powers: (n,) -> (n, points // 2 + 1)."""
    steps = torch.arange(points // 2 + 1, dtype=torch.float64, device=exponents.device)
    return 2 * math.pi / points * torch.outer(exponents.double(), steps)
