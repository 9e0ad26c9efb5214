"""How many digits strips hold: one number for all, any, or one for each strip."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build, fit, ok, run
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import digitsum
from digitsum.checkpoint import load_checkpoint
from digitsum.datasets.counts import as_counts
from digitsum.datasets.picture_folders import write_pictures
from digitsum.datasets.strips import StripSet
from digitsum.datasets.synthesis import Composition, compose, write
from digitsum.errors import DataError, RecipeError, UsageError
from digitsum.inference import LoadedModel, load_model
from digitsum.models.reader import Reader
from digitsum.recipe import Recipe
from digitsum.sklearn import DigitSumRegressor
from digitsum.training.events import EpochRecord
from digitsum.training.trainer import Trainer

PATH = Path("model.pt")
FAST = {"arch": "reader", "epochs": 1, "device": "cpu", "precision": "fp32", "weights": "reader"}


@pytest.fixture(scope="module")
def varied() -> Composition:
    """30 strips of one to three digits."""
    return compose("builtin", 30, (1, 3), seed=5)


@pytest.fixture
def counted(varied: Composition) -> StripSet:
    return StripSet.from_arrays(varied.images, varied.sums, counts=varied.counts)


@pytest.fixture(scope="module")
def reader() -> LoadedModel:
    return load_model("reader", "cpu", "fp32")


def one_by_one(model: LoadedModel, made: Composition) -> list[tuple[int, list[int] | None]]:
    """What is predicted for each strip alone, told its number of digits."""
    found = []
    for strip, count in zip(made.images, made.counts.tolist(), strict=True):
        (prediction,) = model.predict(strip[None], count)
        found.append((prediction.sum, prediction.digits))
    return found


def read(predictions: digitsum.Predictions) -> list[tuple[int, list[int] | None]]:
    return [(prediction.sum, prediction.digits) for prediction in predictions]


def test_each_strip_is_read_as_if_alone_with_its_count(
    reader: LoadedModel, varied: Composition
) -> None:
    found = reader.predict(varied.images, counts=varied.counts)
    assert read(found) == one_by_one(reader, varied)
    assert [len(prediction.digits or ()) for prediction in found] == varied.counts.tolist()
    assert found.strips is not None


def test_files_are_read_with_the_counts_beside_them(
    reader: LoadedModel, varied: Composition
) -> None:
    write(varied, Path("set"), files=2, counts=True)
    names = ["set/data0.npy", "set/data1.npy"]
    expected = one_by_one(reader, varied)
    found = digitsum.predict_files(reader, names)
    assert [row for chunk in found for row in read(chunk.predictions)] == expected
    assert found.notes[0] == "set/count0.npy says how many digits each strip holds: 1 to 3 digits"
    shards = [digitsum.predict_files(reader, names, shard=(n, 2)) for n in (1, 2)]
    assert [row for s in shards for chunk in s for row in read(chunk.predictions)] == expected
    four = digitsum.predict_files(reader, names, 4)
    assert four.notes == []
    assert all(len(row.digits or ()) == 4 for chunk in four for row in chunk.predictions)
    Path("set/count0.npy").unlink()
    Path("set/count1.npy").unlink()
    told = digitsum.predict_files(reader, names, counts=varied.counts)
    assert [row for chunk in told for row in read(chunk.predictions)] == expected
    with pytest.raises(UsageError, match="give one of them"):
        digitsum.predict_files(reader, names, 4, counts=varied.counts)
    with pytest.raises(DataError, match="29 counts for 30 strips"):
        digitsum.predict_files(reader, names, counts=varied.counts[1:])


def test_pictures_are_read_with_the_counts_of_their_folder(
    reader: LoadedModel, varied: Composition
) -> None:
    write_pictures(varied, Path("scans"))
    found = digitsum.predict_files(reader, "scans")
    lengths = [len(row.digits or ()) for chunk in found for row in chunk.predictions]
    assert lengths == varied.counts.tolist()
    said = "scans/sums.csv says how many digits each picture holds: 1 to 3 digits"
    assert found.notes == [said]
    sums = [row.sum for chunk in found for row in chunk.predictions]
    scored = digitsum.evaluate(reader, digitsum.open_data("scans")).splits["data"]
    assert 100 * np.mean(sums == varied.sums) == pytest.approx(scored.exact_accuracy)
    four = digitsum.predict_files(reader, "scans", 4)
    assert {len(row.digits or ()) for chunk in four for row in chunk.predictions} == {4}
    table = Path("scans/sums.csv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:11]))  # the others are as if there were no table
    some = digitsum.predict_files(reader, "scans")
    lengths = [len(row.digits or ()) for chunk in some for row in chunk.predictions]
    assert lengths == [*varied.counts[:10], *[4] * 20]


def test_a_table_without_counts_is_not_read_by_predict(varied: Composition) -> None:
    write_pictures(varied, Path("scans"))
    table = Path("scans/sums.csv")
    table.unlink()
    rows = ok("predict", "scans").stdout
    for text in ("name;total\n", "file,sum\n0.png,x\n", rows):
        table.write_text(text)
        result = ok("predict", "scans")
        assert result.stdout == rows
        assert "left out 1 file (sums.csv)" in result.stderr
    table.write_text("file,sum,count\n00000.png,1,x\n")
    result = run("predict", "scans")
    assert (result.exit_code, result.stdout) == (1, rows)
    assert "left out: scans/sums.csv line 2: count is 'x'" in result.stderr
    assert ok("predict", "scans", "--digits-per-strip", 4).stdout == rows
    with pytest.raises(DataError, match=r"scans/sums\.csv line 2: count is 'x'"):
        digitsum.predict_files("reader", "scans")


def test_evaluation_uses_counts_unless_told_otherwise(
    reader: LoadedModel, counted: StripSet, varied: Composition
) -> None:
    known = digitsum.evaluate(reader, counted).splits["data"]
    right = [
        n == total for (n, _), total in zip(one_by_one(reader, varied), varied.sums, strict=True)
    ]
    assert known.exact_accuracy == pytest.approx(100 * np.mean(right))
    four = digitsum.evaluate(reader, counted, digits_per_strip=4).splits["data"]
    plain = digitsum.evaluate(reader, replace(counted, counts=None)).splits["data"]
    assert four == plain  # as many as the bundled weights were trained on
    assert four.exact_accuracy < known.exact_accuracy
    any_count = digitsum.evaluate(reader, counted, digits_per_strip="any").splits["data"]
    assert any_count != known


def test_a_set_keeps_its_fingerprint_where_there_are_no_counts(varied: Composition) -> None:
    plain = StripSet.from_arrays(varied.images, varied.sums)
    counted = plain.with_counts(varied.counts)
    other = plain.with_counts(varied.counts[::-1].clip(varied.counts))
    assert plain.with_counts(None) is plain
    assert len({plain.fingerprint, counted.fingerprint, other.fingerprint}) == 3
    assert StripSet(["x"], [varied.images], varied.sums).fingerprint == plain.fingerprint
    assert (pickle.loads(pickle.dumps(counted)).counts == varied.counts).all()


@settings(max_examples=50, deadline=None, database=None)
@given(
    st.lists(st.integers(1, 10), min_size=1, max_size=9),
    st.sampled_from([np.int8, np.uint16, np.int64, np.float32, np.float64]), st.booleans(),
)  # fmt: skip
def test_counts_of_any_type_are_the_same(counts: list[int], kind: type, column: bool) -> None:
    stored = np.array(counts, kind)
    found = as_counts(stored[:, None] if column else stored, "x", None, 40)
    assert (found.tolist(), found.dtype) == (counts, np.int64)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([1, 2], "x: 2 counts for 3 strips: every strip needs one"),
        ([1, 2, 0], "x: count 2 is 0: a strip 84 pixels wide holds 1 to 21 digits"),
        ([1, 2, 22], "x: count 2 is 22"),
        ([1, 1.5, 2], "x: count 1 is 1.5"),
        ([1, np.nan, 2], "x: count 1 is nan"),
        ([1, 2, 1], "x: count 2 is 1 and the sum of its strip 10: 1 digit can add up to 9"),
        ([[1, 2, 3]], "counts are numbers of shape"),
        (["1", "2", "3"], "counts are numbers of shape"),
        (3, "counts are numbers of shape"),
    ],
)
def test_counts_that_cannot_be_are_refused(counts: object, words: str) -> None:
    with pytest.raises(DataError) as caught:
        as_counts(np.array(counts), "x", np.array([0, 18, 10]), 84)
    assert words in str(caught.value)


def test_files_need_counts_for_all_or_none(varied: Composition) -> None:
    write(varied, Path("set"), files=2, counts=True)
    np.testing.assert_array_equal(digitsum.open_data("set").counts, varied.counts)
    Path("set/count1.npy").unlink()
    with pytest.raises(DataError, match=r"strips of set/data0.npy hold, and not of set/data1.npy"):
        digitsum.open_data("set")
    np.save("set/count1.npy", varied.counts)
    with pytest.raises(DataError, match=r"shape \(30,\) for the 15 strips of set/data1.npy"):
        digitsum.open_data("set")


def test_the_loss_takes_the_count_of_each_strip() -> None:
    model = Reader(84, digits_per_strip=2, guide=0.5)
    outputs = torch.randn(4, 21, 11).log_softmax(-1)
    sums, counts = torch.tensor([3.0, 9, 0, 12]), torch.tensor([1, 2, 3, 2])
    alone = []
    for row, count in enumerate(counts.tolist()):
        own = Reader(84, digits_per_strip=count, guide=0.0)
        alone.append(own.loss(outputs[row : row + 1], sums[row : row + 1], 1.0))
    found = model.loss(outputs, sums, 1.0, counts)
    torch.testing.assert_close(found, torch.stack(alone).mean())
    assert model.loss(outputs, sums, 0.0, counts) > found  # the guide is added
    twos = torch.full((4,), 2)
    for progress in (0.0, 1.0):
        same = model.loss(outputs, sums, progress, twos)
        torch.testing.assert_close(same, model.loss(outputs, sums, progress))
    with pytest.raises(DataError, match="said to hold 22 digits, and has 21 columns"):
        model.loss(outputs, sums, 1.0, torch.tensor([1, 2, 3, 22]))


def test_a_loss_of_three_arguments_is_given_no_counts() -> None:
    model = build("cnn", 84)
    values, sums = torch.zeros(2), torch.ones(2)
    counts = torch.tensor([1, 2])
    assert model.loss_of(values, sums, 0.0, counts) == model.loss(values, sums, 0.0)


def given_counts(
    monkeypatch: pytest.MonkeyPatch, progress_above: float = -1
) -> list[tuple[Tensor, Tensor | None]]:
    """Sums and counts that the reader's loss is given from now on."""
    seen: list[tuple[Tensor, Tensor | None]] = []
    loss = Reader.loss

    def spy(own, outputs, sums, progress, counts=None):
        if progress > progress_above:
            seen.append((sums, counts))
        return loss(own, outputs, sums, progress, counts)

    monkeypatch.setattr(Reader, "loss", spy)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("crops", [False, True])
