"""Files that were made to fill memory, to be waited for, or to be read as what they are not.

Memory is counted by tracemalloc, which NumPy tells of its arrays.
"""

from __future__ import annotations

import io
import os
import socket
import struct
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import at_most, noise, run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from digitsum import file_kinds
from digitsum.checkpoint_paths import bundled_path
from digitsum.datasets import open_data
from digitsum.datasets.arrays import ImageFile, as_strips, read_labels
from digitsum.datasets.digits import load_digits
from digitsum.datasets.drawings import strip_of
from digitsum.datasets.folders import by_number
from digitsum.datasets.image_files import open_image
from digitsum.datasets.pictures import grey_pages
from digitsum.datasets.synthesis import compose
from digitsum.errors import CheckpointError, DataError, RecipeError, UsageError
from digitsum.file_predictor import FilePredictor
from digitsum.inference import load_model
from digitsum.models.reader import _left_to_right
from digitsum.recipe import merge_sources

pytestmark = pytest.mark.filterwarnings("ignore::digitsum.errors.DataWarning")

MB = 1_000_000


def pair(images: np.ndarray | None = None, sums: Any = (3, 4)) -> None:
    """data.npy of two strips, and lab.npy."""
    strips = np.zeros((2, 40, 42), np.uint8)
    strips[:, 9, 9] = 255
    np.save("data.npy", strips if images is None else images)
    np.save("lab.npy", np.asarray(sums))


def headed(name: str, descr: str, shape: tuple[int, ...], sparse: bool = True) -> None:
    """A .npy whose array is a hole in the file."""
    with open(name, "wb") as stream:
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        size = int(np.prod(shape)) * np.dtype(descr).itemsize
        stream.truncate(stream.tell() + size * sparse)


def zipped(name: str, inner: str, array: np.ndarray, method: int = zipfile.ZIP_DEFLATED) -> None:
    np.save(content := io.BytesIO(), array)
    with zipfile.ZipFile(name, "w", method) as archive:
        archive.writestr(inner, content.getvalue())


# what is no regular file


def lay_pipe(path: Path) -> None:
    os.mkfifo(path)


def lay_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def lay_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def lay_folder(path: Path) -> None:
    path.mkdir()


LAYERS = [lay_pipe, lay_device, lay_socket, lay_folder]


def read_mnist(folder: Path) -> None:
    load_digits("mnist-test", folder)


def read_own(folder: Path) -> None:
    load_digits(str(folder))


def lay_mnist(folder: Path, lay: Callable[[Path], None]) -> None:
    raw = folder / "MNIST/raw"
    raw.mkdir(parents=True)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 5]))
    lay(raw / "t10k-images-idx3-ubyte")


def lay_digits(folder: Path, lay: Callable[[Path], None]) -> None:
    folder.mkdir()
    np.save(folder / "labels.npy", [5])
    lay(folder / "digits.npy")


@pytest.mark.parametrize("lay", LAYERS)
def test_only_regular_files_are_opened(lay: Callable[[Path], None]) -> None:
    pair()
    lay(Path("odd"))
    for read in (ImageFile.open, read_labels, open_image, lambda path: next(grey_pages(path))):
        with pytest.raises(DataError, match=r"odd is a (pipe or a device|folder)"):
            read(Path("odd"))
    with pytest.raises(DataError, match=r"odd is a (pipe or a device|folder)"):
        open_data("data.npy", labels=Path("odd"))
    with pytest.raises(RecipeError, match=r"odd .* is a (pipe or a device|folder)"):
        merge_sources(Path("odd"))


@pytest.mark.parametrize("lay", LAYERS)
def test_digits_come_from_regular_files(lay: Callable[[Path], None]) -> None:
    for lay_all, read in ((lay_mnist, read_mnist), (lay_digits, read_own)):
        lay_all(folder := Path(lay_all.__name__), lay)
        with pytest.raises(DataError, match=r"is a (pipe or a device|folder)"):
            read(folder)


@pytest.mark.parametrize("lay", LAYERS)
def test_a_truth_is_a_regular_file(lay: Callable[[Path], None]) -> None:
    pair()
    lay(Path("truth.npz"))
    with pytest.raises(DataError, match=r"truth\.npz is a (pipe or a device|folder).*: remove it"):
        open_data("data.npy").truth()


