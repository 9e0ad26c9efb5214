"""The exact distribution of the digits' count and sum in a strip of T columns.

Letters: B strips, T columns, K digits in a strip. Each column holds, independently, a blank or one
digit. Its 11 symbols are 0 for blank and 1..10 for the digits 0..9; log-probabilities are
(B, T, 11).

The number of digits in a strip and their sum have a joint distribution: the product over columns
of the polynomials p_blank + y (p_0 + p_1 x + ... + p_9 x^9), in which the coefficient of y^k x^s
is the probability of k digits that add up to s. It is multiplied out column by column and cut off
at the counts and sums that can matter. The result is exact and has non-negative terms alone. An
FFT would be shorter, and wrong where it matters: its rounding turns a probability of 1e-30 into
noise. So it is taken where probabilities are large enough (`digitsum.models.roots_of_unity`),
which is nearly everywhere, and takes a hundredth of the time. On a GPU, where hundreds of small
operations in a row are slow, neighbouring columns are multiplied pair by pair, and pairs of pairs,
which takes log2(T) rounds.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from digitsum.models import roots_of_unity
from digitsum.models.roots_of_unity import IMPOSSIBLE

SYMBOLS = 11  # blank and ten digits
UNDERFLOW = 1e-30  # a float32 probability below this may have lost terms
UNDERFLOW_64 = 1e-290  # and a float64 one
PAIRED_CELLS = {"cpu": 2**25, "cuda": 2**28}  # columns times cells squared: 40 MB, 300 MB


def count_sum_distribution(log_probs: Tensor, max_count: int | None, top: int) -> Tensor:
    """Probability of every count and sum, (B, T, 11) -> (B, K + 1, top + 1).

    Accurate to float32 down to `UNDERFLOW`; `log_count_sum_distribution` goes deeper.

    Args:
        log_probs: Log-probabilities of each column's symbols.
        max_count: K, the highest count that is kept; None adds all counts up, (B, 1, top + 1).
        top: The highest sum that is kept.
    """
    if not torch.compiler.is_exporting() and _pairs_fit(log_probs, max_count, top):
        return paired_count_sum_distribution(log_probs, max_count, top)
    probs = log_probs.exp()
    table = _empty_strip(probs, max_count, top, zero=0.0, one=1.0)
    for column in probs.unbind(1):
        digits = column[:, 1:].flip(1)[:, None, :, None]  # (B, 1, 10, 1), in the windows' order
        added = (_windows(table, max_count, 0.0) @ digits).squeeze(-1)
        table = table * column[:, :1, None] + _one_more(added, max_count, 0.0)
    return table


def paired_count_sum_distribution(log_probs: Tensor, max_count: int | None, top: int) -> Tensor:
    """Does what `count_sum_distribution` does, in a few large operations."""
    probs = log_probs.exp()
    blank, digits = F.pad(probs[..., :1], (0, SYMBOLS - 2)), probs[..., 1:]  # (B, T, 10)
    table = (blank + digits)[:, :, None] if max_count is None else torch.stack([blank, digits], 2)
    while table.shape[1] > 1:  # (B, T, counts, sums)
        if table.shape[1] % 2:
            nothing = torch.zeros_like(table[:, :1])
            nothing[:, :, 0, 0] = 1.0
            table = torch.cat([table, nothing], 1)
        table = _product(table[:, ::2], table[:, 1::2], max_count or 0, top)
    counts, sums = table.shape[2:]
    return F.pad(table.squeeze(1), (0, top + 1 - sums, 0, (max_count or 0) + 1 - counts))


def log_count_sum_distribution(log_probs: Tensor, max_count: int | None, top: int) -> Tensor:
    """The logarithm of `count_sum_distribution`, in log space: slower, and right at any depth."""
    table = _empty_strip(log_probs, max_count, top, zero=-torch.inf, one=0.0)
    for column in log_probs.unbind(1):
        digits = column[:, 1:].flip(1)[:, None, None]  # (B, 1, 1, 10)
        added = _logsumexp(_windows(table, max_count, -torch.inf) + digits)
        added = _one_more(added, max_count, -torch.inf)
        table = _logsumexp(torch.stack([table + column[:, :1, None], added], -1))
    return table


def log_likelihood(log_probs: Tensor, sums: Tensor, count: int | None) -> Tensor:
    """Log P(count, sum), or log P(sum) where the count is None; (B, T, 11), (B,) -> (B,).

    Strips whose label is all but impossible are computed in more digits, and in log space if need
    be, so that the very strips that are wrong keep their gradient.
    """
    if count is not None and roots_of_unity.is_quick(log_probs, count):
        logarithm, right = roots_of_unity.log_joint(log_probs, sums, count)
        result, deep = logarithm.to(log_probs.dtype), ~right
    else:
        top = int(sums.max()) if count is None else 9 * count
        table = count_sum_distribution(log_probs, count, top)[:, -1]
        probability = table.gather(1, sums.long()[:, None]).squeeze(1)
        deep = probability < UNDERFLOW
        result = torch.where(deep, 1.0, probability).log()
    if bool(deep.any()):
        exact = _deep_log_likelihood(log_probs[deep], sums[deep], count)
        result = result.index_put((deep.nonzero().squeeze(1),), exact)
    return result


def _deep_log_likelihood(log_probs: Tensor, sums: Tensor, count: int | None) -> Tensor:
    """Does what `log_likelihood` does, for any probability: in float64, and then in log space."""
    top = int(sums.max()) if count is None else 9 * count
    column = sums.long()[:, None]
    if log_probs.device.type == "mps":  # Apple's GPUs have no float64
        return log_count_sum_distribution(log_probs, count, top)[:, -1].gather(1, column)[:, 0]
    table = count_sum_distribution(log_probs.double(), count, top)[:, -1]
    probability = table.gather(1, column).squeeze(1)
    deepest = probability < UNDERFLOW_64
    result = torch.where(deepest, 1.0, probability).log().to(log_probs.dtype)
    if bool(deepest.any()):
        table = log_count_sum_distribution(log_probs[deepest], count, top)[:, -1]
        exact = table.gather(1, column[deepest]).squeeze(1)
        result = result.index_put((deepest.nonzero().squeeze(1),), exact)
    return result


def log_likelihood_of_counts(log_probs: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    """Log P(count, sum), each strip with a count of its own; (B, T, 11), (B,), (B,) -> (B,)."""
    groups = [(counts == count).nonzero().squeeze(1) for count in sorted(set(counts.tolist()))]
    found = [log_likelihood(log_probs[rows], sums[rows], int(counts[rows[0]])) for rows in groups]
    return torch.cat(found)[torch.cat(groups).argsort()]


def wide_log_likelihood(log_probs: Tensor, sums: Tensor, count: int) -> Tensor:
    """Does what `log_likelihood` does, without a branch on values: in float64, -inf below 1e-300.

    To find strips that are deeper, a GPU would have to be waited for.
    """
    table = count_sum_distribution(log_probs.double(), count, 9 * count)[:, -1]
    return table.gather(1, sums.long()[:, None]).squeeze(1).log().float()


def sum_distribution(log_probs: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    """P(sum | count) and P(count); (B, T, 11) -> (B, S), whose rows add up to 1, and (B,).

    Where the count is None, it is P(sum) over all counts, and 1.
    """
    top = 9 * (log_probs.shape[1] if count is None else count)
    if roots_of_unity.is_quick(log_probs, count):
        distribution, total = roots_of_unity.sum_distribution(log_probs, count)
        result, deep = distribution.to(log_probs.dtype), distribution[:, 0].isnan()
    else:
        table = count_sum_distribution(log_probs, count, top)[:, -1]
        total = table.sum(1)
        deep = total < UNDERFLOW  # the strip hardly can hold so many digits
        result = table / torch.where(deep, 1.0, total)[:, None]
    if bool(deep.any()):
        result[deep] = log_count_sum_distribution(log_probs[deep], count, top)[:, -1].softmax(1)
        total = torch.where(deep, 0.0, total)
    total = total.to(log_probs.dtype)
    return result, torch.ones_like(total) if count is None else total.clamp(max=1)


def count_distribution(probs: Tensor) -> Tensor:
    """P(count) of the digits in a strip, probabilities (B, T, 11) -> (B, T + 1)."""
    blank = probs[..., :1]
    counts = F.pad(torch.ones_like(blank[:, 0]), (0, probs.shape[1]))
    for column in blank.unbind(1):
        counts = counts * column + F.pad(counts[:, :-1], (1, 0)) * (1 - column)
    return counts


def most_likely(log_probs: Tensor, sums: Tensor, count: int | None) -> Tensor:
    """The most likely symbols that have this count and this sum, (B, T, 11), (B,) -> (B, T).

    Where the count is None, any count will do.
    """
    symbols = log_probs.argmax(-1)  # the most likely of all; mostly it is the one
    held = symbols > 0
    fits = torch.where(held, symbols - 1, 0).sum(1) == sums
    if count is not None:
        fits &= held.sum(1) == count
    rest = ~fits
    if not bool(rest.any()):
        return symbols
    if count is not None and roots_of_unity.is_quick(log_probs, count):
        symbols[rest] = viterbi_by_digits(log_probs[rest], sums[rest], count)
    else:
        symbols[rest] = viterbi(log_probs[rest], sums[rest], count, int(sums[rest].max()))
    return symbols


def viterbi_by_digits(log_probs: Tensor, sums: Tensor, count: int) -> Tensor:
    """Does what `viterbi` does for a known count, in K rounds in the place of T.

    In each round one more digit, in column t: the best way to every sum ends with it, and begins
    with the best of the ways that one digit fewer has in the columns before.
    """
    finite = log_probs.double().clamp(min=IMPOSSIBLE)
    gain = finite[..., 1:] - finite[..., :1]  # (B, T, 10): of a digit over a blank
    columns, top = gain.shape[1], 9 * count
    digits = torch.arange(10, device=gain.device)
    rest = torch.arange(top + 1, device=gain.device)[:, None] - digits + 9  # in a row padded by 9
    best = [F.pad(gain, (0, top - 9), value=-torch.inf)]  # of k digits, (B, T, S) each
    before: list[Tensor] = []  # the best of them up to a column, padded, (B, T, 9 + S) each
    for _ in range(count - 1):
        before.append(F.pad(_highest_so_far(best[-1]), (9, 0), value=-torch.inf))
        ways = (before[-1][:, :-1, rest] + gain[:, 1:, None]).amax(-1)
        best.append(F.pad(ways, (0, 0, 1, 0), value=-torch.inf))
    left, place = sums.long(), torch.full_like(sums, columns).long()
    every = torch.arange(columns, device=gain.device)
    symbols = torch.zeros_like(log_probs[..., 0], dtype=torch.long)
    for k in reversed(range(count)):
        ways = best[k].gather(2, left[:, None, None].expand(-1, columns, 1)).squeeze(2)
        place = torch.where(every < place[:, None], ways, -torch.inf).argmax(1)
        digit = left
        if k:
            row = (place - 1).clamp(min=0)[:, None, None].expand(-1, 1, top + 10)
            kept = before[k - 1].gather(1, row).squeeze(1).gather(1, left[:, None] + 9 - digits)
            own = gain.gather(1, place[:, None, None].expand(-1, 1, 10)).squeeze(1)
            digit = (kept + own).argmax(1)
        symbols = torch.where(every == place[:, None], digit[:, None] + 1, symbols)
        left = left - digit
    return symbols


def _highest_so_far(x: Tensor) -> Tensor:
    """Over the columns up to each, (B, T, S); ONNX has no such operator."""
    step = 1
    while step < x.shape[1]:
        x = torch.maximum(x, F.pad(x[:, :-step], (0, 0, step, 0), value=-torch.inf))
        step *= 2
    return x


def viterbi(log_probs: Tensor, sums: Tensor, count: int | None, top: int) -> Tensor:
    """Does what `most_likely` does, by the Viterbi algorithm for every strip.

    The best way to every count and sum, then back along the one asked for.
    """
    score = _empty_strip(log_probs, count, top, zero=-torch.inf, one=0.0)
    chosen = []
    for column in log_probs.unbind(1):
        digits = column[:, 1:].flip(1)[:, None, None]
        best, window = (_windows(score, count, -torch.inf) + digits).max(-1)
        best = _one_more(best, count, -torch.inf)
        score = score + column[:, :1, None]
        choice = torch.where(best > score, _one_more(10 - window, count, 0), 0)
        chosen.append(choice.flatten(1).to(torch.uint8))  # (B, (K + 1)(top + 1))
        score = torch.maximum(best, score)
    left, held = sums, torch.full_like(sums, score.shape[1] - 1)
    symbols = []
    for choice in reversed(chosen):
        symbol = choice.gather(1, (held * (top + 1) + left)[:, None]).squeeze(1).long()
        symbols.append(symbol)
        left = left - (symbol - 1).clamp(min=0)
        if count is not None:
            held = held - (symbol > 0).long()
    return torch.stack(symbols[::-1], 1)


def _pairs_fit(log_probs: Tensor, max_count: int | None, top: int) -> bool:
    """Whether the largest round of `paired_count_sum_distribution` is small enough for memory."""
    strips, columns = log_probs.shape[:2]
    cells = strips * columns * ((max_count or 0) + 1) * (top + 1) ** 2
    return cells <= PAIRED_CELLS.get(log_probs.device.type, 0)


def _product(a: Tensor, b: Tensor, max_count: int, top: int) -> Tensor:
    """Distributions (B, n, k, s) of count and sum in n pieces of a strip, and in those beside them.

    Gives those of both together, (B, n, min(2 k - 1, K + 1), min(2 s - 1, top + 1)).
    """
    counts, sums = a.shape[2:]
    total = min(2 * sums - 1, top + 1)
    windows = F.pad(b, (sums - 1, total - sums)).unfold(-1, sums, 1)  # (B, n, k, total, s)
    added = a.flip(-1) @ windows.flatten(2, 3).transpose(2, 3)  # (B, n, k, k * total)
    grid = F.pad(added.reshape(*added.shape[:3], counts, total), (0, 0, 0, counts))
    # laid in rows one shorter, the table of a's i digits starts i counts later: they are added up
    rows = grid.flatten(2, 3)[:, :, :-counts]
    moved = rows.reshape(*rows.shape[:2], counts, 2 * counts - 1, total)
    return moved.sum(2)[:, :, : max_count + 1]


def _empty_strip(like: Tensor, max_count: int | None, top: int, zero: float, one: float) -> Tensor:
    """The table before the first column: no digit, sum 0, for certain."""
    table = like.new_full((like.shape[0], 1 if max_count is None else max_count + 1, top + 1), zero)
    table[:, 0, 0] = one
    return table


def _windows(table: Tensor, max_count: int | None, zero: float) -> Tensor:
    """(B, K + 1, S) -> (B, K, S, 10): for each sum s the entries at s - 9 .. s, one digit fewer."""
    fewer = table if max_count is None else table[:, :-1]
    return F.pad(fewer, (9, 0), value=zero).unfold(-1, 10, 1)


def _one_more(added: Tensor, max_count: int | None, zero: float) -> Tensor:
    """Counts one digit more, (B, K, S) -> (B, K + 1, S), where counts are told apart."""
    return added if max_count is None else F.pad(added, (0, 0, 1, 0), value=zero)


def _logsumexp(terms: Tensor) -> Tensor:
    """Over the last axis; -inf where all terms are, there with gradient 0 instead of NaN."""
    top = terms.detach().amax(-1)
    empty = top == -torch.inf
    top = torch.where(empty, 0.0, top)
    total = torch.where(empty, 1.0, (terms - top[..., None]).exp().sum(-1))
    return torch.where(empty, -torch.inf, total.log() + top)