def test_counts_go_with_their_strips_through_a_run(
    varied: Composition, monkeypatch: pytest.MonkeyPatch, crops: bool
) -> None:
    monkeypatch.setattr(Reader, "crops", crops)
    told = varied.sums * 10 + varied.counts  # a sum that tells the count
    seen = given_counts(monkeypatch, progress_above=0.99)  # validation has 1
    wide = np.pad(varied.images, ((0, 0), (0, 0), (0, 300)))
    data = StripSet(["x"], [wide], told % 9, counts=varied.counts)
    pairs = dict(zip(map(bytes, wide), varied.counts.tolist(), strict=True))
    assert len(pairs) == 30
    result = fit(Recipe.from_dict({**FAST, "limit": 16, "batch_size": 8}), data, PATH)
    checkpoint = load_checkpoint(PATH)
    rows = checkpoint.split["val"].numpy()
    assert checkpoint.recipe["digits_per_strip"] is None
    assert len(checkpoint.split["train"]) == 16
    assert all(counts is not None for _, counts in seen)
    if not crops:  # then the strips are validated in the order of the split
        whole = [c for s, c in seen if s.tolist() == (told % 9)[rows].tolist()]
        assert whole
        assert all(c.tolist() == varied.counts[rows].tolist() for c in whole)
    validated = [pair for s, c in seen for pair in zip(s.tolist(), c.tolist(), strict=True)]
    everywhere = list(zip((told % 9).tolist(), varied.counts.tolist(), strict=True))
    expected = [everywhere[row] for row in rows]
    assert sorted(validated[: len(rows)]) == sorted(expected)  # of the first epoch, in any order
    scored = digitsum.evaluate(digitsum.load(PATH, "cpu"), data)
    assert scored.splits["val"].exact_accuracy == result.best.val.exact_accuracy


