"""The exact distribution of count and sum, and the most likely reading, against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from digitsum.models import roots_of_unity
from digitsum.models.sum_likelihood import (
    UNDERFLOW,
    count_distribution,
    count_sum_distribution,
    log_count_sum_distribution,
    log_likelihood,
    log_likelihood_of_counts,
    most_likely,
    paired_count_sum_distribution,
    sum_distribution,
    viterbi,
    viterbi_by_digits,
    wide_log_likelihood,
)

seeds = st.integers(0, 2**31)
quick = settings(deadline=None, derandomize=True, max_examples=25)


def columns(seed: int, strips: int, count: int, sharpness: float = 2.0) -> Tensor:
    """Random log-probabilities (B, T, 11)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(strips, count, 11, generator=generator) * sharpness
    return logits.log_softmax(-1)


def enumerate_all(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """Every way to fill the columns of one strip (T, 11), with its probability in float64."""
    probs = log_probs.double().exp().numpy()
    return {
        symbols: math.prod(probs[t, symbol] for t, symbol in enumerate(symbols))
        for symbols in itertools.product(range(11), repeat=len(probs))
    }


def count_and_sum(symbols: tuple[int, ...]) -> tuple[int, int]:
    digits = [symbol - 1 for symbol in symbols if symbol]
    return len(digits), sum(digits)


def convolved(log_probs: Tensor, most: int) -> np.ndarray:
    """The same polynomial product in float64 NumPy, one strip (T, 11) -> (K + 1, 9 K + 1)."""
    table = np.zeros((most + 1, 9 * most + 1))
    table[0, 0] = 1
    for column in log_probs.double().exp().numpy():
        new = table * column[0]
        for count in range(most):
            new[count + 1] += np.convolve(table[count], column[1:])[: 9 * most + 1]
        table = new
    return table


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_joint_distribution_is_that_of_enumeration(count: int) -> None:
    log_probs = columns(count, 2, count)
    for strip, table in zip(
        log_probs, count_sum_distribution(log_probs, count, 9 * count), strict=True
    ):
        expected = np.zeros((count + 1, 9 * count + 1))
        for symbols, probability in enumerate_all(strip).items():
            expected[count_and_sum(symbols)] += probability
        np.testing.assert_allclose(table.numpy(), expected, rtol=1e-5, atol=1e-12)
        over_counts = count_sum_distribution(strip[None], None, 9 * count)[0, 0]
        np.testing.assert_allclose(over_counts.numpy(), expected.sum(0), rtol=1e-5)


@quick
@given(seeds, st.integers(1, 12), st.floats(0.1, 20))
def test_it_sums_to_one(seed: int, count: int, sharpness: float) -> None:
    log_probs = columns(seed, 3, count, sharpness)
    for table in (
        count_sum_distribution(log_probs, count, 9 * count),
        count_sum_distribution(log_probs, None, 9 * count),
    ):
        torch.testing.assert_close(table.sum((1, 2)), torch.ones(3), rtol=1e-5, atol=0)
        assert (table >= 0).all()
    for known in (1, count, None):
        distribution, count = sum_distribution(log_probs, known)
        torch.testing.assert_close(distribution.sum(1), torch.ones(3))
        counts = count_distribution(log_probs.exp())
        torch.testing.assert_close(counts.sum(1), torch.ones(3))
        torch.testing.assert_close(count, torch.ones(3) if known is None else counts[:, known])


@quick
@given(seeds, st.integers(2, 20))
def test_permuting_columns_changes_nothing(seed: int, count: int) -> None:
    log_probs = columns(seed, 2, count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        count_sum_distribution(log_probs, 4, 36),
        count_sum_distribution(log_probs[:, order], 4, 36),
        rtol=1e-5,
        atol=1e-12,
    )


@quick
@given(seeds, st.integers(1, 30), st.floats(0.1, 30))
def test_log_space_agrees(seed: int, count: int, sharpness: float) -> None:
    log_probs = columns(seed, 2, count, sharpness)
    plain, log = (
        count_sum_distribution(log_probs, 4, 36),
        log_count_sum_distribution(log_probs, 4, 36),
    )
    held = plain > UNDERFLOW
    torch.testing.assert_close(log[held], plain[held].log(), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("count", [None, 3])
@pytest.mark.parametrize("depth", [1, 120])
def test_the_gradient_is_that_of_finite_differences(count: int | None, depth: int) -> None:
    logits = torch.randn(2, 5, 11, dtype=torch.float64, requires_grad=True)
    sums = torch.tensor([7, 20])

    def likelihood(logits: Tensor) -> Tensor:
        return log_likelihood((depth * logits).log_softmax(-1), sums, count)

    with torch.no_grad():
        deep = (likelihood(logits) < math.log(UNDERFLOW)).any()
    assert bool(deep) == (depth > 1)  # both ways of computing are tried
    assert torch.autograd.gradcheck(likelihood, logits, eps=1e-7, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 5])
def test_it_is_accurate_where_the_label_is_improbable(count: int) -> None:
    """400 columns, nearly all certain, and a sum whose probability nears 1e-30."""
    logits = torch.full((1, 400, 11), -15.0)
    logits[..., 0] = 10.0
    for place, digit in zip((30, 120, 250, 380), (1, 2, 0, 4), strict=True):
        logits[0, place, digit + 1] = 24.0
    log_probs = (logits + 0.1 * torch.randn_like(logits)).log_softmax(-1)
    truth = convolved(log_probs[0], count)[count]
    sums = np.flatnonzero((truth > 1e-37) & (truth < 1))
    assert truth[sums].min() < 1e-29
    for total in sums:
        grown = log_probs.clone().requires_grad_()
        got = log_likelihood(grown, torch.tensor([total]), count)
        assert got.double().exp().item() == pytest.approx(truth[total], rel=1e-4)
        got.sum().backward()
        assert grown.grad is not None
        assert grown.grad.isfinite().all()
        assert grown.grad.abs().max() > 0.1


def test_a_hopeless_strip_keeps_its_gradient() -> None:
    logits = torch.zeros(2, 42, 11)
    logits[..., 0] = 200.0  # certain that nothing is there
    logits.requires_grad_()
    loss = -log_likelihood(logits.log_softmax(-1), torch.tensor([36, 0]), 4)
    assert loss.isfinite().all()
    assert loss[0] > 700
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[..., 0] > 0).all()  # downwards is towards digits


