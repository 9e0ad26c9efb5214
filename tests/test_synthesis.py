from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import MNIST, needs_mnist
from hypothesis import given, settings
from hypothesis import strategies as st

from digitsum.datasets import digits, open_data
from digitsum.datasets.digits import Digits, load_digits
from digitsum.datasets.synthesis import Composition, check_folder, compose, names_of_files, write
from digitsum.errors import DataError, OutputExistsError, UsageError

NOISE = Digits(  # one image a digit, so that the truth tells which image stands where
    np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8),
    np.arange(10, dtype=np.uint8),
)


@pytest.fixture(scope="module")
def replica() -> Composition:
    return compose(load_digits("mnist", MNIST), 30_000)


@pytest.mark.slow
@needs_mnist
def test_replica_has_the_moments_of_the_original_strips(replica: Composition) -> None:
    counts = sum(np.bincount(strip.ravel(), minlength=256) for strip in replica.images)
    grey = np.arange(256)
    mean = np.average(grey, weights=counts)
    assert mean == pytest.approx(15.5, abs=0.2)
    assert np.average((grey - mean) ** 2, weights=counts) ** 0.5 == pytest.approx(56.2, abs=0.4)
    np.testing.assert_array_equal(replica.sums, replica.truth.digits.sum(axis=1))


@needs_mnist
def test_places_are_uniform_over_all_that_is_allowed(replica: Composition) -> None:
    left, top = np.moveaxis(replica.truth.positions.astype(int), 2, 0)
    first, further = left[:, 0], np.diff(left, axis=1)
    assert np.mean(first == 0) == pytest.approx(15 / 29, abs=0.02)  # u <= 0 of -14..14
    assert set(first) == set(range(15))
    for found, lowest, count in ((further, 14, 29), (top, 0, 12)):
        shares = np.bincount(found.ravel() - lowest) / found.size
        np.testing.assert_allclose(shares, np.full(count, 1 / count), rtol=0.1)


@settings(max_examples=25, deadline=None, database=None)
@given(
    st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 3), st.none() | st.just(300),
    st.booleans(),
)  # fmt: skip
def test_strips_follow_from_their_truth(
    seed: int, fewest: int, more: int, width: int | None, clip: bool
) -> None:
    made = compose(NOISE, 5, (fewest, fewest + more), width, seed, clip)
    width = width or 42 * (fewest + more)
    assert made.images.shape == (5, 40, width)
    for n, (truth, positions) in enumerate(
        zip(made.truth.digits, made.truth.positions, strict=True)
    ):
        count = int((truth >= 0).sum())
        assert fewest <= count <= fewest + more
        assert (truth[count:] == -1).all()
        assert (positions[count:] == -1).all()
        left, top = positions[:count].T
        assert 0 <= left[0] <= 14
        assert all(14 <= step <= 42 for step in np.diff(left))
        assert all(0 <= y <= 11 for y in top)
        assert made.sums[n] == truth[:count].sum()
        canvas = [[0] * width for _ in range(40)]
        for digit, x, y in zip(truth, left, top, strict=False):
            for i, j in np.ndindex(28, 28):
                grey = canvas[y + i][x + j] + int(NOISE.images[digit, i, j])
                canvas[y + i][x + j] = min(grey, 255) if clip else grey % 256
        np.testing.assert_array_equal(made.images[n], canvas)


def test_overlapping_200_and_100_make_44() -> None:
    flat = np.stack([np.full((28, 28), ink, np.uint8) for ink in (200, 100)])
    made = compose(Digits(flat, np.arange(2, dtype=np.uint8)), 60, (2, 2))
    areas = [0]
    for n in np.flatnonzero(made.sums == 1):
        first, second = made.truth.positions[n].astype(int)
        areas.append(np.prod(np.maximum(0, 28 - np.abs(second - first))))
        found = [np.sum(made.images[n] == grey) for grey in (44, 100, 200)]
        assert found == [areas[-1], 784 - areas[-1], 784 - areas[-1]]
    assert max(areas) > 0