@pytest.mark.slow
def test_a_resumed_run_with_counts_ends_as_one_that_went_through(counted: StripSet) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(event: object) -> None:
        if isinstance(event, EpochRecord):
            raise Stop

    recipe = Recipe.from_dict({**FAST, "epochs": 2, "weights": "none", "batch_size": 8})
    fit(recipe, counted, "whole.pt")
    with pytest.raises(Stop):
        fit(recipe, counted, PATH, stop)
    with pytest.raises(UsageError, match="these are not the strips that the run began with"):
        digitsum.resume("model.last.pt", replace(counted, counts=None))
    digitsum.resume("model.last.pt", counted)
    whole, parts = (load_checkpoint(Path(p)).weights for p in ("whole.last.pt", "model.last.pt"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_step_with_counts_is_not_replayed(counted: StripSet) -> None:
    recipe = Recipe.from_dict({**FAST, "weights": "none", "batch_size": 4})
    trainer = Trainer(recipe, counted, PATH, print)
    replayed = []
    trainer.state.backward = lambda *given: replayed.append(given) or torch.zeros(())
    rows = torch.arange(4)
    pixels, sums = trainer.data.pixels[rows], trainer.data.sums[rows]
    assert trainer.data.counts is not None
    loss = trainer.state.step(pixels, sums, 0.0, 1.0, trainer.data.counts[rows])
    assert (replayed, loss > 0) == ([], True)
    trainer.state.step(pixels, sums, 0.0)
    assert [len(given) for given in replayed] == [3]


def test_counts_that_all_say_what_the_recipe_says_change_nothing(
    made: Composition, strips: StripSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = given_counts(monkeypatch)
    recipe = Recipe.from_dict({**FAST, "limit": 8, "digits_per_strip": 4})
    fit(recipe, strips.with_counts(made.counts), PATH)  # of two digits each
    assert load_checkpoint(PATH).recipe["digits_per_strip"] == 2
    assert all(counts is None for _, counts in seen)


def test_train_and_the_estimator_take_counts(
    varied: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = given_counts(monkeypatch)
    plain = StripSet.from_arrays(varied.images, varied.sums)
    digitsum.train(plain, counts=varied.counts, out=PATH, limit=8, **FAST)
    assert all(counts is not None for _, counts in seen)
    fast = {key: FAST[key] for key in ("epochs", "device", "precision")}
    options = {"weights": "reader", "limit": 8, "lr": 1e-6}
    model = DigitSumRegressor("reader", options=options, **fast)  # type: ignore[arg-type]
    model.fit(varied.images, varied.sums, counts=varied.counts)
    assert model.checkpoint_.recipe["digits_per_strip"] is None
    found = model.predictions(varied.images, varied.counts)
    assert [len(p.digits or ()) for p in found] == varied.counts.tolist()
    assert (model.predict(varied.images, varied.counts) == found.sum).all()
    with pytest.raises(DataError, match="counts: 29 counts for 30 strips"):
        model.fit(varied.images, varied.sums, counts=varied.counts[1:])


def test_any_and_null_are_the_same_in_recipes() -> None:
    for value in ("any", None):
        recipe = Recipe("reader", digits_per_strip=value)
        assert recipe.digits_per_strip is None
        assert recipe.to_dict()["digits_per_strip"] is None
    with pytest.raises(RecipeError, match="or any"):
        build("reader", 84, {"digits_per_strip": 99})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The words of a short training of the bundled weights on strips/."""
    return ["train", "--arch", "reader", "--weights", "reader", "--epochs", 1, "--limit", 4,
            "--device", "cpu", "--precision", "fp32", "--out", PATH, "--overwrite"]  # fmt: skip


def test_train_says_what_it_assumes(quick: list[object], folder: Path) -> None:
    assumed = "assuming 4 digits per strip (--digits-per-strip N|any)"
    assert assumed in ok(*quick, "--data", folder).stderr.splitlines()
    for word, kept in (("2", 2), ("any", None)):
        said = ok(*quick, "--data", folder, "--digits-per-strip", word).stderr
        assert "assuming" not in said
        assert load_checkpoint(PATH).recipe["digits_per_strip"] == kept
    by_set = ok(*quick, "--data", folder, "--set", "digits_per_strip=any").stderr
    assert "assuming" not in by_set
    assert load_checkpoint(PATH).recipe["digits_per_strip"] is None
    cnn = ["train", "--arch", "cnn", "--epochs", 1, "--limit", 4, "--device", "cpu"]
    assert "assuming" not in ok(*cnn, "--data", folder).stderr


def test_train_says_what_the_counts_say(quick: list[object], varied: Composition) -> None:
    write(varied, Path("set"), files=1, counts=True)
    said = ok(*quick, "--data", "set").stderr
    assert "1 to 3 digits per strip, as the counts of the strips say" in said
    assert "assuming" not in said
    ok(*quick, "--data", "set", "--digits-per-strip", "any")
    refused = run(*quick, "--data", "set", "--digits-per-strip", 3)
    assert refused.exit_code == 2
    assert "the counts of these strips say 1 to 3 digits; leave it out" in refused.stderr


@pytest.mark.slow
def test_eval_compare_and_report_take_a_digit_count(varied: Composition) -> None:
    write(varied, Path("set"), files=1, counts=True)

    def scores(*more: object) -> dict[str, float]:
        words = ["eval", "reader", "--data", "set", "--json", "--device", "cpu", *more]
        scored: dict[str, float] = json.loads(ok(*words).stdout)["splits"]["data"]
        return scored

    def compared(*more: object) -> dict[str, float]:
        words = ["compare", "reader", "reader", "--data", "set", "--json", "--device", "cpu", *more]
        row: dict[str, float] = json.loads(ok(*words).stdout)["models"][0]
        return row

    by_counts, by_any, by_four = (
        scores(),
        scores("--digits-per-strip", "any"),
        scores("--digits-per-strip", 4),
    )
    assert by_four["exact_accuracy"] < by_counts["exact_accuracy"]
    assert by_any["mse"] != by_counts["mse"]
    assert compared()["mse"] == by_counts["mse"]
    assert compared("--digits-per-strip", 4)["mse"] == by_four["mse"]
    pytest.importorskip("jinja2", reason="the extra report is not installed")
    ok("report", "reader", "--data", "set", "--digits-per-strip", "any", "--out", "r.html")