@pytest.mark.slow
@quick
@given(seeds, st.integers(1, 3), st.floats(0.1, 5))
def test_the_most_likely_reading_is_that_of_enumeration(
    seed: int, count: int, sharpness: float
) -> None:
    log_probs = columns(seed, 1, count, sharpness)
    best: dict[tuple[int | None, int], float] = {}
    for symbols, probability in enumerate_all(log_probs[0]).items():
        held, total = count_and_sum(symbols)
        for key in ((held, total), (None, total)):
            best[key] = max(best.get(key, 0.0), probability)
    for (held, total), probability in best.items():
        symbols = most_likely(log_probs, torch.tensor([total]), held)[0]
        read = count_and_sum(tuple(symbols.tolist()))
        assert read[1] == total
        assert held is None or read[0] == held
        chosen = log_probs[0].gather(1, symbols[:, None]).sum().exp().item()
        assert chosen == pytest.approx(probability, rel=1e-4)


def test_strips_in_a_batch_do_not_mix() -> None:
    log_probs, sums = columns(0, 6, 10, 5.0), torch.tensor([0, 5, 9, 20, 30, 36])
    for count in (4, None):
        together = most_likely(log_probs, sums, count)
        for i in range(6):
            alone = most_likely(log_probs[i : i + 1], sums[i : i + 1], count)
            assert torch.equal(together[i], alone[0])
        one = torch.cat(
            [log_likelihood(log_probs[i : i + 1], sums[i : i + 1], count) for i in range(6)]
        )
        torch.testing.assert_close(log_likelihood(log_probs, sums, count), one)


@quick
@given(
    seeds,
    st.integers(1, 45),
    st.one_of(st.none(), st.integers(1, 6)),
    st.integers(0, 60),
    st.floats(0.1, 8),
)
def test_pairs_of_columns_give_what_columns_in_turn_give(
    seed: int, count: int, known: int | None, top: int, sharpness: float
) -> None:
    log_probs = columns(seed, 2, count, sharpness).double().requires_grad_()
    in_turn = count_sum_distribution(log_probs, known, top)
    paired = paired_count_sum_distribution(log_probs, known, top)
    torch.testing.assert_close(paired, in_turn, rtol=1e-12, atol=0)
    weights = torch.rand(in_turn.shape, dtype=torch.float64)
    slopes = [torch.autograd.grad((t * weights).sum(), log_probs)[0] for t in (in_turn, paired)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-15)


@quick
@given(seeds, st.integers(4, 45), st.floats(0.1, 60))
def test_the_likelihood_in_float64_is_the_likelihood(
    seed: int, count: int, sharpness: float
) -> None:
    log_probs, sums = columns(seed, 3, count, sharpness), torch.tensor([0.0, 17.0, 36.0])
    kept = log_likelihood(log_probs, sums, 4) > -690  # float64 ends there
    log_probs, sums = log_probs[kept].requires_grad_(), sums[kept]
    branched, wide = (f(log_probs, sums, 4) for f in (log_likelihood, wide_log_likelihood))
    torch.testing.assert_close(wide, branched, rtol=1e-4, atol=1e-4)
    slopes = [torch.autograd.grad(values.sum(), log_probs)[0] for values in (branched, wide)]
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-4)


