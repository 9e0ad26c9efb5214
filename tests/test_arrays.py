from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, zoom
from sklearn.preprocessing import MinMaxScaler

from digitsum.datasets import open_data
from digitsum.datasets import strips as strips_module
from digitsum.datasets.appearance import warn_of_appearance
from digitsum.datasets.arrays import ImageFile, as_strips, read_labels
from digitsum.datasets.pairs import find_pairs
from digitsum.datasets.strips import StripSet, slices
from digitsum.datasets.synthesis import Composition, compose
from digitsum.errors import DataError, DataWarning, UsageError
from digitsum.file_predictor import FilePredictor
from digitsum.inference import load_model
from digitsum.training import train

# some of these arrays are as odd as their types
pytestmark = pytest.mark.filterwarnings("ignore::digitsum.errors.DataWarning")

LEVELS = np.resize(np.arange(256, dtype=np.uint8), (3, 40, 168))  # every grey there is
FORMS = {
    "(N, 40, W)": lambda strips: strips,
    "(N, 40, W, 1)": lambda strips: strips[..., None],
    "(N, 1, 40, W)": lambda strips: strips[:, None],
    "(N, 6720)": lambda strips: strips.reshape(len(strips), -1),
    "(40, W)": lambda strips: strips[0, :, :100],
    "Fortran": np.asfortranarray,
}
TO_255 = ("uint8", "int16", ">i4", "int64", "uint64", "float16", "float32", ">f8")
TYPES = [(name, 255) for name in TO_255] + [(name, 1) for name in ("e", "f", "d", "bool")]


def opened(stored: np.ndarray, labels: np.ndarray) -> StripSet:
    np.save("data.npy", stored)
    np.save("lab.npy", labels)
    return open_data(["data.npy"])


@pytest.mark.parametrize(("dtype", "white"), TYPES)
@pytest.mark.parametrize("form", FORMS)
def test_every_shape_and_type_gives_the_same_strips(form: str, dtype: str, white: int) -> None:
    greys = LEVELS // 128 * 255 if dtype == "bool" else LEVELS
    strips = greys[:1, :, :100] if form == "(40, W)" else greys
    memory = StripSet(["memory"], [strips], np.arange(len(strips)))
    stored = FORMS[form](greys * (white / 255)).astype(dtype, order="K")
    found = opened(stored, memory.sums)
    assert found.images().dtype == np.uint8
    np.testing.assert_array_equal(found.images(), strips)
    assert found.fingerprint == memory.fingerprint


def test_the_scale_is_decided_once_a_file() -> None:
    stored = np.ones((1025, 40, 28), np.float16)
    stored[-1] = 255  # in another chunk than the first strip
    assert opened(stored, np.zeros(1025)).images().min() == 255
    stored[512:] = 255
    with pytest.raises(DataError, match="cannot be told"):
        opened(stored, np.zeros(1025))
    stored[256:] = 255
    assert opened(stored, np.zeros(1025)).images()[0].max() == 1


WRITTEN = compose("builtin", 12, seed=3).images
RAISED = zoom(WRITTEN / 255, (1, 1, 1.1), order=3)  # a cubic spline leaves the scale


@pytest.mark.parametrize(
    ("stored", "expected", "said"),
    [
        (WRITTEN.astype(float), WRITTEN, None),
        (WRITTEN / 255, WRITTEN, None),
        (np.where(WRITTEN == 255, np.float32(1.0000001), WRITTEN / 255), WRITTEN, None),
        ((WRITTEN / 255 - 1e-7).astype(np.float32), WRITTEN, None),
        (WRITTEN[:1] / 255, WRITTEN[:1], None),
        (np.zeros((2, 40, 168)), np.zeros((2, 40, 168)), None),
        ((WRITTEN > 127).astype(np.int64), 255 * (WRITTEN > 127), None),
        (gaussian_filter(255.0 * (WRITTEN > 127), (0, 2, 2)), None, None),
        (RAISED, np.rint(255 * RAISED.clip(0, 1)), "read as 0..1"),
        (255 * RAISED, np.rint(255 * RAISED.clip(0, 1)), "read as 0..255"),
        (WRITTEN / 2.55, np.rint(WRITTEN / 2.55), "up to 100 alone"),
        ((WRITTEN / 2.55).astype(np.uint8), None, "up to 100 alone"),
    ],
)
def test_the_scale_is_decided_with_a_margin_and_said_where_it_is_not_plain(
    stored: np.ndarray, expected: np.ndarray | None, said: str | None
) -> None:
    with pytest.warns(DataWarning, match=said) if said else nullcontext():
        strips = as_strips(stored, "here")
    if expected is not None:
        np.testing.assert_array_equal(strips, expected)
    assert strips.max() > 90 or not stored.any()


