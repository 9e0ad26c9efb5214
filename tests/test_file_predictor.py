"""What is left out of folders, and files that cannot be read among others."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import noise, ok, run
from PIL import Image
from typer.testing import CliRunner

import digitsum
from digitsum.cli import app
from digitsum.datasets.folders import matching
from digitsum.datasets.synthesis import Composition, write
from digitsum.errors import DataError
from digitsum.inference import LoadedModel, load_model


@pytest.fixture(scope="module")
def reader() -> LoadedModel:
    return load_model("reader", "cpu")


@pytest.fixture
def scans(made: Composition) -> Path:
    """Three pictures, and what lies beside them."""
    folder = Path("scans")
    folder.mkdir()
    for number in (1, 2, 10):
        Image.fromarray(made.images[number]).save(folder / f"{number}.png")
    return folder


def test_what_a_folder_leaves_out_is_said_in_one_line(scans: Path) -> None:
    clean = ok("predict", scans)
    (scans / "notes.txt").write_text("x")
    (scans / "x.npy").write_text("x")
    (scans / "more").mkdir()
    (scans / ".DS_Store").touch()
    (scans / "._1.png").write_bytes(b"\0\5\x16\7")
    result = ok("predict", scans)
    assert result.stdout == clean.stdout
    assert "left out" not in clean.stderr
    (line,) = (line for line in result.stderr.splitlines() if "left out" in line)
    assert line.startswith(
        "scans: left out 2 files (notes.txt, x.npy), 2 hidden files (.DS_Store, ._1.png), "
        "1 folder (more); read are pictures (PNG,"
    )


def test_a_folder_of_hidden_pictures_has_none() -> None:
    Path("empty").mkdir()
    Path("empty/._1.png").write_bytes(b"\0\5\x16\7")
    result = run("predict", "empty")
    assert result.exit_code == 1
    assert "empty is a folder without pictures (PNG, " in result.stderr


def break_a_picture(scans: Path) -> None:
    (scans / "2.png").write_bytes((scans / "2.png").read_bytes()[:60])


def lay_a_pointer(scans: Path) -> None:
    (scans / "2.png").write_text("version https://git-lfs.github.com/spec/v1")


def lay_a_pipe(scans: Path) -> None:
    (scans / "2.png").unlink()
    os.mkfifo(scans / "2.png")


def lay_a_broken_link(scans: Path) -> None:
    (scans / "2.png").unlink()
    (scans / "2.png").symlink_to("gone.png")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (break_a_picture, "is not a readable picture"),
        (lay_a_pointer, "is a Git LFS pointer"),
        (lay_a_pipe, "is a pipe or a device"),
        (lay_a_broken_link, "does not exist"),
    ],
)
@pytest.mark.parametrize("by_name", [True, False])
def test_one_broken_picture_ends_nothing_but_the_exit_code(
    scans: Path, spoil: object, words: str, by_name: bool
) -> None:
    given = [scans / f"{number}.png" for number in (1, 2, 10)] if by_name else [scans]
    whole = ok("predict", *given).stdout.splitlines()
    spoil(scans)  # type: ignore[operator]
    result = run("predict", *given)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [line for line in whole if "scans/2.png" not in line]
    *_, left_out, last = [line for line in result.stderr.splitlines() if "left out" in line]
    assert left_out.startswith(f"left out: scans/2.png {words}")
    assert last == "error: 1 file left out (scans/2.png), the others predicted"
    assert run("predict", *given, "--out", "sums.csv").exit_code == 1
    assert Path("sums.csv").read_text() == result.stdout


def test_strips_that_the_model_does_not_take_are_left_out_too(project: Path) -> None:
    np.save("wide.npy", np.zeros((2, 40, 50), np.uint8))
    result = run("predict", "strips/data0.npy", "wide.npy", "gone.npy", "--model", "a.pt")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 51
    assert "left out: wide.npy: strips are 50 pixels wide" in result.stderr
    assert "left out: gone.npy does not exist" in result.stderr
    assert "error: 2 files left out (wide.npy, gone.npy)" in result.stderr


def test_python_raises_unless_it_is_asked_to_skip(reader: LoadedModel, scans: Path) -> None:
    (scans / "2.png").write_text("x")
    (scans / "notes.txt").touch()
    with pytest.raises(DataError, match=r"2\.png is not a readable picture"):
        digitsum.predict_files(reader, scans)
    found = digitsum.predict_files(reader, scans, skip_broken=True)
    assert [chunk.file for chunk in found] == ["scans/1.png", "scans/10.png"]
    assert list(found.broken) == ["scans/2.png"]
    assert isinstance(found.broken["scans/2.png"], DataError)
    assert len(found.notes) == 1
    with pytest.raises(DataError, match=r"^scans/2\.png is not"):
        digitsum.predict_files(reader, scans / "2.png", skip_broken=True)


@pytest.mark.slow
def test_what_a_data_folder_leaves_out_is_said_by_every_command(project: Path) -> None:
    images, sums = noise()
    np.save("strips/data_1.npy", images)
    np.save("strips/lab_1.npy", sums)
    said = (
        "strips: left out 2 files (data_1.npy, lab_1.npy); read are dataN.npy with their labN.npy"
    )
    assert list(digitsum.open_data("strips").notes) == [said]
    for command in (
        "eval a.pt",
        "eval a.pt --data strips --json",
        "compare a.pt b.pt --data strips",
        "train --arch cnn --epochs 1 --data strips --out new.pt",
    ):
        assert ok(*command.split()).stderr.splitlines().count(said) == 1, command


def test_a_folder_of_pairs_and_truths_leaves_nothing_out(folder: Path) -> None:
    data = digitsum.open_data(folder)
    assert list(data.notes) == []


def test_a_folder_without_pictures_gives_its_arrays(made: Composition) -> None:
    write(made, Path("set"), files=2, counts=True)
    np.save("set/more.npy", made.images[:3])
    Path("set/.hidden.npy").touch()
    names = ["set/data0.npy", "set/data1.npy", "set/more.npy"]
    result = ok("predict", "set")
    assert result.stdout == ok("predict", *names).stdout
    (line,) = (line for line in result.stderr.splitlines() if "left out" in line)
    assert line.startswith("set: left out 6 files (count0.npy, count1.npy, lab0.npy, …), 1 hidden")
    assert line.endswith("read are the .npy files of strips")


def test_a_pattern_names_files_in_numeric_order(scans: Path) -> None:
    by_name = ok("predict", scans / "1.png", scans / "2.png", scans / "10.png").stdout
    assert ok("predict", "scans/*.png").stdout == by_name
    assert ok("predict", "**/[0-9]*.png").stdout == by_name
    found = digitsum.predict_files("reader", "scans/?.png")
    assert [str(file.path) for file in found.files] == ["scans/1.png", "scans/2.png"]


@pytest.mark.parametrize(
    "pattern", ["**", "**/*", "**/*.png", "deep/**/*.png", "de*/**/x/*", "**/x/**/*.png", "**/**/*"]
)
def test_any_folders_are_those_that_python_finds(pattern: str, tmp_path: Path) -> None:
    for name in ("1.png", "deep/2.png", "deep/x/10.png", "deep/x/[y]/3.png", ".hid/x/4.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = matching(tmp_path / pattern)
    names = glob.glob(str(tmp_path / pattern), recursive=True)  # noqa: PTH207
    assert set(found) == {path for path in map(Path, names) if path.is_file()}
    assert len(found) == len(set(found)) > 0


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_any_folders_are_not_followed_through_links(scans: Path) -> None:
    for name in ("a", "b", "c"):
        (scans / name).symlink_to(scans.resolve(), target_is_directory=True)
    expected = {scans / "1.png", scans / "2.png", scans / "10.png"}
    assert expected <= set(matching(Path("**/*.png")))
    assert len(matching(Path("**/*.png"))) == len(matching(Path("scans/*.png")))
    assert scans / "a" / "1.png" in matching(Path("scans/a/**/*.png"))  # a link that is named


def test_a_file_of_the_very_name_of_a_pattern_wins(scans: Path) -> None:
    (scans / "10.png").rename(scans / "[12].png")
    rows = ok("predict", "scans/[12].png").stdout.splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["scans/[12].png"]


def test_a_pattern_without_a_match_is_left_out_like_a_file(scans: Path) -> None:
    result = run("predict", "none/*.png", scans)
    assert result.exit_code == 1
    assert "left out: none/*.png does not exist, and as a pattern no" in result.stderr
    assert len(result.stdout.splitlines()) == 4


def test_what_a_pattern_names_is_not_written_over(made: Composition) -> None:
    np.save("a.npy", made.images[:2])
    result = run("predict", "*.npy", "--out", "a.npy", "--overwrite")
    assert (result.exit_code, "belongs to what the command reads" in result.stderr) == (2, True)
    np.testing.assert_array_equal(np.load("a.npy"), made.images[:2])


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_paths_come_from_stdin(scans: Path, ending: str, mark: str) -> None:
    odd = scans / "an ï.png"
    (scans / "2.png").rename(odd)
    text = mark + ending.join(["scans/1.png", "", str(odd)])
    expected = ok("predict", scans / "10.png", scans / "1.png", odd).stdout
    listed = CliRunner().invoke(app, ["predict", "scans/10.png", "-"], input=text.encode())
    assert listed.exit_code == 0, listed.output
    assert listed.stdout == expected


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff" * 100])
def test_stdin_without_paths_is_wrong_usage(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("digitsum.cli.loading.MOST_BYTES", 99)
    result = CliRunner().invoke(app, ["predict", "-"], input=content)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: -: stdin holds ")
    twice = CliRunner().invoke(app, ["predict", "-", "-"], input=b"a.npy")
    assert (twice.exit_code, "- is given twice" in twice.stderr) == (2, True)
