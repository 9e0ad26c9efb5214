"""The commands: a thin layer, so a thin test. Wrong input is in test_bad_input.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ok, run
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from digitsum import __version__
from digitsum.cli import _show_warning, app
from digitsum.cli.options import from_recipes
from digitsum.cli.writers import kind
from digitsum.device import CPU_BATCH
from digitsum.errors import DataWarning
from digitsum.file_predictor import shard_rows
from digitsum.recipe import Recipe, names


@pytest.mark.slow
def test_version_and_help() -> None:
    assert ok("--version").stdout == f"digitsum {__version__}\n"
    for command in ("train", "eval", "predict", "compare", "synth"):
        assert command in ok("--help").stdout
        assert "Usage: " in ok(command, "--help").stdout


def test_every_option_says_what_it_is_and_its_default() -> None:
    for name, command in get_command(app).commands.items():
        for option in command.params:
            if option.param_type_name == "option" and option.name != "help":
                assert option.help, (name, option.opts)
                said = option.is_flag or option.show_default or option.default is not None
                assert said, (name, option.opts)


@pytest.mark.parametrize("key", ["epochs", "batch_size", "lr", "weights"])
def test_the_help_of_train_has_the_numbers_of_the_recipes(key: str) -> None:
    expected = {name: Recipe(name).to_dict()[key] for name in names()}
    said = from_recipes(key)
    assert said == ", ".join(f"{name} {value}" for name, value in expected.items())
    (option,) = (p for p in get_command(app).commands["train"].params if p.name == key)
    assert option.show_default == said


@pytest.mark.slow
def test_the_main_job() -> None:
    ok("synth", "strips", "--strips", 60, "--per-strip", 1, "--files", 2)
    assert sorted(p.name for p in Path("strips").iterdir()) == [
        "data0.npy", "data1.npy", "lab0.npy", "lab1.npy", "truth0.npz", "truth1.npz",
    ]  # fmt: skip
    result = ok("train", "--arch", "cnn", "--epochs", 2, "--data", "strips", "--device", "cpu")
    assert result.stderr.count("val loss") == 2  # off a terminal, a line an epoch and no bar
    assert "used for checkpoint selection" in result.stdout
    scores = json.loads(ok("eval", "cnn.pt", "--json").stdout)
    assert (scores["model"], scores["arch"]) == ("cnn.pt", "cnn")
    assert {name: split["count"] for name, split in scores["splits"].items()} == {
        "train": 48, "val": 12,
    }  # fmt: skip
    assert "48" in ok("eval", "cnn.pt").stdout
    lines = ok("predict", "strips/data0.npy", "--model", "cnn.pt").stdout.splitlines()
    assert lines[0] == "file,index,line,sum,value,confidence,count_probability,digits,positions"
    assert len(lines) == 31
    assert lines[1].startswith("strips/data0.npy,0,")
    assert lines[1].endswith(",,,")


def test_resume_says_when_nothing_is_left(project: Path) -> None:
    result = ok("train", "--resume", "a.last.pt")
    assert "finished run of 1 epoch:" in result.stderr
    assert run("train", "--resume", "a.last.pt", "--epochs", 9).exit_code == 2


@pytest.mark.slow
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
    assert "given" in result.stdout
    assert "was trained on" in result.stderr
    np.save("elsewhere.npy", np.load("strips/data0.npy").astype(np.float32) / 255)
    moved = ok("eval", "a.pt", "--data", "elsewhere.npy", "--labels", "strips/lab0.npy", "--json")
    assert set(json.loads(moved.stdout)["splits"]) == {"train", "val"}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "npy"])
def test_predict_writes_every_form_with_the_same_sums(project: Path, suffix: str) -> None:
    ok("predict", "strips/data0.npy", "strips/data0.npy", "--model", "a.pt", "--out", f"r.{suffix}")
    text = Path(f"r.{suffix}")
    if suffix == "npy":
        sums = np.load(text).tolist()
    elif suffix == "csv":
        sums = [int(line.split(",")[3]) for line in text.read_text().splitlines()[1:]]
    else:
        lines = text.read_text().splitlines()
        rows = (
            json.loads(text.read_text())["predictions"]
            if suffix == "json"
            else map(json.loads, lines)
        )
        rows = list(rows)
        assert [row["index"] for row in rows] == [*range(50), *range(50)]
        assert rows[0]["confidence"] is None
        sums = [row["sum"] for row in rows]
    values = ok("predict", "strips/data0.npy", "--model", "a.pt").stdout.splitlines()[1:]
    assert sums == 2 * [round(float(line.split(",")[4])) for line in values]


@pytest.mark.parametrize(("out", "format", "form"), [
    ("O.CSV", None, "csv"), ("o.JsonL", None, "jsonl"), ("O.NPY", None, "npy"),
    ("o.JSON", None, "json"), ("o.txt", "csv", "csv"), (None, None, "csv"),
])  # fmt: skip
def test_a_suffix_says_what_to_write_in_any_case(
    out: str | None, format: str | None, form: str
) -> None:
    assert kind(Path(out) if out else None, format, False) == form


@pytest.mark.slow
def test_a_checkpoint_in_capitals_can_be_resumed(project: Path) -> None:
    command = ("train", "--arch", "cnn", "--epochs", 1, "--data", "strips", "--device", "cpu")
    ok(*command, "--out", "A.PT")
    assert {"A.PT", "A.last.PT"} <= {path.name for path in Path().iterdir()}
    assert "nothing is left to do" in ok("train", "--resume", "A.last.PT").stderr
    assert "--model takes A.PT, a.pt, b.pt too" in ok("predict", "strips/data0.npy").stderr


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
def test_unsure_readings_are_marked(project: Path, suffix: str) -> None:
    ok("predict", "strips/data0.npy", "--out", "all.json")
    rows = json.loads(Path("all.json").read_text())["predictions"]
    sure = [row["confidence"] * row["count_probability"] for row in rows]
    least = sorted(sure)[len(sure) // 2]  # about half of them are surer
    out = Path(f"marked.{suffix}")
    result = ok("predict", "strips/data0.npy", "--min-confidence", least - 1e-6, "--out", out)
    text = out.read_text()
    if suffix == "csv":
        marked = [line.endswith(",true") for line in text.splitlines()[1:]]
        assert text.splitlines()[0].endswith(",positions,confident")
    elif suffix == "jsonl":
        marked = [json.loads(line)["confident"] for line in text.splitlines()]
    else:
        marked = [row["confident"] for row in json.loads(text)["predictions"]]
    assert marked == [probability >= least - 1e-6 for probability in sure]
    assert (
        f"{marked.count(False)} of {len(sure)} predictions below a confidence of" in result.stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npy"])
def test_parts_one_after_the_other_are_the_whole(project: Path, suffix: str) -> None:
    np.save("many.npy", np.tile(np.load("strips/data0.npy"), (13, 1, 1)))
    command = ["predict", "many.npy", "strips/data0.npy", "--model", "a.pt", "--out"]
    ok(*command, f"whole.{suffix}")
    parts = [f"part{i}.{suffix}" for i in (1, 2, 3)]
    for number, name in enumerate(parts, 1):
        ok(*command, name, "--shard", f"{number}/3")
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
    rows = [shard_rows(counts, part, parts, CPU_BATCH) for part in range(1, parts + 1)]
    for file, count in enumerate(counts):
        own = [r[file] for r in rows]
        assert [row for part in own for row in part] == list(range(count))
        assert all(part.start % CPU_BATCH == 0 for part in own if len(part))
    batches = [sum(-(-len(r) // CPU_BATCH) for r in part) for part in rows]
    assert max(batches) - min(batches) <= 1


def test_predict_without_a_model_names_the_checkpoints_it_sees(project: Path) -> None:
    result = ok("predict", "strips/data0.npy")
    assert "bundled weights (reader); --model takes a.pt, b.pt too" in result.stderr


def test_names_in_brackets_are_no_markup(project: Path) -> None:
    folder = Path("x[")
    folder.mkdir()
    path = folder / "b].pt"
    path.write_bytes(Path("a.pt").read_bytes())
    assert "x[/b].pt" in ok("eval", path, "--data", "strips").stdout


def test_predict_says_how_many_strips_the_model_knows(project: Path) -> None:
    result = ok("predict", "strips/data0.npy", "--model", "a.pt")
    assert "trained on 40 of these strips" in result.stderr
    assert "10 of these strips were used for checkpoint selection of a.pt" in result.stderr


LONG = "9" * 5000  # digits, of which `int` takes 4,300


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "strips/data0.npy", "--shard", f"{LONG}/{LONG}"),
        ("predict", "strips/data0.npy", "--shard", "٣/٤"),
        ("predict", "strips/data0.npy", "--digits-per-strip", LONG),
        ("predict", "strips/data0.npy", "--device", f"cuda:{LONG}"),
        ("synth", "made", "--per-strip", LONG), ("synth", "made", "--per-strip", f"1-{LONG}"),
        ("synth", "made", "--strips", LONG), ("draw", "--port", LONG),
        ("train", "--arch", "cnn", "--epochs", LONG),
        ("train", "--arch", "cnn", "--set", f"epochs={LONG}"),
        ("train", "--arch", "cnn", "--set", f"epochs=0x{LONG}"),
        ("train", "--arch", "cnn", "--set", f"loss=[0x{LONG}]"),
        ("train", "--set", f"arch=0x{LONG}"), ("train", "--recipe", "long.yaml"),
    ],
    ids=lambda command: " ".join(command)[:40],
)  # fmt: skip
def test_a_number_of_thousands_of_digits_is_wrong_usage(
    project: Path, command: tuple[str, ...]
) -> None:
    Path("long.yaml").write_text(f"arch: 0x{LONG}\n")
    ended = run(*command)
    assert ended.exit_code == 2, ended.exception
    assert ended.stderr.splitlines()[-1].lower().startswith("error: ")
    assert len(ended.stderr.splitlines()) in (1, 4)  # Typer says how a command is used besides


@pytest.mark.parametrize(
    "command",
    [
        ("{}",), ("recipes", "cnn", "{}"), ("train", "--{}"), ("predict", "x", "--format", "{}"),
        ("recipes", "{}"), ("eval", "{}"), ("train", "--arch", "{}:A"), ("train", "--recipe", "{}"),
        ("train", "--arch", "cnn", "--set", "{}=1"), ("train", "--arch", "cnn", "--set", "loss={}"),
        ("predict", "{}"), ("predict", "x", "--shard", "{}"), ("predict", "x", "--device", "{}"),
        ("synth", "x", "--per-strip", "{}"), ("train", "--arch", "cnn", "--data", "{}"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_was_typed_does_nothing_to_a_terminal(command: tuple[str, ...]) -> None:
    odd = "\x1b]0;title\x07\x1b]52;c;cm0=\x07\x9b2J\u202e\u2028\u200b\udce9"
    ended = run(*(word.format(odd) for word in command))
    assert ended.exit_code in (1, 2), ended.exception
    assert ended.stderr.replace("\n", "").isprintable(), ended.stderr


def test_a_warning_does_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for category in (DataWarning, UserWarning):
        _show_warning("\x1b]0;title\x07\u202e", category, "\x1b.py", 1)
    assert capsys.readouterr().err.replace("\n", "").isprintable()


def test_debug_shows_the_traceback(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITSUM_DEBUG", "1")
    assert isinstance(run("eval", "gone.pt").exception, ValueError)