def test_pixels_far_above_white_do_not_make_the_others_black() -> None:
    written = compose("builtin", 100, seed=4).images
    fitted = MinMaxScaler().fit(written[:90].reshape(90, -1))  # pixels black so far stay in 0..255
    rescaled = fitted.transform(written[90:].reshape(10, -1))
    assert rescaled.max() > 200
    with pytest.warns(DataWarning, match="are larger than 1: read as 0..1"):
        strips = as_strips(rescaled, "X")
    assert (np.abs(strips.astype(int) - written[90:]) > 64).mean() < 0.01


@pytest.mark.parametrize(
    "stored",
    [
        WRITTEN / 255 * 16,
        WRITTEN // 16,
        WRITTEN / 255 / 255,
        WRITTEN.astype(np.uint16) * 257,
        WRITTEN.astype(np.int32) * 16,
        (WRITTEN - WRITTEN.mean()) / WRITTEN.std(),
        WRITTEN / 127.5 - 1,
    ],
)
def test_a_scale_that_cannot_be_told_is_refused(stored: np.ndarray) -> None:
    with pytest.raises(DataError, match="what is white cannot be told"):
        as_strips(stored, "here")


@pytest.mark.parametrize("width", [28, 84, 168])
def test_one_strip_or_forty_flat_ones_is_asked_back(width: int) -> None:
    stored = np.zeros((40, 40 * width), np.uint8)
    both = rf"reshape it to \(1, 40, {40 * width}\) or \(40, 40, {width}\)"
    with pytest.raises(DataError, match=both):
        as_strips(stored, "X")
    assert as_strips(stored.reshape(1, 40, -1), "X").shape == (1, 40, 40 * width)
    assert as_strips(stored.reshape(40, 40, -1), "X").shape == (40, 40, width)
    np.save("flat.npy", stored)
    with pytest.raises(DataError, match=both):
        ImageFile.open(Path("flat.npy"))


def noisy(strips: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 15, strips.shape)
    return np.clip(strips + noise, 0, 255).astype(np.uint8)


def underlined(strips: np.ndarray) -> np.ndarray:
    drawn = strips.copy()
    drawn[:, 36:38, 10:120] = 255
    return drawn


def in_two_lines(strips: np.ndarray) -> np.ndarray:
    small = np.zeros_like(strips)
    small[:, 1:19, :80] = small[:, 21:39, :80] = strips[:, 2:38:2, 2:162:2]
    return small


