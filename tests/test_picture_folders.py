"""Folders of pictures with their sums in a CSV: read, written, and refused where they are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import at_most, ok, run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import digitsum
from digitsum.datasets import picture_folders
from digitsum.datasets.image_files import open_images
from digitsum.datasets.picture_folders import names_of_pictures, write_pictures
from digitsum.datasets.sums_csv import read_picture_counts, read_sums
from digitsum.datasets.synthesis import Composition, Truth, compose
from digitsum.errors import DataError, OutputError, OutputExistsError, UsageError


@pytest.fixture
def scans(made: Composition) -> Path:
    """Twelve strips as pictures, with sums.csv."""
    folder = Path("scans")
    write_pictures(few(made, 12), folder)
    return folder


def few(made: Composition, strips: int) -> Composition:
    truth = Truth(made.truth.digits[:strips], made.truth.positions[:strips])
    return Composition(made.images[:strips], made.sums[:strips], truth)


def lay(text: str | bytes, pictures: int = 2, name: str = "sums.csv") -> Path:
    """Pictures 0.png and so on with a CSV of this text."""
    folder = Path("own")
    folder.mkdir()
    for number in range(pictures):
        picture = np.full((30, 60 + 10 * number), 255, np.uint8)
        picture[5:25, 20:30] = 0
        Image.fromarray(picture).save(folder / f"{number}.png")
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


@settings(max_examples=10, deadline=None, database=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(0, 2))
def test_pictures_read_again_are_the_same_strips(
    tmp_path_factory: pytest.TempPathFactory, seed: int, fewest: int, more: int
) -> None:
    folder = tmp_path_factory.mktemp("pictures")
    made = compose("builtin", 6, (fewest, fewest + more), seed=seed)
    write_pictures(made, folder)
    read = digitsum.open_data(folder)
    np.testing.assert_array_equal(read.images(), made.images)
    np.testing.assert_array_equal(read.sums, made.sums)
    np.testing.assert_array_equal(read.counts, made.counts)
    longest = made.counts.max()  # a folder knows no longer strip than it holds
    np.testing.assert_array_equal(read.truth(), made.truth.digits[:, :longest])
    assert (made.truth.digits[:, longest:] == -1).all()
    assert read.notes == []


def test_a_folder_is_read_in_the_order_of_its_csv() -> None:
    folder = lay("\ufefffile, sum ,digits\r\n1.png,9,45\r\n\r\n0.png,3,1 2\r\n".encode())
    read = digitsum.open_data(folder)
    assert read.sums.tolist() == [9, 3]
    assert read.truth().tolist() == [[4, 5], [1, 2]]  # type: ignore[union-attr]
    assert read.counts is None  # digits are a truth, which only evaluation opens
    alone = open_images([folder / "1.png", folder / "0.png"])
    for strip, file in zip(read.images(), alone, strict=True):
        np.testing.assert_array_equal(strip[:, : file.shape[2]], file[0:1][0])


def test_pictures_of_different_widths_end_in_black(made: Composition) -> None:
    folder = Path("own")
    folder.mkdir()
    Image.fromarray(made.images[0]).save(folder / "a.png")
    wide = np.pad(made.images[1], ((0, 0), (0, 300)))
    Image.fromarray(wide).save(folder / "b.png")
    (folder / "sums.csv").write_text("file,sum\na.png,1\nb.png,2\n")
    read = digitsum.open_data(folder).images()
    assert read.shape == (2, 40, wide.shape[1])
    np.testing.assert_array_equal(read[0, :, : made.images.shape[2]], made.images[0])
    assert not read[0, :, made.images.shape[2] :].any()
    np.testing.assert_array_equal(read[1], wide)


def test_labels_may_lie_elsewhere_and_name_inner_folders(scans: Path) -> None:
    (scans / "inner").mkdir()
    (scans / "00000.png").rename(scans / "inner" / "a.png")
    Path("elsewhere.csv").write_text("file,sum\ninner/a.png,7\n00001.png,8\n")
    read = digitsum.open_data(scans, "elsewhere.csv")
    assert (len(read), read.sums.tolist()) == (2, [7, 8])
    (note,) = read.notes
    assert note.startswith("scans: left out 11 files (sums.csv, 00002.png, 00003.png, …)")
    assert "the pictures that elsewhere.csv names" in note


def test_pictures_without_a_sum_and_other_columns_are_said() -> None:
    folder = lay("file,sum,value,digits\n0.png,3,2.9,3\n1.png,4,4.1,\n", pictures=3)
    read = digitsum.open_data(folder)
    assert read.truth() is None
    assert read.notes == [
        "own/sums.csv: left out 1 column (value); read are file, sum, count, digits",
        "own/sums.csv: 1 of 2 rows have no digits: single digits are not scored",
        "own: left out 1 file (2.png); read are the pictures that own/sums.csv names",
    ]


def test_pairs_in_a_folder_win_over_its_pictures(folder: Path, made: Composition) -> None:
    Image.fromarray(made.images[0]).save(folder / "0.png")
    (folder / "sums.csv").write_text("file,sum\n0.png,3\n")
    read = digitsum.open_data(folder)
    assert len(read) == 60
    assert "left out 2 files (sums.csv, 0.png)" in read.notes[0]


WRONG = {
    "file,sum\n0.png,1\n2.png,2\n": "names 1 file not in own (2.png)",
    "file,sum\n0.png,1\n0.png,2\n": "names 0.png twice, in lines 2 and 3",
    "file,sum\n0.png,1.5\n": "line 2: sum is '1.5': it must be a whole number",
    "file,sum\n0.png,-1\n": "line 2: sum is '-1'",
    "file,sum\n0.png,\n": "line 2: sum is ''",
    "file,sum\n0.png,²\n": "line 2: sum is '²'",
    "file,sum\n0.png,9999999999\n": "line 2: sum is '9999999999'",
    "0.png,1\n": "begins with the line '0.png,1': its columns must be named file,sum",
    "file;sum\n0.png;1\n": "begins with the line 'file;sum'",
    "file,sum,sum\n0.png,1,1\n": "each once",
    "": "begins with the line ''",
    "file,sum\n": "holds no sums",
    "file,sum\n0.png,1,2\n": "line 2 has 3 values, its header 2",
    'file,sum\n"0.png,1\n': "is no CSV",
    "file,sum,digits\n0.png,5,1 2\n": "line 2: digits 1 2 add up to 3, and sum is 5",
    "file,sum,digits\n0.png,5,1 x\n": "line 2: digits are '1 x': write them as",
    "file,sum,digits\n0.png,12,12 0\n": "line 2: digits are '12 0'",
    "file,sum,digits,count\n0.png,3,1 2,3\n": "2 digits are named, and count is 3",
    "file,sum,count\n0.png,3,0\n": "line 2: count is '0'",
    "file,sum,count\n0.png,10,1\n": "sum is 10, and 1 digit can add up to 9 at most",
    "file,sum,count\n0.png,3,1\n1.png,3,\n": "line 3 has no count: give one in every row",
    "file,sum,count\n0.png,3,99\n": "a strip 168 pixels wide holds 1 to 42 digits",
    "file,sum\n../own/0.png,1\n": "a name inside the folder",
    "file,sum\n/etc/x.png,1\n": "a name inside the folder",
    "file,sum\nC:\\x.png,1\n": "a name inside the folder",
    "file,sum\n.,1\n": "a name inside the folder",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_with_a_csv_is_said_in_one_line(text: str) -> None:
    folder = lay(text)
    with pytest.raises(DataError) as caught:
        digitsum.open_data(folder)
    assert WRONG[text] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_text_in_other_encodings_is_refused() -> None:
    folder = lay("file,sum\né.png,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="is not text in UTF-8"):
        digitsum.open_data(folder)


def test_a_large_csv_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digitsum.datasets.sums_csv.MAX_BYTES", 20)
    with pytest.raises(DataError, match="larger than 20 bytes"):
        read_sums(lay("file,sum\n0.png,1\n1.png,2\n") / "sums.csv")


LARGE = {
    "file,sum,count" + "," * 10_000_000: "has a row of 100,000 characters or more after line 0",
    "file,sum,count\n" + "é," * 5_000_000: "100,000 characters or more after line 1",
    "file,sum,count\n" + '"\n",' * 3_000_000: "100,000 characters or more after line 25001",
    "file,sum,count\n" + "\n" * 10_000_000: "holds more than 300,000 rows",
    "file,sum,count\n" + "x,1,1\n" * 2_000_000: "names x twice, in lines 2 and 3",
}


@pytest.mark.parametrize("text", LARGE, ids=range(len(LARGE)))
@pytest.mark.parametrize("read", [read_sums, read_picture_counts])
def test_a_csv_takes_no_more_memory_than_its_rows_should(
    read: Callable[[Path], object], text: str
) -> None:
    table = lay(text) / "sums.csv"
    with at_most(50_000_000), pytest.raises(DataError, match=LARGE[text]):
        read(table)


def test_digits_are_no_more_than_fit_into_a_strip() -> None:
    folder = lay("file,sum,digits\n0.png,0,0\n1.png,0," + "0" * 1000 + "\n")
    with pytest.raises(DataError, match="count 1 is 1000: a strip 168 pixels wide holds 1 to 42"):
        digitsum.open_data(folder)


def test_strips_that_take_too_much_memory_are_refused(
    scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_folders, "MAX_HELD", 12 * 40 * 84)
    assert len(digitsum.open_data(scans)) == 12
    monkeypatch.setattr(picture_folders, "MAX_HELD", 12 * 40 * 84 - 1)
    with pytest.raises(DataError, match=r"12 strips as wide as 00000.png, 84 pixels, take 40,320"):
        digitsum.open_data(scans)


def test_a_picture_has_one_strip() -> None:
    folder = lay("file,sum\n0.tif,1\n")
    page = Image.fromarray(np.full((40, 60), 9, np.uint8))
    page.save(folder / "0.tif", save_all=True, append_images=[page])
    with pytest.raises(DataError, match=r"0.tif gives 2 strips"):
        digitsum.open_data(folder)


def test_a_dim_strip_is_not_written_as_a_picture(made: Composition) -> None:
    dim = Composition(made.images // 4, made.sums, made.truth)
    with pytest.raises(DataError, match=r"new/00000.png would not be read as the strip that it is"):
        write_pictures(dim, Path("new"))
    assert not Path("new").exists()


def test_names_are_in_order_however_many() -> None:
    assert names_of_pictures(2) == ["00000.png", "00001.png", "sums.csv"]
    assert names_of_pictures(100_001)[:2] == ["000000.png", "000001.png"]


def test_labels_of_a_folder_are_a_csv(scans: Path) -> None:
    with pytest.raises(UsageError, match=r"for a folder of pictures it is a \.csv"):
        digitsum.open_data(scans, "sums.npy")
    with pytest.raises(UsageError, match="or one folder of pictures"):
        digitsum.open_data([scans, "builtin"], "sums.csv")


def test_synth_writes_pictures_that_eval_reads() -> None:
    result = ok("synth", "new", "--strips", 8, "--per-strip", "1-3", "--pictures", "--seed", 4)
    assert "wrote 8 strips of 40 x 126 pixels in 8 pictures to new" in result.stderr
    assert sorted(p.name for p in Path("new").iterdir()) == names_of_pictures(8)
    ok("synth", "arrays", "--strips", 8, "--per-strip", "1-3", "--seed", 4)
    arrays, pictures = digitsum.open_data("arrays"), digitsum.open_data("new")
    assert arrays.fingerprint == pictures.fingerprint
    np.testing.assert_array_equal(arrays.counts, pictures.counts)
    document = json.loads(ok("eval", "reader", "--data", "new", "--json").stdout)
    assert document["splits"]["data"]["count"] == 8
    assert "digit_accuracy" in document["splits"]["data"]


def test_synth_does_not_mix_pictures_with_others(scans: Path, folder: Path) -> None:
    again = run("synth", scans, "--strips", 3, "--pictures")
    assert (again.exit_code, "scans holds 00000.png" in again.stderr) == (2, True)
    fewer = run("synth", scans, "--strips", 3, "--pictures", "--overwrite")
    assert (fewer.exit_code, "4 new files would not replace" in fewer.stderr) == (2, True)
    mixed = run("synth", folder, "--strips", 3, "--pictures", "--overwrite")
    assert (mixed.exit_code, "holds data0.npy" in mixed.stderr) == (2, True)
    both = run("synth", "new", "--pictures", "--files", 2)
    assert (both.exit_code, "each strip has a file of its own" in both.stderr) == (2, True)
    ok("synth", scans, "--strips", 12, "--pictures", "--overwrite")


def test_pictures_come_all_or_none(made: Composition, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(few(made, 3), Path("new"))
    there = {path.name: path.read_bytes() for path in Path("new").iterdir()}
    saved = []

    def save(image: Image.Image, stream: object, format: str) -> None:
        saved.append(image)
        if len(saved) > 2:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", save)
        with pytest.raises(OutputError, match=r"new/00002.png: No space left"):
            write_pictures(few(made, 3), Path("new"))
    assert {path.name: path.read_bytes() for path in Path("new").iterdir()} == there
    with pytest.raises(OutputExistsError):
        write_pictures(few(made, 3), Path("new"), overwrite=False)