def test_the_likelihood_in_float64_keeps_the_gradient_of_hopeless_strips() -> None:
    log_probs = columns(3, 1, 42, sharpness=10.0).requires_grad_()
    value = wide_log_likelihood(log_probs, torch.tensor([36.0]), 4)
    assert -690 < value.item() < math.log(UNDERFLOW)
    (slope,) = torch.autograd.grad(value.sum(), log_probs)
    assert slope.isfinite().all()
    assert slope.abs().max() > 0.1


@pytest.mark.parametrize("sharpness", [1.0, 60.0])  # without and with strips below UNDERFLOW
def test_a_count_for_each_strip_is_that_of_enumeration(sharpness: float) -> None:
    counts = torch.tensor([1, 2, 3, 2, 1, 3])
    sums = torch.tensor([9, 0, 20, 11, 3, 27])
    log_probs = columns(5, 6, 3, sharpness).requires_grad_()
    found = log_likelihood_of_counts(log_probs, sums, counts)
    for row, (count, total) in enumerate(zip(counts.tolist(), sums.tolist(), strict=True)):
        probability = math.fsum(
            p for symbols, p in enumerate_all(log_probs[row].detach()).items()
            if count_and_sum(symbols) == (count, total)
        )  # fmt: skip
        if probability > 1e-300:  # float64 has no deeper ones
            assert found[row].item() == pytest.approx(math.log(probability), rel=1e-4, abs=1e-4)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None
    assert torch.isfinite(log_probs.grad).all()
    assert (log_probs.grad.abs().sum((1, 2)) > 0).all()


@quick
@given(seeds, st.integers(4, 12), st.floats(0.1, 30))
def test_counts_that_are_all_alike_are_one_count(seed: int, width: int, sharpness: float) -> None:
    log_probs = columns(seed, 5, width, sharpness)
    sums = torch.randint(0, 28, (5,), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        log_likelihood_of_counts(log_probs, sums, torch.full((5,), 3)),
        log_likelihood(log_probs, sums, 3),
        rtol=1e-5,
        atol=1e-5,
    )


@quick
@given(seeds, st.integers(1, 9), st.integers(0, 20), st.floats(0.1, 40))
def test_the_transform_is_right_where_it_says_so(
    seed: int, count: int, more: int, sharpness: float
) -> None:
    log_probs = columns(seed, 6, count + more, sharpness)
    sums = torch.randint(0, 9 * count + 1, (6,), generator=torch.Generator().manual_seed(seed))
    logarithm, right = roots_of_unity.log_joint(log_probs, sums, count)
    table = log_count_sum_distribution(log_probs.double(), count, 9 * count)[:, -1]
    truth = table.gather(1, sums[:, None]).squeeze(1)
    torch.testing.assert_close(logarithm[right], truth[right], rtol=1e-6, atol=1e-5)
    assert right[truth - table.logsumexp(1) > math.log(1e-8)].all()
    distribution, probability = roots_of_unity.sum_distribution(log_probs, count)
    torch.testing.assert_close(distribution, table.softmax(1), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(
        probability, table.logsumexp(1).exp().clamp(max=1), rtol=1e-6, atol=0
    )
    distribution, _ = roots_of_unity.sum_distribution(log_probs, None)
    table = count_sum_distribution(log_probs.double(), None, 9 * (count + more))[:, -1]
    torch.testing.assert_close(distribution, table, rtol=1e-6, atol=1e-12)


@quick
@given(seeds, st.integers(1, 9), st.integers(0, 20), st.floats(0.1, 40))
def test_both_ways_to_the_most_likely_reading_are_as_likely(
    seed: int, count: int, more: int, sharpness: float
) -> None:
    log_probs = columns(seed, 6, count + more, sharpness)
    sums = torch.randint(0, 9 * count + 1, (6,), generator=torch.Generator().manual_seed(seed))
    by_digits = viterbi_by_digits(log_probs, sums, count)
    assert ((by_digits > 0).sum(1) == count).all()
    assert ((by_digits - 1).clamp(min=0).sum(1) == sums).all()
    by_columns = viterbi(log_probs, sums, count, 9 * count)
    likely = [
        log_probs.gather(2, way[..., None]).double().sum((1, 2)) for way in (by_digits, by_columns)
    ]
    torch.testing.assert_close(likely[0], likely[1], rtol=1e-5, atol=1e-4)


@quick
@given(seeds, st.integers(1, 8), st.integers(0, 20), st.floats(0.1, 40))
def test_the_exported_transform_is_the_transform(
    seed: int, count: int, more: int, sharpness: float
) -> None:
    log_probs = columns(seed, 6, count + more, sharpness)
    exported = roots_of_unity.exported_sum_distribution(log_probs, count)
    for ours, theirs in zip(
        exported, roots_of_unity.sum_distribution(log_probs, count), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-12)