@pytest.mark.parametrize(
    ("strips", "said"),
    [
        (WRITTEN // 2 + 60, "12 of 12 strips on a grey background"),
        (np.concatenate([WRITTEN, np.zeros_like(WRITTEN[:3])]), "3 of 15 strips blank"),
        (noisy(WRITTEN), "12 of 12 strips noisy"),
        (underlined(WRITTEN), "12 of 12 strips crossed by a ruled line"),
        (in_two_lines(WRITTEN), "12 of 12 strips of several lines"),
    ],
)
def test_odd_strips_are_said_wherever_they_come_in(strips: np.ndarray, said: str) -> None:
    np.save("data0.npy", strips)
    np.save("lab0.npy", np.full(len(strips), 9))
    reader = load_model("reader", "cpu", "fp32")
    for bring in (
        lambda: open_data("."),
        lambda: reader.predict(strips[-3:]),
        lambda: FilePredictor(reader, "data0.npy"),
    ):
        with pytest.warns(DataWarning, match=said.partition("strips")[2]):
            bring()
    with pytest.warns(DataWarning, match=said):
        open_data(".")


def test_nothing_is_said_of_strips_as_they_should_be() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for strips in (WRITTEN, np.rint(gaussian_filter(WRITTEN * 1.0, (0, 1.5, 1.5)))):
            warn_of_appearance([strips], "these")
            as_strips(strips, "these")


def test_a_source_that_is_named_twice_is_refused() -> None:
    opened(WRITTEN, np.zeros(12))
    Path("link").symlink_to(".")
    for names in (["data.npy", "data.npy"], ["data.npy", "link/data.npy"], ["builtin", "builtin"]):
        with pytest.raises(UsageError, match="twice: its strips would stand on both sides"):
            open_data(names)


def test_training_says_that_copies_stand_on_both_sides() -> None:
    for name in ("a", "b"):
        Path(name).mkdir()
        np.save(f"{name}/data0.npy", WRITTEN)
        np.save(f"{name}/lab0.npy", np.full(12, 9))
    with pytest.warns(DataWarning, match="different validation strips are training strips too"):
        train(open_data(["a", "b"]), arch="cnn", epochs=1, out="c.pt", device="cpu")


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.integers(1, 9), min_size=1), st.integers(1, 12), st.sets(st.integers(0, 50)))
def test_chunks_are_indexing(counts: list[int], size: int, chosen: set[int]) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (sum(counts), 40, 28), dtype=np.uint8)
    strips = StripSet(["x"], np.split(whole, np.cumsum(counts)[:-1]), np.zeros(sum(counts), int))
    rows = np.array(sorted(row for row in chosen if row < len(whole)), int)
    for wanted, expected in ((rows, whole[rows]), (None, whole)):
        chunks = list(strips.chunks(wanted, size))
        assert all(1 <= len(chunk) <= size for chunk in chunks)
        np.testing.assert_array_equal(np.concatenate([whole[:0], *chunks]), expected)


def test_sources_are_joined_in_order(folder: Path, made: Composition) -> None:
    names = [str(folder / name) for name in ("data1.npy", "data0.npy")]  # 30 strips a file
    for sources, moved in (([str(folder)], 0), (names, 30)):
        found, rows = open_data(sources), np.array([0, 3, 29, 30, 31, 59])
        images, sums = np.roll(made.images, moved, axis=0), np.roll(made.sums, moved)
        np.testing.assert_array_equal(found.images(), images)
        np.testing.assert_array_equal(np.concatenate(list(found.chunks(rows, 8))), images[rows])
        content = images.tobytes() + sums.astype("<i8").tobytes()
        assert found.fingerprint == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_images_are_the_very_array_in_memory(strips: StripSet, made: Composition) -> None:
    assert strips.images() is made.images


