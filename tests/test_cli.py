"""The commands: a thin layer, so a thin test; then wrong input, one line and an exit code each."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from digitsum import __version__
from digitsum.cli import app
from digitsum.datasets.arrays import StripSet
from digitsum.inference import BATCH, part_rows
from digitsum.recipe import Recipe
from digitsum.training import train


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def ok(*args: object) -> Result:
    result = run(*args)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Two small checkpoints of strips/, which `project` lays out."""
    folder = tmp_path_factory.mktemp("trained")
    made = _strips()
    for name, seed in (("a", 0), ("b", 1)):
        recipe = Recipe.from_dict({"arch": "cnn", "epochs": 1, "seed": seed, "device": "cpu"})
        train(recipe, StripSet(["strips"], [made[0]], made[1]), folder / f"{name}.pt")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def project(trained: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder as a person has it: strips/ with one pair, and two checkpoints trained on it."""
    images, sums = _strips()
    (tmp_path / "strips").mkdir()
    np.save("strips/data0.npy", images)
    np.save("strips/lab0.npy", sums)
    for name, content in trained.items():
        Path(name).write_bytes(content)
    return tmp_path


def _strips() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (50, 40, 42), np.uint8), rng.integers(0, 10, 50)


def test_version_and_help() -> None:
    assert ok("--version").stdout == f"digitsum {__version__}\n"
    for command in ("train", "eval", "predict", "compare", "synth"):
        assert command in ok("--help").stdout
        assert "Usage: " in ok(command, "--help").stdout


def test_the_main_job() -> None:
    ok("synth", "strips", "--strips", 60, "--per-strip", 1, "--files", 2)
    assert sorted(p.name for p in Path("strips").iterdir()) == [
        "data0.npy", "data1.npy", "lab0.npy", "lab1.npy", "truth0.npz", "truth1.npz",
    ]  # fmt: skip
    result = ok("train", "--arch", "cnn", "--epochs", 2, "--data", "strips", "--device", "cpu")
    assert result.stderr.count("val loss") == 2  # off a terminal, a line an epoch and no bar
    assert "validation strips (selected on)" in result.stdout
    scores = json.loads(ok("eval", "cnn.pt", "--json").stdout)
    assert (scores["model"], scores["arch"]) == ("cnn.pt", "cnn")
    assert {name: split["count"] for name, split in scores["splits"].items()} == {
        "train": 48, "val": 12,
    }  # fmt: skip
    assert "48" in ok("eval", "cnn.pt").stdout
    lines = ok("predict", "strips/data0.npy", "--model", "cnn.pt").stdout.splitlines()
    assert lines[0] == "index,sum,value,confidence,digits,columns,file"
    assert len(lines) == 31
    assert lines[1].startswith("0,")
    assert lines[1].endswith(",,,,strips/data0.npy")


def test_resume_says_when_nothing_is_left(project: Path) -> None:
    result = ok("train", "--resume", "a.last.pt")
    assert "finished run of 1 epochs" in result.stderr
    assert run("train", "--resume", "a.last.pt", "--epochs", 9).exit_code == 2


def test_compare_shows_both_on_the_validation_part(project: Path) -> None:
    document = json.loads(ok("compare", "a.pt", "b.pt", "--json").stdout)
    assert (document["split"], document["count"]) == ("val", 10)
    assert [m["model"] for m in document["models"]] == ["a.pt", "b.pt"]
    exact = [m["exact_accuracy"] for m in document["models"]]
    (pair,) = document["pairs"]
    assert pair["difference"] == pytest.approx(exact[0] - exact[1])
    assert pair["ci95"][0] <= pair["difference"] <= pair["ci95"][1]
    assert "McNemar" in ok("compare", "a.pt", "b.pt", "a.pt", "--data", "strips").stdout


def test_other_strips_are_shown_as_data_and_known_ones_are_told(project: Path) -> None:
    np.save("data.npy", np.load("strips/data0.npy")[:20])
    np.save("lab.npy", np.load("strips/lab0.npy")[:20])
    result = ok("eval", "a.pt", "--data", "data.npy")
    assert "strips given" in result.stdout
    assert "was trained on" in result.stderr
    np.save("elsewhere.npy", np.load("strips/data0.npy").astype(np.float32) / 255)
    moved = ok("eval", "a.pt", "--data", "elsewhere.npy", "--labels", "strips/lab0.npy", "--json")
    assert set(json.loads(moved.stdout)["splits"]) == {"train", "val"}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "npy"])
def test_predict_writes_every_form_with_the_same_sums(project: Path, suffix: str) -> None:
    ok("predict", "strips/data0.npy", "strips/data0.npy", "--model", "a.pt", "--out", f"r.{suffix}")
    text = Path(f"r.{suffix}")
    if suffix == "npy":
        sums = np.load(text).tolist()
    elif suffix == "csv":
        sums = [int(line.split(",")[1]) for line in text.read_text().splitlines()[1:]]
    else:
        lines = text.read_text().splitlines()
        rows = (
            json.loads(text.read_text())["readings"] if suffix == "json" else map(json.loads, lines)
        )
        rows = list(rows)
        assert [row["index"] for row in rows] == [*range(50), *range(50)]
        assert rows[0]["confidence"] is None
        sums = [row["sum"] for row in rows]
    values = ok("predict", "strips/data0.npy", "--model", "a.pt").stdout.splitlines()[1:]
    assert sums == 2 * [round(float(line.split(",")[2])) for line in values]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npy"])
def test_parts_one_after_the_other_are_the_whole(project: Path, suffix: str) -> None:
    np.save("many.npy", np.tile(np.load("strips/data0.npy"), (13, 1, 1)))
    command = ["predict", "many.npy", "strips/data0.npy", "--model", "a.pt", "--out"]
    ok(*command, f"whole.{suffix}")
    parts = [f"part{i}.{suffix}" for i in (1, 2, 3)]
    for number, name in enumerate(parts, 1):
        ok(*command, name, "--part", f"{number}/3")
    if suffix == "npy":
        joined, whole = np.concatenate([np.load(name) for name in parts]), np.load("whole.npy")
        assert np.array_equal(joined, whole)
    else:
        assert (
            "".join(Path(name).read_text() for name in parts) == Path(f"whole.{suffix}").read_text()
        )


@given(
    counts=st.lists(st.integers(1, 3000), min_size=1, max_size=4),
    parts=st.integers(1, 20),
)
def test_parts_hold_every_strip_once_and_are_cut_between_batches(
    counts: list[int], parts: int
) -> None:
    rows = [part_rows(counts, part, parts) for part in range(1, parts + 1)]
    for file, count in enumerate(counts):
        own = [r[file] for r in rows]
        assert [row for part in own for row in part] == list(range(count))
        assert all(part.start % BATCH == 0 for part in own if len(part))
    batches = [sum(-(-len(r) // BATCH) for r in part) for part in rows]
    assert max(batches) - min(batches) <= 1


def test_predict_without_a_model_names_the_checkpoints_it_sees(project: Path) -> None:
    result = ok("predict", "strips/data0.npy")
    assert "weights that ship with digitsum (reader); --model takes a.pt, b.pt too" in result.stderr


def _payload(path: str) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return Path.touch, (Path("executed"),)  # type: ignore[return-value]

    Path(path).write_bytes(pickle.dumps(Payload()))


def _payload_in_torch_format(path: str) -> None:
    torch.save({"format": 1}, path)
    _payload("payload.pkl")
    with zipfile.ZipFile(path) as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in names.items():
            payload = name.endswith("data.pkl")
            archive.writestr(name, Path("payload.pkl").read_bytes() if payload else content)
    Path("payload.pkl").unlink()


def _data(**arrays: np.ndarray) -> Callable[[], None]:
    def lay() -> None:
        images, sums = _strips()
        np.save("data9.npy", arrays.get("images", images))
        np.save("lab9.npy", arrays.get("sums", sums), allow_pickle=True)

    return lay


def _pixel(value: float) -> np.ndarray:
    images = _strips()[0].astype(np.float32)
    images[3, 4, 5] = value
    return images


def _write(path: str, content: bytes | str) -> Callable[[], object]:
    return lambda: Path(path).write_bytes(content.encode() if isinstance(content, str) else content)


TRAIN9 = "train --arch cnn --epochs 1 --out new.pt --data data9.npy"
SUMS = _strips()[1]

# command; what lies there before it; exit code; words that the line on stderr must hold
BAD = [
    ("train --arch cnn --data nowhere", None, 1, "nowhere does not exist"),
    (TRAIN9 + " --labels strips/lab0.npy", _write("data9.npy", "text"), 1, "not a readable .npy"),
    (TRAIN9, _data(images=np.zeros((50, 41, 42), np.uint8)), 1, "strips are 40 rows high"),
    (TRAIN9, _data(images=_pixel(np.nan)), 1, "NaN or infinite"),
    (TRAIN9, _data(images=_pixel(-1)), 1, "pixels from -1 to"),
    (TRAIN9, _data(images=np.zeros((0, 40, 42), np.uint8)), 1, "holds no strips"),
    (TRAIN9, _data(sums=SUMS[:-1]), 1, "holds 49 labels for the 50 strips"),
    (TRAIN9, _data(sums=SUMS - 5), 1, "whole and not negative"),
    (TRAIN9, _data(sums=SUMS + 0.5), 1, "whole and not negative"),
    (TRAIN9, _data(sums=np.array([Path("x")] * 50)), 1, "not a readable .npy array"),
    ("train --arch cnn --data mnist --labels strips/lab0.npy", None, 2, "--labels goes with one"),
    ("train --arch lstm", None, 2, "choose from cnn, reader, resnet"),
    ("train", None, 2, "no architecture: give --arch, one of cnn, reader, resnet"),
    ("train --arch cnn --set droput=0.1", None, 2, "did you mean 'dropout'"),
    ("train --arch cnn --set weights=none", None, 2, "unknown recipe key 'weights' for cnn"),
    ("train --arch cnn --weights none", None, 2, "unknown recipe key 'weights' for cnn"),
    ("train --arch cnn --epochs 0", None, 2, "epochs: 0 is not allowed"),
    ("train --arch cnn --lr -1", None, 2, "lr: -1.0 is not allowed"),
    ("train --arch cnn --set dropout=1.5 --data strips --out n.pt", None, 2, "dropout"),
    ("train --arch cnn --set loss=l3 --data strips --out n.pt", None, 2, "choose from focal_l1"),
    ("train --arch cnn --recipe r.yaml", _write("r.yaml", "epochs: [1"), 2, "is not YAML"),
    ("train --arch cnn --recipe r.yaml", None, 2, "r.yaml cannot be read"),
    ("train --arch cnn --out a.pt --data strips", None, 2, "a.pt exists: choose another name"),
    ("train --arch cnn --out gone/x.pt", None, 2, "create the folder gone first"),
    ("train --arch cnn --out x.model", None, 2, "name a checkpoint ….pt"),
    ("train --arch cnn --device tpu --data strips --out n.pt", None, 2, "choose from auto, cpu"),
    ("train --arch resnet --weights w.pth --data strips", None, 1, "w.pth cannot be read"),
    ("train --arch resnet --weights a.pt --data strips", None, 1, "not a ResNet-50"),
    ("train --arch reader --weights a.pt --data strips --out n.pt", None, 1, "do not fit a reader"),
    ("train --arch reader --set digits_per_strip=0 --data strips --out n.pt", None, 2, "in 1..11"),
    ("train --arch reader --set restarts=-1 --data strips --out n.pt", None, 2, "restarts: -1"),
    ("eval reader", None, 1, "give --data"),
    ("train --resume a.pt", None, 2, "goes on from its ….last.pt"),
    ("train --resume gone.last.pt", None, 1, "gone.last.pt does not exist"),
    ("eval gone.pt", None, 1, "gone.pt does not exist"),
    ("eval bad.pt", _write("bad.pt", "damaged"), 1, "bad.pt"),
    ("eval bad.pt", _write("bad.pt", b""), 1, "bad.pt cannot be read"),
    ("eval bad.pt", lambda: _payload("bad.pt"), 1, "bad.pt"),
    ("eval bad.pt", lambda: _payload_in_torch_format("bad.pt"), 1, "never loads"),
    ("eval bad.pt", lambda: torch.save({"a": 1}, "bad.pt"), 1, "has no format number"),
    ("eval a.pt --data builtin", None, 1, "this model was trained on 42"),
    ("eval a.pt", lambda: np.save("strips/lab0.npy", SUMS + 1), 1, "fingerprint"),
    ("predict gone.npy --model a.pt --out r.csv", None, 1, "gone.npy does not exist"),
    ("predict data9.npy --model a.pt --out r.csv", _data(images=_pixel(np.inf)), 1, "NaN"),
    ("predict wide.npy --model a.pt --out r.csv",
     lambda: np.save("wide.npy", np.zeros((3, 40, 50), np.uint8)), 1, "wide.npy: strips are 50"),
    ("predict strips/data0.npy --model a.pt --out r.txt", None, 2, "name it .csv"),
    ("predict strips/data0.npy --model a.pt --out r.csv --format jsonl", None, 2, "csv and jsonl"),
    ("predict strips/data0.npy --model a.pt --digits-per-strip 0", None, 2, "from 1 up, or any"),
    ("predict strips/data0.npy --model reader --digits-per-strip 12", None, 1, "in 11 columns"),
    ("predict strips/data0.npy --model a.pt --part 3/2", None, 2, "--part 3/2: give I/N"),
    ("predict strips/data0.npy --model a.pt --part 1", None, 2, "--part 1: give I/N"),
    ("predict strips/data0.npy --model a.pt --part 1/2 --json", None, 2, "give --format jsonl"),
    ("compare a.pt --data strips", None, 2, "two or more"),
    ("synth strips", None, 2, "strips holds data0.npy"),
    ("train --resume a.last.pt --arch resnet", None, 2, "arch resnet differs from the run's cnn"),
    ("train --arch cnn --data strips --out " + "x" * 300 + ".pt", None, 2, "too long"),
    ("predict strips/data0.npy --model a.pt --digits-per-strip ²", None, 2, "from 1 up, or any"),
    ("synth new --strips 1000000000000000", None, 1, "out of memory"),
    ("synth new --strips 2 --files 3", None, 2, "2 strips cannot be spread over more files"),
    ("synth new --seed 1 --per-strip 999", None, 2, "width 41958 is too large"),
    ("train --arch cnn --data " + "x" * 300, None, 1, "too long"),
    ("predict strips/data0.npy --model a.pt --out /dev/null --overwrite --format csv", None, 2,
     "folder or a device"),
    ("synth a.pt", None, 2, "a.pt is a file"),
    ("synth new --per-strip 4-2", None, 2, "the fewest first"),
    ("synth new --per-strip many", None, 2, "give a number of digits"),
    ("synth new --width 100", None, 2, "4 digits need 168 columns"),
    ("synth new --digits nowhere", None, 1, "digits.npy cannot be read"),
    ("synth new --digits mnist --mnist-root nowhere", None, 1, "no MNIST in nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "before", "code", "words"), BAD, ids=[row[0] for row in BAD])
def test_bad_input_is_one_line_and_writes_nothing(
    project: Path, command: str, before: Callable[[], object] | None, code: int, words: str
) -> None:
    if before is not None:
        before()
    there = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    result = run(*command.split())
    assert isinstance(result.exception, SystemExit), result.exception  # no traceback
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert result.stdout == ""
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == there


def test_names_in_brackets_are_no_markup(project: Path) -> None:
    folder = Path("x[")
    folder.mkdir()
    path = folder / "b].pt"
    path.write_bytes(Path("a.pt").read_bytes())
    assert "x[/b].pt" in ok("eval", path, "--data", "strips").stdout


def test_predict_says_how_many_strips_the_model_knows(project: Path) -> None:
    result = ok("predict", "strips/data0.npy", "--model", "a.pt")
    assert "trained on 40 of these very strips" in result.stderr
    assert "selected on 10 of these very strips" in result.stderr


def test_debug_shows_the_traceback(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITSUM_DEBUG", "1")
    assert isinstance(run("eval", "gone.pt").exception, ValueError)