def test_counts_are_uniform_over_their_range() -> None:
    counts = (compose(NOISE, 3000, (1, 3)).truth.digits >= 0).sum(axis=1)
    np.testing.assert_allclose(np.bincount(counts), [0, 1000, 1000, 1000], atol=120)


def test_strips_are_a_function_of_the_seed() -> None:
    one, two, other = (compose(NOISE, 9, seed=seed).images for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"per_strip": (2, 2), "width": 83}, "width 83 is too small: 2 digits need 84 pixels"),
        ({"strips": 0}, "cannot compose 0 strips"),
        ({"per_strip": (0, 2)}, "of 0 to 2 digits"),
        ({"per_strip": (3, 2)}, "of 3 to 2 digits.*the fewest first"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(given: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compose(NOISE, **{"strips": 4, **given})


def test_builtin_digits_have_the_ink_of_mnist() -> None:
    found = load_digits("builtin")
    assert (found.images.shape, found.images.dtype) == ((1797, 28, 28), np.uint8)
    assert np.bincount(found.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.mean(found.images > 127) == pytest.approx(0.13, abs=0.01)


def test_digits_of_a_folder_come_back() -> None:
    np.save("digits.npy", NOISE.images)
    np.save("labels.npy", NOISE.labels.astype(float))
    found = load_digits(".")
    np.testing.assert_array_equal(found.images, NOISE.images)
    np.testing.assert_array_equal(found.labels, NOISE.labels)
    assert found.labels.dtype == np.uint8


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (None, NOISE.labels, "digits.npy cannot be read.*a folder with digits.npy"),
        (NOISE.images, None, "labels.npy cannot be read"),
        (NOISE.images / 255, NOISE.labels, r"float64 of shape \(10, 28, 28\): expected uint8"),
        (NOISE.images[:, :27], NOISE.labels, r"shape \(10, 27, 28\): expected"),
        (NOISE.images[:0], NOISE.labels[:0], r"shape \(0, 28, 28\): expected"),
        (NOISE.images, NOISE.labels[:9], r"expected 10 labels in 0\.\.9"),
        (NOISE.images, NOISE.labels + 1, r"expected 10 labels in 0\.\.9"),
        (NOISE.images, NOISE.labels - 0.5, r"expected 10 labels in 0\.\.9"),
        (NOISE.images, np.array([None] * 10), "labels.npy cannot be read"),
        (NOISE.images, NOISE.labels.astype("u1,u1"), r"expected 10 labels in 0\.\.9"),
        (NOISE.images, NOISE.labels.astype(complex), r"expected 10 labels in 0\.\.9"),
    ],
)
def test_folders_that_hold_no_digits_are_refused(
    images: np.ndarray | None, labels: np.ndarray | None, words: str
) -> None:
    for name, array in (("digits", images), ("labels", labels)):
        if array is not None:
            np.save(f"{name}.npy", array)
    with pytest.raises(DataError, match=words):
        load_digits(".")


def test_mnist_that_is_not_there_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setattr(digits, "unreachable", lambda url: "no network: gone")
    with pytest.raises(DataError, match=r"cache/digitsum/mnist.*no network: gone.*--data builtin"):
        load_digits("mnist-test")
    monkeypatch.setenv("DIGITSUM_MNIST", "variable")
    with pytest.raises(DataError, match=r"no MNIST in variable: .*--mnist-root"):
        load_digits("mnist")
    for root in ("option", Path("option")):
        with pytest.raises(DataError, match="no MNIST in option: "):
            open_data(["mnist"], mnist_root=root)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    sizes = np.array(array.shape, ">i4").tobytes()
    return bytes([0, 0, kind, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


IMAGES, LABELS = idx(NOISE.images), idx(NOISE.labels)


def write_mnist(images: bytes, labels: bytes) -> None:
    raw = Path("m/MNIST/raw")
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(images)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(labels)


def test_mnist_is_found_by_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(IMAGES, LABELS)
    monkeypatch.setenv("DIGITSUM_MNIST", "m")
    found = load_digits("mnist")
    np.testing.assert_array_equal(found.images, NOISE.images)
    np.testing.assert_array_equal(found.labels, NOISE.labels)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (b"<html>404</html>" * 9, LABELS),
        (b"", LABELS),
        (IMAGES[:-1], LABELS),
        (idx(NOISE.images, kind=10), LABELS),
        (idx(NOISE.images[:, :14]), LABELS),
        (IMAGES, idx(NOISE.labels[:5])),
        (IMAGES, idx(NOISE.labels + 1)),
    ],
)
def test_mnist_that_is_damaged_is_refused(images: bytes, labels: bytes) -> None:
    write_mnist(images, labels)
    with pytest.raises(DataError, match="MNIST in m is damaged"):
        load_digits("mnist-test", Path("m"))


def test_write_spreads_strips_evenly_with_their_truth() -> None:
    made, folder = compose(NOISE, 7, (1, 3)), Path("new/strips")
    write(made, folder, files=3)
    names = [f"data{n}.npy lab{n}.npy truth{n}.npz".split() for n in range(3)]
    assert {path.name for path in folder.iterdir()} == {name for three in names for name in three}
    np.testing.assert_array_equal(open_data([str(folder)]).images(), made.images)
    for n, rows in enumerate((slice(0, 3), slice(3, 5), slice(5, 7))):
        np.testing.assert_array_equal(np.load(folder / f"lab{n}.npy"), made.sums[rows])
        with np.load(folder / f"truth{n}.npz") as truth:
            assert (truth["digits"].dtype, truth["positions"].dtype) == (np.int8, np.int16)
            np.testing.assert_array_equal(truth["digits"], made.truth.digits[rows])
            np.testing.assert_array_equal(truth["positions"], made.truth.positions[rows])


def test_folders_that_are_files_are_refused(made: Composition) -> None:
    Path("file").touch()
    with pytest.raises(UsageError, match="file is a file"):
        check_folder(Path("file"), names_of_files(1), overwrite=True)
    with pytest.raises(UsageError, match="cannot write into file/strips"):
        write(made, Path("file/strips"), files=1)


def test_old_strips_are_not_written_over_or_mixed_with_new_ones(folder: Path) -> None:
    check_folder(Path("absent"), names_of_files(1), overwrite=False)
    check_folder(folder, names_of_files(2), overwrite=True)
    with pytest.raises(OutputExistsError, match=r"holds data0\.npy: .*--overwrite"):
        check_folder(folder, names_of_files(2), overwrite=False)
    with pytest.raises(OutputExistsError, match=r"data1\.npy, which 3 new files would not replace"):
        check_folder(folder, names_of_files(1), overwrite=True)


@pytest.mark.parametrize("name", ["lab0.npy", "truth0.npz"])
def test_labels_and_truth_alone_are_not_written_over(name: str) -> None:
    Path(name).touch()
    with pytest.raises(OutputExistsError, match=name):
        check_folder(Path(), names_of_files(1), overwrite=False)


@pytest.mark.slow
@needs_mnist
@pytest.mark.parametrize(
    ("name", "count", "start"), [("mnist", 30_000, "6c0c12d0"), ("mnist-test", 10_000, "e6164daf")]
)
def test_mnist_by_name_is_always_the_same(name: str, count: int, start: str) -> None:
    found = open_data([name], mnist_root=MNIST)
    assert (found.name, len(found), found.width) == ([name], count, 168)
    assert found.fingerprint.startswith(f"sha256:{start}")  # checkpoints know it by this


@pytest.mark.slow
def test_a_name_beats_a_folder_of_that_name(made: Composition) -> None:
    write(made, Path("builtin"), files=1)
    assert len(open_data(["./builtin"])) == 60
    found = open_data(["builtin"])
    assert (len(found), found.width) == (30_000, 168)