def test_sampled_fingerprint_sees_sums_and_sampled_strips_alone(
    folder: Path, made: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint(strip: int = 0, ink: int = 0, more: int = 0) -> str:
        images = made.images.copy()
        images[strip, 0, 0] ^= ink
        return StripSet(["x"], [images[:7], images[7:]], made.sums + more).fingerprint

    monkeypatch.setattr(strips_module, "FINGERPRINT_LIMIT", made.images.nbytes)
    assert fingerprint().startswith("sha256:")
    monkeypatch.setattr(strips_module, "FINGERPRINT_LIMIT", made.images.nbytes - 1)
    monkeypatch.setattr(strips_module, "SAMPLED", 3)  # strips 0, 29 and 59
    assert fingerprint().startswith("sha256-sampled:")
    assert fingerprint() == fingerprint(30, ink=1) == open_data([str(folder)]).fingerprint
    assert len({fingerprint(), fingerprint(29, 1), fingerprint(59, 1), fingerprint(more=1)}) == 4


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
@pytest.mark.parametrize("dtype", [*"bBhHiIqQefd", ">i4", ">f8"])
def test_labels_of_every_numeric_type(dtype: str, shape: tuple[int, ...]) -> None:
    np.save("lab.npy", np.array([0, 17, 36], dtype).reshape(shape))
    found = read_labels(Path("lab.npy"))
    assert (found.dtype, found.tolist()) == (np.int64, [0, 17, 36])


@pytest.mark.parametrize(
    ("there", "source", "option", "pairs"),
    [
        ("data10 lab10 data2 labels2 data lab", "", None, "data lab data2 labels2 data10 lab10"),
        ("my_data_7 my_labels_7", "my_data_7.npy", None, "my_data_7 my_labels_7"),
        ("data7 lab7 other", "data7.npy", "other.npy", "data7 other"),
        ("strips lab other", "strips.npy", "other.npy", "strips other"),
    ],
)
def test_pairs_are_found_in_numeric_order(
    there: str, source: str, option: str | None, pairs: str
) -> None:
    for name in there.split():
        Path(f"{name}.npy").touch()
    found = find_pairs(Path(source), option and Path(option))
    assert " ".join(path.stem for pair in found for path in pair) == pairs


@pytest.mark.parametrize(
    ("sources", "option", "error", "words"),
    [
        (["absent"], None, DataError, "absent does not exist.*builtin, mnist, mnist-test"),
        (["data3.npy"], None, DataError, r"expected lab3\.npy or labels3\.npy, or .* --labels"),
        (["strips.npy"], None, DataError, r"no labels for strips\.npy: .* --labels FILE"),
        (["strips.npy"], "absent.npy", DataError, r"absent\.npy does not exist"),
        (["strips.npy"], ".", DataError, "is a folder"),
        (["empty"], None, DataError, r"empty holds no dataN\.npy"),
        (["empty"], "lab.npy", UsageError, "--labels goes with one file"),
        (["builtin"], "lab.npy", UsageError, "--labels goes with one file"),
        (["strips.npy", "strips.npy"], "lab.npy", UsageError, "--labels goes with one file"),
        (["both"], None, DataError, "need one width"),
        (["both/data0.npy", "both/data1.npy"], None, DataError, "need one width"),
    ],
)
def test_pairs_that_are_no_set_are_refused(
    sources: list[str], option: str | None, error: type[Exception], words: str
) -> None:
    Path("empty").mkdir()
    Path("both").mkdir()
    for name, width in (("strips", 28), ("data3", 28), ("both/data0", 28), ("both/data1", 30)):
        np.save(f"{name}.npy", np.zeros((2, 40, width), np.uint8))
    for number in range(2):
        np.save(f"both/lab{number}.npy", [1, 2])
    with pytest.raises(error, match=words):
        open_data(sources, option and Path(option))


def pixel(value: float, dtype: str = "float32", strips: int = 2) -> np.ndarray:
    stored = np.zeros((strips, 40, 28), dtype)
    stored[-1, 3, 5] = value
    return stored


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (np.zeros((2, 39, 168), np.uint8), r"\(2, 39, 168\): strips are 40 rows high"),
        (np.zeros((2, 40, 27), np.uint8), "at least 28 pixels wide"),
        (np.zeros((2, 40, 28, 3), np.uint8), "strips are 40 rows high"),
        (np.zeros((0, 40, 168), np.uint8), "holds no strips"),
        (pixel(np.nan), "NaN or infinite"),
        (pixel(-np.inf, "float16"), "NaN or infinite"),
        (pixel(np.nan, strips=1025), "NaN or infinite"),  # in another chunk than the first strip
        (pixel(256, "int16"), r"pixels from 0 to 256, .* integers in 0\.\.255"),
        (pixel(-1, "int8"), "pixels from -1 to 0"),
        (pixel(355.5), r"pixels from 0 to 355\.5"),
        (pixel(-0.25), r"pixels from -0\.25 to 0"),
        (pixel(0, "complex64"), "complex64: strips are integers"),
    ],
)
def test_arrays_that_are_no_strips_are_refused(stored: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=rf"data\.npy.*{words}"):
        opened(stored, np.zeros(len(stored)))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([4, -1], "label 1 is -1: .* whole and not negative"),
        ([4, 3.5], r"label 1 is 3\.5: .* whole and not negative"),
        ([np.nan, 4], "label 0 is nan"),
        ([4, np.inf], "label 1 is inf"),
        ([4, 5, 6], r"holds 3 labels for the 2 strips of data\.npy"),
        ([[4, 5]], r"int64 of shape \(1, 2\): labels are numbers of shape \(N,\) or \(N, 1\)"),
        (["4", "5"], "labels are numbers"),
    ],
)
def test_labels_that_are_no_sums_are_refused(labels: list, words: str) -> None:
    with pytest.raises(DataError, match=rf"lab\.npy.*{words}"):
        opened(LEVELS[:2], np.array(labels))