@pytest.mark.parametrize("lay", LAYERS)
def test_what_takes_the_place_of_a_file_after_a_look_at_it_is_not_opened(
    lay: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(Path("odd"))
    monkeypatch.setattr(file_kinds, "obstacle", lambda path: None)  # a file, when it was looked at
    with pytest.raises(file_kinds.UnreadableFileError) as caught:
        file_kinds.open_regular(Path("odd"))
    assert caught.value.reason.startswith(("is a ", "cannot be read (No such device"))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\ud800", "gone"])
def test_names_that_no_file_has_are_one_line(name: str) -> None:
    for read in (ImageFile.open, read_labels, open_image, open_data):
        with pytest.raises(DataError, match=r"cannot be read|does not exist|too long|null byte"):
            read(Path(name))
    with pytest.raises(DataError):
        FilePredictor(load_model("reader", "cpu", "fp32"), Path(name))


def test_names_that_are_no_utf_8_are_names() -> None:
    folder = Path(os.fsdecode(b"caf\xe9"))
    folder.mkdir()
    pair()
    for name in ("data.npy", "lab.npy"):
        Path(name).replace(folder / name)
    assert len(open_data(folder / "data.npy")) == 2
    (folder / "r.yaml").write_text("epochs: 3")
    assert merge_sources(folder / "r.yaml") == {"epochs": 3}
    Image.fromarray(noise()[0][0]).save(folder / "p.png")
    result = run("predict", folder, folder / "data.npy")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 4


def test_a_name_of_thousands_of_digits_is_sorted_as_text() -> None:
    numbers = ["9" * 5_000, "10", "9"]
    assert sorted(map(Path, numbers), key=by_number) == [Path("9" * 5_000), Path("9"), Path("10")]


# counted before it is read


def test_labels_are_counted_before_they_are_read() -> None:
    pair()
    headed("lab.npy", "<i8", (8 * MB,))
    with at_most(2 * MB), pytest.raises(DataError, match="holds 8,000,000 labels for the 2 strips"):
        open_data("data.npy")


@pytest.mark.parametrize("descr", ["|u1", "|V4000000"])
def test_counts_are_counted_before_they_are_read(descr: str) -> None:
    pair()
    headed("count.npy", descr, (2,) if "V" in descr else (2, 4 * MB))
    with at_most(2 * MB), pytest.raises(DataError, match="counts are numbers of shape"):
        open_data("data.npy")


def test_labels_of_digits_are_counted_before_they_are_read() -> None:
    lay_digits(Path("own"), lambda path: np.save(path, np.zeros((1, 28, 28), np.uint8)))
    headed("own/labels.npy", "<i8", (8 * MB,))
    with at_most(2 * MB), pytest.raises(DataError, match="expected 1 label in"):
        load_digits("own")


def test_a_truth_is_counted_before_it_is_unpacked() -> None:
    pair(sums=[0, 0])
    zipped("truth.npz", "digits.npy", np.zeros((2, 10 * MB), np.int8))
    strips = open_data("data.npy")
    with at_most(2 * MB), pytest.raises(DataError, match=r"shape \(2, 10000000\).*K at most 42"):
        strips.truth()


def test_an_npz_is_counted_before_it_is_unpacked() -> None:
    strips = np.zeros((20_000, 40, 168), bool)  # 134 MB, as strips once more
    zipped("x.npz", "images.npy", strips)
    assert Path("x.npz").stat().st_size < 140_000
    with at_most(2 * MB), pytest.raises(DataError, match=r"x\.npz unpacks to 268,800,\d+ bytes"):
        open_image(Path("x.npz"))


def test_an_npz_that_is_no_bomb_may_be_as_large_as_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("digitsum.datasets.image_files.UNPACKED", 0)
    strips = compose("builtin", 9, seed=1).images
    np.savez("x.npz", strips)
    np.testing.assert_array_equal(open_image(Path("x.npz"))[0][:], strips)


def test_an_npz_of_thousands_of_entries_is_refused_before_they_are_read() -> None:
    with zipfile.ZipFile("x.npz", "w") as archive:
        for number in range(20_000):
            archive.writestr(f"an array of a long name {number}.npy", b"")
    with pytest.raises(DataError, match=r"x\.npz is not a readable \.npz") as caught:
        open_image(Path("x.npz"))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_npz_that_unpacks_in_one_piece_is_refused(method: int) -> None:
    zipped("x.npz", "images.npy", np.zeros((2, 40, 42), np.uint8), method)
    with pytest.raises(DataError, match="not a readable"):
        open_image(Path("x.npz"))


@pytest.mark.parametrize("claimed", [100, 5_000, 2**31 - 1])
def test_sizes_in_an_npz_that_are_not_true_are_refused(claimed: int) -> None:
    zipped("x.npz", "images.npy", np.full((2, 40, 42), 255, np.uint8))
    content = bytearray(Path("x.npz").read_bytes())
    entry = content.rindex(b"PK\1\2")
    content[entry + 24 : entry + 28] = struct.pack("<I", claimed)  # what it unpacks to
    Path("x.npz").write_bytes(content)
    refused = pytest.raises(DataError, match="not a readable")
    with at_most(2 * MB), refused if claimed < 3_000 else nullcontext():
        assert open_image(Path("x.npz"))[0].shape == (2, 40, 42)


def test_a_header_is_no_longer_than_it_may_be() -> None:
    length = 20 * MB
    with open("data.npy", "wb") as stream:
        stream.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", length))
        stream.truncate(stream.tell() + length)
    with at_most(2 * MB), pytest.raises(DataError, match="not a readable"):
        ImageFile.open(Path("data.npy"))


@pytest.mark.parametrize("dtype", ["?", "u1", "i8", "f4"])
def test_strips_are_converted_a_few_at_a_time(dtype: str) -> None:
    strips = np.zeros((2_000, 40, 168), dtype)
    strips[:, 20] = 1 if dtype == "?" else 255
    with at_most(2_000 * 40 * 168 + 20 * MB):
        assert as_strips(strips, "x").max() == 255


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", ">f8"])
def test_files_are_read_a_chunk_at_a_time(order: str, dtype: str) -> None:
    strips = np.random.default_rng(0).integers(0, 256, (5_000, 40, 28)).astype(dtype, order=order)
    pair(strips, np.zeros(5_000))
    with at_most(int(1.6 * strips.nbytes)):
        data = open_data("data.npy")
        for start, chunk in enumerate(data.chunks()):
            rows = slice(1024 * start, 1024 * (start + 1))
            assert np.array_equal(chunk, strips[rows])
    assert np.array_equal(data.files[0][4_090:4_100], strips[4_090:4_100])
    assert np.array_equal(data.files[0][7:8], strips[7:8])


def test_wide_strips_are_read_fewer_at_a_time() -> None:
    headed("data.npy", "|u1", (60, 40, 9_000))
    np.save("lab.npy", np.zeros(60))
    chunks = [len(chunk) for chunk in open_data("data.npy").chunks()]
    assert (sum(chunks), max(chunks)) == (60, 32)


# cut or exchanged while they are read


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_that_is_cut_while_it_is_read_is_refused(order: str) -> None:
    pair(np.asarray(noise()[0], order=order), noise()[1])
    stored = ImageFile.open(Path("data.npy")).stored

    def cut_and_read() -> None:
        with stored.stamp.opened() as stream:
            os.truncate("data.npy", 9_000)
            stored.header.read_rows(stream, 2, 50)

    with pytest.raises(DataError, match=r"data\.npy changed while it was being read"):
        cut_and_read()


def test_no_file_of_strips_is_mapped() -> None:
    pair()
    path = os.path.realpath("data.npy")
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not say what is mapped")
    stored = ImageFile.open(Path("data.npy")).stored
    with stored.stamp.opened() as stream:
        rows = stored.header.read_rows(stream, 0, 2)
        assert path not in maps.read_text()
    assert rows.flags.owndata


# pictures


def old_digit_height(written: np.ndarray) -> float:
    gaps = np.flatnonzero(np.diff(written.any(0).astype(int)))
    heights = []
    for piece in np.split(written, gaps + 1, axis=1):
        rows = np.flatnonzero(piece.any(1))
        if len(rows):
            heights.append(rows[-1] + 1 - rows[0])
    return float(np.median([height for height in heights if height > 0.4 * max(heights)]))


@settings(max_examples=200, deadline=None, database=None)
@given(st.integers(1, 12), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_the_height_of_digits_is_what_it_was(high: int, wide: int, ink: float, seed: int) -> None:
    from digitsum.datasets import drawings

    written = np.random.default_rng(seed).random((high, wide)) < ink**2
    if written.any():
        for band in (1, 3 * wide, 1 << 20):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(drawings, "BAND", band)
                first, last = drawings.extents(written.astype(np.uint8), np.array([False, True]))
            assert drawings.digit_height(first, last) == old_digit_height(written)


def test_a_picture_is_looked_at_once_however_many_columns_it_has() -> None:
    """The pieces between empty columns were cut out one by one, each through all rows."""
    from digitsum.datasets.drawings import digit_height

    last = np.resize([-1, 39], 2 * MB)
    assert digit_height(np.where(last < 0, 40, 0), last) == 40


@pytest.mark.parametrize("shape", [(40, 10_001), (40, 1_200_000), (1_000, 1_200_000)])
def test_one_width_is_the_most_of_pictures_and_arrays(shape: tuple[int, int]) -> None:
    grey = np.zeros(shape, np.uint8)
    grey[10:30, ::9] = 255
    with pytest.raises(DataError, match=r"cut (it|them) into pieces"):
        strip_of(grey, "p.png") if shape[0] == 40 else as_strips(grey[None, :40], "x")
    if shape[1] > 200_000 and shape[0] == 40:
        Image.fromarray(grey).save("p.png")
        with pytest.raises(DataError, match="cut it into pieces"):
            open_image(Path("p.png"))
    with pytest.raises(UsageError, match="10000 pixels at most"):
        compose("builtin", 1, width=10_001)


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("p.png", "RGB", {}),
        ("p.tif", "RGBA", {"compression": "tiff_lzw"}),
        ("p.webp", "RGB", {"lossless": True, "method": 0}),
        ("p.jpg", "RGB", {"progressive": True}),
        ("p.gif", "P", {"save_all": True, "append_images": [Image.new("P", (1, 1), 3)]}),
    ],
)
def test_a_picture_that_takes_much_memory_is_refused_before_it_is_decoded(
    name: str, mode: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.endswith("gif"):
        options["append_images"] = [Image.new("P", (900, 900), 3)]
    Image.new(mode, (900, 900)).save(name, **options)
    monkeypatch.setattr("digitsum.datasets.pictures.MAX_MEMORY", 4 * 900 * 900)
    with pytest.raises(DataError, match=rf"{name} takes \d+,\d+,\d+ bytes to open .*: make it"):
        open_image(Path(name))
    Image.new("L", (900, 900)).save("grey.png")
    open_image(Path("grey.png"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_pictures_are_turned_as_pillow_turns_them(orientation: int, mode: str) -> None:
    from PIL import ImageOps

    levels = np.random.default_rng(0).integers(0, 256, (30, 50)).astype(np.uint8)
    image = Image.fromarray(levels.astype(np.uint16) * 257 if mode == "I;16" else levels)
    image = image if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[274] = orientation
    image.save("p.png", exif=exif)
    with Image.open("p.png") as opened:
        turned = np.asarray(ImageOps.exif_transpose(opened).convert("F" if mode == "I;16" else "L"))
    grey = next(grey_pages(Path("p.png")))
    np.testing.assert_allclose(grey / np.iinfo(grey.dtype).max, turned / turned.max(), atol=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused_wherever_they_are(value: float) -> None:
    grey = np.zeros((50, 90), np.float32)
    grey[20:30, 40:50] = 1
    grey[49, 89] = value
    Image.fromarray(grey).save("p.tif")
    with pytest.raises(DataError, match=r"p\.tif holds NaN"):
        open_image(Path("p.tif"))


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint16"])
def test_deep_pictures_are_read_from_their_darkest_to_their_lightest(dtype: str) -> None:
    strip = compose("builtin", 1, seed=2).images[0]
    page = np.repeat(np.repeat(255 - strip, 2, 0), 2, 1)
    deep = page.astype(dtype) * np.array(250, dtype) - (0 if dtype == "uint16" else 9_000)
    Image.fromarray(deep.astype(dtype)).save("deep.tif")
    Image.fromarray(page).save("page.tif")
    deep_strip, strip = (open_image(Path(f"{name}.tif"))[0][:] for name in ("deep", "page"))
    assert np.abs(deep_strip.astype(int) - strip).max() <= 2


# recipes


def test_merge_keys_are_refused() -> None:
    Path("r.yaml").write_text("a: &a {lr: 1}\nb:\n  <<: *a\n")
    with pytest.raises(RecipeError, match="merge keys"):
        merge_sources(Path("r.yaml"))


def test_a_key_that_is_there_twice_is_refused() -> None:
    Path("r.yaml").write_text("arch: cnn\nlr: 0.1\nepochs: 3\nlr: 0.2\n")
    with pytest.raises(RecipeError, match="line 4: lr is there twice"):
        merge_sources(Path("r.yaml"))


@pytest.mark.parametrize("text", ["[" * 20_000, "{a: " * 20_000, "- " * 40_000, "? " * 40_000])
def test_deep_recipes_are_one_line(text: str) -> None:
    Path("r.yaml").write_text(text)
    with pytest.raises(RecipeError, match="is not YAML") as caught:
        merge_sources(Path("r.yaml"))
    assert "\n" not in str(caught.value)


def test_a_large_recipe_is_not_read() -> None:
    with open("r.yaml", "wb") as stream:
        stream.truncate(50 * MB)
    with at_most(2 * MB), pytest.raises(RecipeError, match="it is not a recipe"):
        merge_sources(Path("r.yaml"))


# what models make of it


def test_positions_reach_as_far_as_strips_do() -> None:
    symbols = torch.zeros(1, 30_000, dtype=torch.long)
    symbols[0, [0, -1]] = 4
    digits, positions = _left_to_right(symbols)
    assert digits.tolist() == [[3, 3]]
    assert positions.tolist() == [[0, 4 * 29_999]]


def forge(source: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """bad.pt: a checkpoint with other weights, all of them finite."""
    content = torch.load(source, weights_only=True)
    change(content["weights"])
    torch.save(content, "bad.pt")


def first_kernels(weights: dict[str, torch.Tensor]) -> None:
    next(tensor for tensor in weights.values() if tensor.ndim == 4).fill_(3e38)


OVERFLOWING = {
    "infinite": lambda weights: weights["head.6.weight"].fill_(3e38),
    "large": lambda weights: weights["head.6.bias"].fill_(1e12),
    "within": first_kernels,
}
COMMANDS = [
    "predict strips/data0.npy --model bad.pt --json",
    "predict strips/data0.npy --model bad.pt --out sums.npy",
    "eval bad.pt --data strips --json",
    "compare bad.pt a.pt --data strips --json",
    "report bad.pt --data strips --out r.html",
    "export bad.pt bad.onnx",
]


@pytest.mark.parametrize("change", OVERFLOWING)
@pytest.mark.parametrize("command", COMMANDS)
def test_outputs_that_overflow_are_an_error(project: Path, change: str, command: str) -> None:
    forge(Path("a.pt"), OVERFLOWING[change])
    there = set(project.rglob("*"))
    result = run(*command.split())
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "bad.pt: its outputs are not finite" in line
    assert line.count("bad.pt") == 1
    assert set(project.rglob("*")) == there


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_outputs_of_a_reader_that_overflow_are_an_error(precision: str) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        weights["head.bias"].copy_(torch.tensor([3e38, *[-3e38] * 10]))

    forge(bundled_path("reader"), change)
    reader = load_model("bad.pt", "cpu", precision)
    with pytest.raises(CheckpointError, match=r"bad\.pt: its outputs are not finite"):
        reader.predict(noise()[0])
