"""The reader: what it says of strips, what it learns, how it starts again, what it ships."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MNIST, build, fit, needs_mnist, ok

from digitsum.checkpoint import load_checkpoint, save_checkpoint
from digitsum.checkpoint_paths import last_path, locate_checkpoint
from digitsum.datasets import open_data
from digitsum.datasets.digits import Digits, load_digits
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import compose
from digitsum.device import DeviceConfig
from digitsum.errors import DataError, RecipeError, WeightsError
from digitsum.evaluation.scoring import evaluate
from digitsum.inference import load_model
from digitsum.models.reader import Reader
from digitsum.recipe import Recipe
from digitsum.training import resume
from digitsum.training.events import EpochRecord, Restart
from digitsum.training.resuming import StoppedRun

PATH = Path("reader.pt")


def recipe(**keys: object) -> Recipe:
    defaults = {"arch": "reader", "epochs": 2, "device": "cpu", "digits_per_strip": 2}
    return Recipe.from_dict({**defaults, **keys})


def test_it_has_the_parameters_that_the_docs_name() -> None:
    assert sum(p.numel() for p in build("reader", 168, {}).parameters()) == 517_883


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("width", [28, 41, 168, 333])
def test_columns_are_float32_probabilities_at_any_width(width: int, precision: str) -> None:
    compute = DeviceConfig.resolve("cpu", precision)
    model = compute.place(build("reader", 168, {})).eval()
    with torch.no_grad(), compute.autocast():
        log_probs = model(torch.rand(3, 1, 40, width))
    assert (log_probs.shape, log_probs.dtype) == ((3, -(-width // 4), 11), torch.float32)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(log_probs.shape[:2]))


@pytest.mark.parametrize(("guide", "scale"), [(0.0, 0.2), (0.1, 1.0)])
def test_a_strip_begins_as_nine_blanks_in_ten(guide: float, scale: float) -> None:
    """And, without guidance, with a last layer that hardly tells one column from another."""
    torch.manual_seed(5)
    head = build("reader", 84, {"guide": guide}).head
    torch.manual_seed(5)
    other = build("reader", 84, {"guide": 1.0}).head
    torch.testing.assert_close(head.weight, scale * other.weight)
    torch.testing.assert_close(head.bias, other.bias)
    assert head.bias.detach().softmax(0)[0].item() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("known", [1, 2, 4, None])
def test_digits_always_add_up_to_the_sum(known: int | None) -> None:
    log_probs = (3 * torch.randn(40, 12, 11)).log_softmax(-1)
    predictions = build("reader", 48, {}).predict(log_probs, known)
    assert predictions.digits is not None
    assert predictions.positions is not None
    assert predictions.confidence is not None
    held = predictions.digits >= 0
    assert np.array_equal(np.where(held, predictions.digits, 0).sum(1), predictions.sum)
    assert known is None or (held.sum(1) == known).all()
    assert ((predictions.confidence > 0) & (predictions.confidence <= 1 + 1e-6)).all()
    assert np.array_equal(held, predictions.positions >= 0)
    for columns, there in zip(predictions.positions, held, strict=True):
        assert (np.diff(columns[there]) > 0).all()  # left to right


def test_value_and_confidence_are_of_the_distribution_given_the_count() -> None:
    log_probs = torch.full((1, 2, 11), -torch.inf)
    log_probs[0, 0, [1 + 3, 1 + 4]] = torch.tensor([0.75, 0.25]).log()
    log_probs[0, 1, [0, 1 + 5]] = torch.tensor([0.9, 0.1]).log()
    two = Reader(8, 2).predict(log_probs, 2)
    assert (two.sum[0], two.digits.tolist(), two.positions.tolist()) == (8, [[3, 5]], [[0, 4]])
    assert two.confidence[0] == pytest.approx(0.75)
    assert two.value[0] == pytest.approx(8.25)
    any_count = Reader(8, 2).predict(log_probs, None)
    assert (any_count.sum[0], any_count.digits.tolist()) == (3, [[3]])
    assert any_count.confidence[0] == pytest.approx(0.675)
    assert any_count.value[0] == pytest.approx(3.25 + 0.5)


def test_guidance_fades_out_and_validation_is_the_likelihood_alone() -> None:
    model = Reader(84, digits_per_strip=2, guide=0.5)
    log_probs, sums = torch.randn(4, 21, 11).log_softmax(-1), torch.tensor([3.0, 9, 18, 0])
    losses = [model.loss(log_probs, sums, progress).item() for progress in (0, 0.25, 0.5, 1)]
    assert losses[0] > losses[1] > losses[2] == losses[3]
    assert losses[0] - losses[2] == pytest.approx(2 * (losses[1] - losses[2]), rel=1e-4)


def test_a_sum_that_no_columns_reach_is_named() -> None:
    with pytest.raises(DataError, match=r"a label is 100, but 11 columns .* 99 at most"):
        Reader(42, None).loss(torch.zeros(2, 11, 11).log_softmax(-1), torch.tensor([9, 100]), 1.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("digits_per_strip", 0), ("digits_per_strip", 99), ("guide", 2.0), ("size", "large")],
)
def test_a_bad_option_is_named(key: str, value: object) -> None:
    with pytest.raises(RecipeError, match=key):
        build("reader", 84, {key: value})


@pytest.mark.parametrize("size", ["base", "small"])
@pytest.mark.parametrize("width", [28, 41, 168])
def test_each_size_sees_a_column_every_four_pixels(size: str, width: int) -> None:
    model = build("reader", width, {"size": size}).eval()
    with torch.inference_mode():
        log_probs = model(torch.zeros(2, 1, 40, width))
    assert log_probs.shape == (2, -(-width // 4), 11)
    # nothing is learnt, nothing stands there: nine columns in ten are taken for blank
    assert float(log_probs[..., 0].exp().mean()) == pytest.approx(0.9, abs=0.03)


def test_a_checkpoint_that_says_no_size_is_of_the_first(strips: StripSet) -> None:
    fit(Recipe("reader", epochs=1, digits_per_strip=2, limit=8, size="base"), strips, PATH)
    checkpoint = load_checkpoint(PATH)
    del checkpoint.recipe["size"]
    save_checkpoint(checkpoint, PATH)
    assert load_model(PATH, "cpu").parameters == 517_883
    fit(Recipe("reader", epochs=1, digits_per_strip=2, limit=8, size="small"), strips, PATH)
    assert load_model(PATH, "cpu").parameters == 285_963


@pytest.mark.slow
def test_it_learns_single_digits_from_sums_and_never_opens_the_truth() -> None:
    """Three classes, two to a strip: seconds, and far beyond what guessing reaches."""
    digits = load_digits("builtin")
    kept = np.isin(digits.labels, [0, 1, 7])
    source = Digits(digits.images[kept], digits.labels[kept])
    made = compose(source, strips=400, per_strip=(2, 2), seed=1)
    opened = []

    def truth() -> np.ndarray:
        opened.append(True)
        return made.truth.digits

    strips = StripSet(["made"], [made.images], made.sums, truth)
    quick = {"optimizer": "adamw", "lr": 0.004}  # a step of Muon takes long on one core
    fit(recipe(epochs=5, restarts=0, batch_size=16, **quick), strips, PATH)
    assert not opened
    other = compose(source, strips=200, per_strip=(2, 2), seed=9).as_strips("other")
    metrics = evaluate(load_model(PATH, "cpu"), other).splits["data"]
    assert metrics.string_accuracy is not None
    assert metrics.string_accuracy > 80  # the order of the digits is in no label
    assert metrics.digit_accuracy >= metrics.string_accuracy


@pytest.mark.slow
def test_training_with_unknown_counts_runs(strips: StripSet) -> None:
    result = fit(recipe(digits_per_strip=None, epochs=1), strips, PATH)
    assert result.history[0].val_loss > 0
    predictions = load_model(PATH, "cpu").predict(strips.images()[:4])
    assert predictions.digits is not None


@pytest.mark.slow
def test_a_run_that_learns_nothing_starts_again_and_says_so(strips: StripSet) -> None:
    events: list[object] = []
    stuck = recipe(epochs=8, lr=1e-12, restarts=1)
    result = fit(stuck, strips, PATH, events.append)
    (restart,) = (e for e in events if isinstance(e, Restart))
    assert (restart.attempt, restart.attempts, restart.epochs) == (2, 2, 2)
    assert restart.exact_accuracy <= restart.threshold
    numbers = [(record.attempt, record.epoch) for record in result.history]
    assert numbers == [(1, 1), (1, 2), *((2, epoch) for epoch in range(1, 9))]
    assert result.history[2].best  # the first attempt's best does not count any more
    kept = load_checkpoint(last_path(PATH)).history
    assert [r["attempt"] for r in kept] == [r.attempt for r in result.history]


@pytest.mark.slow
def test_a_run_stopped_at_its_restart_goes_on_as_if_undisturbed(strips: StripSet) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(event: object) -> None:
        if isinstance(event, EpochRecord) and (event.attempt, event.epoch) in stops:
            raise Stop

    stuck, stops = recipe(epochs=8, lr=1e-12, restarts=1), [(1, 2), (2, 1)]
    whole = fit(stuck, strips, Path("whole.pt"))
    with pytest.raises(Stop):
        fit(stuck, strips, PATH, stop)
    for reports in (stop, lambda event: None):
        stops = stops[1:]
        stopped = StoppedRun.open(last_path(PATH), {}, None)
        try:
            resumed = resume(stopped, strips, on_event=reports)
        except Stop:
            continue
    timeless = [
        [{**asdict(r), "seconds": 0, "strips_per_second": 0} for r in result.history]
        for result in (whole, resumed)
    ]
    assert timeless[0] == timeless[1]
    left, right = load_checkpoint(Path("whole.last.pt")), load_checkpoint(last_path(PATH))
    assert all(torch.equal(left.weights[k], right.weights[k]) for k in left.weights)


@pytest.mark.slow
def test_a_run_may_start_from_a_checkpoint(strips: StripSet) -> None:
    fit(recipe(epochs=1), strips, PATH)
    start = recipe(epochs=1, lr=1e-12, guide=0.0, weights=str(PATH))
    fit(start, strips, Path("tuned.pt"))
    before, after = load_checkpoint(PATH).weights, load_checkpoint(Path("tuned.pt")).weights
    torch.testing.assert_close(after["head.weight"], before["head.weight"])
    cnn = Recipe.from_dict({"arch": "cnn", "epochs": 1, "device": "cpu"})
    fit(cnn, strips, Path("cnn.pt"))
    with pytest.raises(WeightsError, match=r"cnn\.pt are of 'cnn' and do not fit a reader"):
        build("reader", 84, {"weights": "cnn.pt"})
    with pytest.raises(WeightsError, match=r"gone\.pt does not exist"):
        build("reader", 84, {"weights": "gone.pt"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"text", "holds no digits"),
        ({"positions": np.zeros(3)}, "holds no digits"),
        ({"digits": np.zeros((3, 2), np.int8)}, r"expected int8 \(30, K\)"),
        ({"digits": np.zeros((30, 2))}, "digits float64"),
        ({"digits": np.zeros((30, 2), np.int8)}, "do not add up to the labels"),
    ],
)
def test_a_truth_that_is_none_is_refused_by_evaluation_alone(
    folder: Path, content: object, words: str
) -> None:
    path = folder / "truth0.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    strips = open_data([folder])
    fit(recipe(epochs=1), strips, PATH)  # never looks
    with pytest.raises(DataError, match=words):
        evaluate(load_model(PATH, "cpu"), strips)


def test_the_truth_of_files_is_that_of_their_strips(folder: Path, made) -> None:
    assert np.array_equal(open_data([folder]).truth(), made.truth.digits)
    (folder / "truth1.npz").unlink()
    assert open_data([folder]).truth() is None


# the weights that ship


def shipped() -> Path:
    return locate_checkpoint("reader")


def test_the_shipped_weights_are_small_and_have_a_card() -> None:
    assert shipped().stat().st_size <= 3_000_000
    kept = load_checkpoint(shipped())
    assert all(w.dtype in (torch.float32, torch.int64) for w in kept.weights.values())
    card = (shipped().parent / "README.md").read_text()
    for words in ("MNIST", "CC BY-SA 3.0", "seed", "make weights", "Limits"):
        assert words in card


@pytest.mark.slow
def test_a_file_called_reader_wins(strips: StripSet) -> None:
    fit(recipe(epochs=1, seed=9), strips, PATH)
    Path("reader").write_bytes(PATH.read_bytes())
    assert load_model("reader", "cpu").recipe.seed == 9


@pytest.mark.slow
def test_the_shipped_weights_read_built_in_strips_of_several_lengths() -> None:
    model = load_model("reader", "cpu")
    digits = load_digits("builtin")
    held_out = Digits(digits.images[-450:], digits.labels[-450:])
    for count, least in ((1, 0.9), (4, 0.85), (6, 0.7)):
        made = compose(held_out, 100, (count, count), seed=7)
        predictions = model.predict(made.images, count)
        assert (predictions.sum == made.sums).mean() > least


@pytest.mark.slow
@needs_mnist
def test_the_shipped_weights_read_unseen_handwriting() -> None:
    made = compose(load_digits("mnist-test", MNIST), 500, seed=11)
    model = load_model("reader", "cpu")
    predictions = model.predict(made.images, 4)
    assert (predictions.sum == made.sums).mean() > 0.95
    assert (predictions.digits == made.truth.digits).all(1).mean() > 0.94
    right = predictions.sum == made.sums
    assert predictions.confidence[right].mean() > predictions.confidence[~right].mean()
    left = made.truth.positions[..., 0]
    off = (predictions.positions - left)[(predictions.digits == made.truth.digits).all(1)]
    assert (np.abs(off - 13.5) < 14).mean() > 0.98  # each stands within its digit's box


@pytest.mark.slow
def test_predict_needs_no_model() -> None:
    made = compose(load_digits("builtin"), 3, seed=4)
    np.save("strips.npy", made.images)
    result = ok("predict", "strips.npy", "--format", "jsonl")
    assert "bundled weights" in result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [sum(row["digits"]) for row in rows] == [row["sum"] for row in rows]
    assert all(len(row["digits"]) == len(row["positions"]) == 4 for row in rows)
    any_count = ok("predict", "strips.npy", "--digits-per-strip", "any", "--format", "jsonl")
    rows = [json.loads(line) for line in any_count.stdout.splitlines()]
    assert [sum(row["digits"]) for row in rows] == [row["sum"] for row in rows]


@pytest.mark.slow
def test_eval_shows_digits_where_the_truth_is_known() -> None:
    ok("synth", "strips", "--strips", 20, "--files", 1)
    result = ok("eval", "reader", "--data", "strips")
    assert "string %" in result.stdout
    scores = json.loads(ok("eval", "reader", "--data", "strips", "--json").stdout)
    assert scores["splits"]["data"]["string_accuracy"] > 50
    Path("strips/truth0.npz").unlink()
    scores = json.loads(ok("eval", "reader", "--data", "strips", "--json").stdout)
    assert "string_accuracy" not in scores["splits"]["data"]


@pytest.mark.slow
def test_predict_takes_every_form_and_the_recipes_count() -> None:
    model = load_model("reader", "cpu")
    images = compose(load_digits("builtin"), 20, seed=4).images
    expected = model.predict(images, 4)
    for form in (images, images[..., None] / 255, images.reshape(20, -1)):
        got = model.predict(form)
        assert np.array_equal(got.sum, expected.sum)
        assert got.digits is not None
        assert got.digits.shape == (20, 4)
    with pytest.raises(DataError, match=r"images holds .*strips are 40 rows high"):
        model.predict(np.zeros((2, 41, 168)))