def saved(array: np.ndarray, save=np.save) -> bytes:
    save(stream := io.BytesIO(), array)
    return stream.getvalue()


def headed(header: str) -> bytes:
    """A `.npy` file of 2,240 zero bytes, with a header of one's own."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(2240)


def described(descr: str = "'|u1'", shape: str = "(2, 40, 28)") -> bytes:
    return headed(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n")


REFUSED = {
    "empty": b"",
    "text": b"1 2 3\n" * 99,
    "truncated": saved(LEVELS)[:-1],
    "truncated header": saved(LEVELS)[:90],
    "npz": saved(LEVELS, np.savez),
    "negative shape": described(shape="(-2, 40, 28)"),
    "shape beyond the file": described(shape="(1000000000, 40, 28)"),
    "shape beyond 64 bits": described(shape=f"({2**63 - 1}, 40, 28)"),  # numpy: RuntimeWarning
    "open bracket": described(shape="(2, (40, 28)"),  # tokenize.TokenError
    "comma": described("',<i2'"),  # SyntaxError
    "tuple": described("('u1',)"),  # IndexError
    "deep": headed("-" * 9000 + "1"),  # MemoryError
    "long": headed("1+" * 3000 + "1"),  # RecursionError
}


@pytest.mark.parametrize("read", [ImageFile.open, read_labels])
@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_no_arrays_are_refused(read, name: str) -> None:
    Path("data.npy").write_bytes(REFUSED[name])
    said = {"empty": "is empty: copy it again", "npz": r"is a \.npz, not a \.npy array"}.get(
        name, r"is not a readable \.npy array.*numpy\.save"
    )
    with pytest.raises(DataError, match=rf"data\.npy {said}"):
        read(Path("data.npy"))


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize("read", [ImageFile.open, read_labels])
def test_nothing_is_unpickled(read) -> None:
    np.save("data.npy", np.array([Trap(), 1]), allow_pickle=True)
    with pytest.raises(DataError, match="not a readable"):
        read(Path("data.npy"))
    assert not Path("sprung").exists()
    np.load("data.npy", allow_pickle=True)
    assert Path("sprung").exists()  # so the trap was set


SOUND = [
    saved(LEVELS[:2, :, :28]),
    saved(LEVELS[:2] / np.float16(255)),
    saved(np.asfortranarray(LEVELS[:, :, :30].astype(">i2"))),
    saved(np.array([3.0, 4.0])),
]
PLACES = st.integers(0, 127) | st.integers(128, 9999)  # half of them in the header
TOKENS = st.sampled_from([bytes([token]) for token in b"'\"(){}[],\\\n\0-019OVUMS<>|fiu# "])
CHANGES = st.lists(st.tuples(PLACES, st.integers(0, 3), TOKENS | st.binary(max_size=4)), max_size=4)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, database=None)
@given(st.sampled_from(SOUND), CHANGES, st.none() | PLACES)
def test_damaged_files_end_in_strips_or_data_error(content, changes, length) -> None:
    for place, removed, put in changes:
        content = content[:place] + put + content[place + removed :]
    Path("data.npy").write_bytes(content[:length])
    with suppress(DataError):
        file = ImageFile.open(Path("data.npy"))
        for _, strips in slices(file):
            assert (strips.dtype, strips.shape[1:]) == (np.uint8, file.shape[1:])
    with suppress(DataError):
        assert (read_labels(Path("data.npy")) >= 0).all()


def _replaced(path: Path) -> None:
    other = np.load(path)[::-1].copy()
    np.save("other.npy", other)
    Path("other.npy").replace(path)


def _written_to(path: Path) -> None:
    other = np.load(path)[::-1].copy()
    np.save(path, other)
    os.utime(path, ns=(0, 0))  # two writes within a tick of the clock


@pytest.mark.parametrize("change", [_replaced, _written_to, Path.unlink])
def test_a_file_that_changes_between_its_chunks_is_refused(
    folder: Path, change: Callable[[Path], None]
) -> None:
    strips = open_data(folder)
    chunks = strips.chunks(size=10)
    next(chunks)
    change(folder / "data0.npy")
    with pytest.raises(DataError, match=r"data0\.npy changed while it was being read: start again"):
        next(chunks)


def test_a_truth_that_changes_after_its_strips_were_opened_is_refused(folder: Path) -> None:
    strips = open_data(folder)
    (folder / "truth1.npz").replace(folder / "truth0.npz")
    with pytest.raises(DataError, match=r"truth0\.npz changed while it was being read"):
        strips.truth()


def test_the_current_folder_may_change(
    folder: Path, made: Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    strips = open_data(folder.relative_to(Path.cwd()))
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(strips.images(), made.images)
    np.testing.assert_array_equal(strips.truth(), made.truth.digits)


def test_read_only_arrays_are_read_without_a_warning() -> None:
    made = compose("builtin", 20, (1, 1), seed=3)
    strips = StripSet.from_arrays(made.images, made.sums)
    for array in (made.images, made.sums):
        array.flags.writeable = False
    train(strips, arch="cnn", epochs=1, device="cpu", progress=False)
    found = load_model("cnn.pt", "cpu").predict_strips(made.images, None)
    assert len(found) == 20


def test_numbers_that_are_nearly_0_are_0_whatever_numpy_does_about_them() -> None:
    stored = np.zeros((2, 40, 28))
    stored[:, 9, 9], stored[0, 5, 5] = 1, 1e-310
    with np.errstate(all="raise"):
        assert opened(stored, np.zeros(2)).images()[0, 5, 5] == 0


def test_strips_that_are_dark_on_light_are_inverted_unless_they_may_be_meant() -> None:
    reader = load_model("reader", "cpu", "fp32")
    np.save("data0.npy", dark := 255 - WRITTEN)
    np.savez("dark.npz", dark)
    plain = reader.predict(WRITTEN)
    with pytest.warns(DataWarning, match="12 of 12 strips dark on light were inverted"):
        assert reader.predict(dark).to_dict() == plain.to_dict()
    for name in ("data0.npy", "dark.npz"):
        with pytest.warns(DataWarning, match="dark on light were inverted: --invert no"):
            (chunk,) = FilePredictor(reader, name)
        assert chunk.predictions.to_dict() == plain.to_dict()
        np.testing.assert_array_equal(chunk.strips, WRITTEN)
    (chunk,) = FilePredictor(reader, "data0.npy", invert="yes")
    assert chunk.predictions.to_dict() == plain.to_dict()
    with pytest.warns(DataWarning, match="12 of 12 strips dark on light: give 255 minus"):
        (chunk,) = FilePredictor(reader, "data0.npy", invert="no")
    np.testing.assert_array_equal(chunk.strips, dark)
    mine = replace(reader, checkpoint=replace(reader.checkpoint, data={"name": ["mine"]}))
    assert (mine.invert("auto"), mine.invert("yes")) == ("no", "yes")
    with pytest.raises(UsageError, match="invert 'maybe': give auto, yes or no"):
        reader.invert("maybe")  # type: ignore[arg-type]
    np.save("lab0.npy", np.full(len(dark), 9))
    with pytest.warns(DataWarning, match="dark on light: give 255 minus"):
        open_data("data0.npy")
