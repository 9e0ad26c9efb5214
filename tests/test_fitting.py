"""Strips of other heights brought to 40 rows: in files, in memory, by every command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ok, run
from hypothesis import given, settings
from hypothesis import strategies as st

import digitsum
from digitsum.checkpoint_paths import last_path
from digitsum.datasets import fitting
from digitsum.datasets.arrays import ImageFile
from digitsum.datasets.drawings import strip_of
from digitsum.datasets.fitting import FittedFile, fit_strips, needs_fit, open_strips
from digitsum.datasets.image_files import open_image
from digitsum.datasets.synthesis import Composition, compose
from digitsum.errors import DataError
from digitsum.inference import LoadedModel, load_model
from digitsum.sklearn import DigitSumRegressor
from digitsum.training.events import EpochRecord


@pytest.fixture(scope="module")
def low() -> np.ndarray:
    """Nine strips of 28 rows, 126 pixels wide: the upper ones of 40, in which digits are cut."""
    return compose("builtin", 9, (3, 3), seed=2).images[:, :28]


@pytest.fixture(scope="module")
def reader() -> LoadedModel:
    return load_model("reader", "cpu", "fp32")


def each(images: np.ndarray) -> list[np.ndarray]:
    """What pictures of these images become, each of its own width."""
    return [strip_of(image, "x") for image in images]


def saved(images: np.ndarray, name: str = "data0.npy") -> FittedFile:
    np.save(name, images)
    opened = open_strips(Path(name), fit=True)
    assert isinstance(opened, FittedFile)
    return opened


def test_a_file_gives_what_pictures_would(low: np.ndarray) -> None:
    file = saved(low)
    expected = each(low)
    assert file.shape == (9, 40, max(strip.shape[1] for strip in expected))
    for strip, alone in zip(file[0:9], expected, strict=True):
        np.testing.assert_array_equal(strip[:, : alone.shape[1]], alone)
        assert not strip[:, alone.shape[1] :].any()
    np.testing.assert_array_equal(file[3:5], file[0:9][3:5])
    assert file[9:9].shape == (0, *file.shape[1:])


@settings(max_examples=20, deadline=None, database=None)
@given(st.integers(1, 7), st.integers(0, 6), st.integers(0, 7), st.integers(1, 300_000))
def test_pieces_make_the_whole(count: int, start: int, length: int, piece: int) -> None:
    images = compose("builtin", 7, (1, 2), seed=count).images[:count, :30]
    np.save("pieces.npy", images)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fitting, "PIECE", piece)
        file = open_strips(Path("pieces.npy"), fit=True)
        whole = fit_strips(images, "x")
        np.testing.assert_array_equal(file[start : start + length], whole[start : start + length])


def test_every_shape_and_type_is_the_same(low: np.ndarray) -> None:
    expected = fit_strips(low, "x")
    for images in (
        low[..., None], low[:, None], low.astype(np.int64), low.astype(np.float32),
        np.asfortranarray(low), low / 255,
    ):  # fmt: skip
        np.testing.assert_array_equal(saved(images)[0:9], expected)
        np.testing.assert_array_equal(fit_strips(images, "x"), expected)
    np.testing.assert_array_equal(saved(low[0])[0:1][0], expected[0])


@pytest.mark.parametrize(
    ("shape", "fitted"),
    [
        ((5, 40, 168), False), ((5, 40, 28), False), ((5, 40, 27), True), ((5, 28, 28), True),
        ((5, 20, 20, 1), True), ((5, 1, 64, 200), True), ((5, 40, 60, 1), False),
        ((5, 6720), False), ((40, 100), False), ((28, 28), True), ((5,), False), ((), False),
    ],
)  # fmt: skip
def test_what_has_40_rows_stays_as_it_is(shape: tuple[int, ...], fitted: bool) -> None:
    assert needs_fit(np.empty(shape, np.uint8)) == fitted


def test_strips_of_40_rows_are_the_same_with_and_without(made: Composition) -> None:
    np.save("data0.npy", made.images)
    assert isinstance(open_strips(Path("data0.npy"), fit=True), ImageFile)
    np.testing.assert_array_equal(fit_strips(made.images, "x"), made.images)


@pytest.mark.parametrize("side", [20, 28, 64])
def test_single_digits_are_read(side: int, reader: LoadedModel) -> None:
    from PIL import Image

    made = compose("builtin", 40, (1, 1), seed=1)
    boxes = []
    for strip, (left, top) in zip(made.images, made.truth.positions[:, 0], strict=True):
        box = strip[top : top + 28, left : left + 28]
        box = box[4:24, 4:24] if side == 20 else box
        boxes.append(np.asarray(Image.fromarray(box).resize((side, side))))
    found = reader.predict(np.stack(boxes), 1, fit=True)
    assert np.mean(found.sum == made.sums) > 0.85


def test_the_refusal_of_another_height_names_fit(low: np.ndarray, reader: LoadedModel) -> None:
    np.save("data0.npy", low)
    for refused in (
        lambda: open_strips(Path("data0.npy")),
        lambda: reader.predict(low),
        lambda: open_image(Path("data0.npy")),
    ):
        with pytest.raises(DataError, match=r"strips are 40 rows high.*--fit"):
            refused()


@pytest.mark.parametrize(
    "shape", [(5, 7, 28), (5, 28, 7), (5, 2001, 28), (5, 28, 10_001), (60_000, 784), (0, 28, 28)]
)
def test_what_cannot_be_scaled_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="--fit scales strips of 8 to 2,000 rows"):
        fit_strips(np.zeros(shape, np.uint8), "x")


def test_npz_is_fitted_too(low: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez("x.npz", low)
    (file,) = open_image(Path("x.npz"), fit=True)
    np.testing.assert_array_equal(file[0:9], fit_strips(low, "x"))
    monkeypatch.setattr("digitsum.datasets.image_files.MAX_UNPACKED", 9 * 2 * 40 * 168)
    with pytest.raises(DataError, match=r"x.npz unpacks to"):
        open_image(Path("x.npz"), fit=True)


def test_commands_take_fit(low: np.ndarray, made: Composition) -> None:
    Path("low").mkdir()
    np.save("low/data0.npy", low)
    np.save("low/lab0.npy", compose("builtin", 9, (3, 3), seed=2).sums)
    refused = run("eval", "reader", "--data", "low")
    assert (refused.exit_code, "--fit" in refused.stderr) == (1, True)
    words = ["eval", "reader", "--data", "low", "--fit", "--digits-per-strip", 3, "--json"]
    scored = json.loads(ok(*words).stdout)["splits"]["data"]
    rows = ok("predict", "low/data0.npy", "--fit", "--digits-per-strip", 3).stdout.splitlines()[1:]
    right = np.array([int(row.split(",")[3]) for row in rows]) == np.load("low/lab0.npy")
    assert scored["exact_accuracy"] == pytest.approx(100 * right.mean())
    data = digitsum.open_data("low", fit=True)
    assert data.images().shape == data.files[0].shape
    train = ["train", "--arch", "cnn", "--data", "low", "--epochs", 1, "--device", "cpu"]
    assert run(*train).exit_code == 1
    ok(*train, "--fit")
    assert run("eval", "cnn.pt").exit_code == 1
    ok("eval", "cnn.pt", "--fit")


def test_the_estimator_takes_fit(low: np.ndarray) -> None:
    sums = compose("builtin", 9, (3, 3), seed=2).sums
    keys = {"epochs": 1, "device": "cpu", "precision": "fp32"}
    with pytest.raises(DataError, match=r"X holds .*strips are 40 rows high.*fit_rows"):
        DigitSumRegressor("cnn", **keys).fit(low, sums)
    fitted = DigitSumRegressor("cnn", fit_rows=True, **keys).fit(low, sums)
    plain = DigitSumRegressor("cnn", **keys).fit(fit_strips(low, "x"), sums)
    expected = plain.predictions(fit_strips(low, "x")).value
    np.testing.assert_array_equal(fitted.predictions(low).value, expected)


def test_a_run_on_fitted_strips_is_resumed(low: np.ndarray) -> None:
    Path("low").mkdir()
    np.save("low/data0.npy", low)
    np.save("low/lab0.npy", compose("builtin", 9, (3, 3), seed=2).sums)
    last = last_path(Path("cnn.pt"))

    def stop(event: object) -> None:
        if isinstance(event, EpochRecord) and event.epoch < 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        digitsum.train("low", arch="cnn", epochs=3, device="cpu", fit=True, on_event=stop)
    for wrong in ({}, {"data": "low"}):
        with pytest.raises(DataError, match="strips are 40 rows high"):
            digitsum.resume(last, **wrong)
    with pytest.raises(InterruptedError):
        digitsum.resume(last, fit=True, on_event=stop)
    assert run("train", "--resume", last).exit_code == 1
    ok("train", "--resume", last, "--fit")
    assert "nothing is left" in ok("train", "--resume", last).stderr


def test_what_a_packed_file_becomes_is_counted() -> None:
    images = np.zeros((1_000, 8, 4_000), np.uint8)
    images[:, :, 4:-4:20] = 255
    np.savez_compressed("x.npz", images)
    with pytest.raises(DataError, match=r"becomes strips of .* bytes, more than"):
        open_image(Path("x.npz"), fit=True)


def test_one_strip_is_not_as_large_as_it_likes() -> None:
    np.save("x.npy", np.zeros((1, 2_000, 2_001), np.uint8))
    with pytest.raises(DataError, match="4,000,000 pixels at most"):
        open_image(Path("x.npy"), fit=True)
