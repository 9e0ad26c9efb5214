"""Every architecture with every command and precision, and one from outside digitsum."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fit, ok, run

import digitsum
from digitsum import device
from digitsum.datasets.synthesis import write
from digitsum.errors import CheckpointError, RecipeError, UsageError
from digitsum.evaluation import speed
from digitsum.inference import load_model
from digitsum.models import ARCHITECTURES, architecture, architecture_of_checkpoint
from digitsum.models.int8 import is_supported
from digitsum.recipe import Recipe
from digitsum.training.resuming import StoppedRun

# A classifier of sums: it is no regressor, its outputs are no tensor, and it tells no digits.
OUTSIDE = '''
import torch
from torch import nn
from torch.nn import functional as F

from digitsum import Architecture, Predictions


class Classes(Architecture):
    """A linear layer on pooled pixels, one class for each sum."""

    def __init__(self, width: int, sums: int = 19, smoothing: float = 0.0, most: int | None = None):
        super().__init__(width)
        self.smoothing, self.most = smoothing, most
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d((4, 8)), nn.Flatten(), nn.Linear(32, sums))

    def forward(self, strips):
        return {"logits": self.layers(strips).float()}

    def loss(self, outputs, sums, progress):
        return F.cross_entropy(outputs["logits"], sums.long(), label_smoothing=self.smoothing)

    def predict(self, outputs, digits_per_strip=None):
        probabilities = outputs["logits"].softmax(-1)
        confidence, sums = probabilities.max(-1)
        value = probabilities @ torch.arange(probabilities.shape[1]).float()
        return Predictions(value=value.numpy(), sum=sums.numpy(), confidence=confidence.numpy())
'''
RECIPE = """
epochs: 2
batch_size: 8
optimizer: adam
lr: 0.01
weight_decay: 0.0
schedule: constant
smoothing: 0.1
"""
NAME = "outside:Classes"


def error(*args: object) -> tuple[int, str]:
    """Exit code of a command that fails, and its one line."""
    result = run(*args)
    assert isinstance(result.exception, SystemExit), result.exception  # no traceback
    (line,) = result.stderr.splitlines()
    return result.exit_code, line


@pytest.fixture(autouse=True)
def _nothing_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The outside module is imported by no other test, and this folder is not on the path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("outside", None)


@pytest.fixture
def outside() -> Path:
    """A folder with few strips, a module beside them, and its recipe."""
    made = digitsum.compose("builtin", strips=12, per_strip=(2, 2), seed=3)
    write(made, folder := Path("strips"), files=2)
    Path("outside.py").write_text(OUTSIDE)
    Path("outside.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint of each architecture, and the strips that they were trained on."""
    place = tmp_path_factory.mktemp("models")
    strips = digitsum.compose("builtin", strips=20, per_strip=(2, 2), seed=3).as_strips("strips")
    for arch in ARCHITECTURES:
        keys = {"arch": arch, "epochs": 1, "limit": 4, "device": "cpu", "precision": "fp32"}
        keys |= {"resnet": {"weights": "none"}, "reader": {"digits_per_strip": 2}}.get(arch, {})
        fit(Recipe.from_dict(keys), strips, place / f"{arch}.pt")
    return place


def training(arch: str) -> list[object]:
    """The words of a short training."""
    own: dict[str, list[object]] = {
        "resnet": ["--weights", "none"], "reader": ["--set", "digits_per_strip=2"],
    }  # fmt: skip
    short = ["--epochs", 1, "--limit", 4, "--out", "short.pt", "--data", "strips"]
    return ["train", "--arch", arch, *short, *own.get(arch, [])]


def commands(model: Path) -> dict[str, list[object]]:
    """One line for every command that loads a model."""
    return {
        "eval": ["eval", model, "--data", "strips", "--show-errors", 2],
        "predict": ["predict", "strips/data0.npy", "--model", model, "--out", "p.jsonl"],
        "compare": ["compare", model, model, "--data", "strips"],
        "report": ["report", model, "--data", "strips", "--out", "r.html"],
    }


def test_an_outside_architecture_needs_to_know_nothing_of_counts(outside: Path) -> None:
    made = digitsum.compose("builtin", strips=12, per_strip=(1, 3), seed=3)
    write(made, Path("varied"), files=1, counts=True)
    ok("train", "--arch", NAME, "--data", "varied", "--device", "cpu")
    ok("eval", "classes.pt", "--arch", NAME, "--data", "varied")
    found = digitsum.load("classes.pt").predict(made.images)
    counted = digitsum.load("classes.pt").predict(made.images, counts=made.counts)
    assert (counted.sum == found.sum).all()
    np.testing.assert_allclose(counted.value, found.value, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("arch", [*ARCHITECTURES, NAME])
def test_every_command_takes_every_architecture_and_precision(
    arch: str, precision: str, models: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jinja2", reason="the extra report is not installed")
    pytest.importorskip("starlette", reason="the extra draw is not installed")
    from digitsum.draw.server import _predict

    monkeypatch.setattr(device, "CPU_BATCH", 2)  # bf16 is emulated here and there
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "MOST_TIMED", 1)
    named: list[object] = ["--arch", NAME] if arch == NAME else []
    model = Path("classes.pt") if named else models / f"{arch}.pt"
    if named:
        ok("train", *named, "--data", "strips", "--device", "cpu")
    train = [*training(arch), "--device", "cpu", "--precision", precision]
    if precision == "int8":
        code, line = error(*train)
        assert (code, "precision: 'int8' is not allowed" in line) == (2, True)
    else:
        ok(*train)
    refused = precision == "int8" and (arch != "reader" or not is_supported())
    for command in commands(model).values():
        given = [*command, *named, "--device", "cpu", "--precision", precision]
        if refused:
            code, line = error(*given)
            assert code == 2
            assert "--precision int8" in line
        else:
            ok(*given)
    if refused:
        return
    rows = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    assert all((row["digits"] is not None) == (arch == "reader") for row in rows)
    page = Path("r.html").read_text()
    seen = {
        "reader": "in each column",
        "cnn": "its attention",
        "resnet": "whose change",
        NAME: "no map",
    }
    assert seen[arch] in page
    loaded = load_model(model, "cpu", precision, [NAME] if named else [])
    asked = {"model": "m", "digits": None, "strokes": [[[0, 0], [5, 60]], [[40, 0], [45, 60]]]}
    answer = _predict({"m": loaded}, asked)
    assert (answer["probabilities"] is not None) == (arch == "reader")
    assert (answer["strip"]["width"] == 84) == (arch != "reader")  # any width, or that of training


@pytest.mark.slow
def test_export_writes_what_it_can_and_refuses_the_rest(models: Path, outside: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    ok("export", models / "resnet.pt", "m.onnx")  # the others are in test_onnx.py
    assert Path("m.onnx").stat().st_size > 90_000_000
    ok("train", "--arch", NAME, "--data", "strips", "--device", "cpu")
    code, line = error("export", "classes.pt", "c.onnx", "--arch", NAME)
    said = "error: classes.pt cannot be exported: its architecture has no export"
    assert (code, line) == (2, said)


def test_an_outside_architecture_trains_resumes_and_is_named_again(outside: Path) -> None:
    result = ok("train", "--arch", NAME, "--data", "strips", "--device", "cpu")
    assert "outside:Classes, 627 parameters: 9 training" in result.stderr
    recipe = json.loads(ok("info", "classes.pt", "--json").stdout)["recipe"]
    assert (recipe["arch"], recipe["smoothing"], recipe["sums"]) == (NAME, 0.1, 19)
    assert "finished run" in ok("train", "--resume", "classes.last.pt", "--arch", NAME).stderr
    assert "given" not in ok("eval", "classes.pt", "--arch", NAME).stdout


@pytest.mark.slow
def test_a_checkpoint_imports_nothing_by_the_name_that_it_holds(outside: Path) -> None:
    ok("train", "--arch", NAME, "--data", "strips", "--device", "cpu")
    del sys.modules["outside"]
    Path("outside.py").write_text("raise SystemExit('imported')")
    for command in (
        *commands(Path("classes.pt")).values(),
        ["export", "classes.pt", "m.onnx"],
        ["draw", "classes.pt", "--port", 0],
        ["train", "--resume", "classes.last.pt"],
    ):
        code, line = error(*command)
        assert code == 1
        assert "does not import because a file says so" in line
        assert "name it with --arch outside:Classes" in line
    assert "outside" not in sys.modules


def test_in_python_an_import_is_enough(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path.cwd()))
    result = digitsum.train("strips", arch=NAME, epochs=1, device="cpu", smoothing=0.2)
    assert result.path == Path("classes.pt")
    model = digitsum.load("classes.pt")  # the module is imported by now
    assert model.recipe.options["smoothing"] == 0.2
    assert str(model.predict(np.load("strips/data0.npy"))[0]).count("confidence") == 1
    content = torch.load("classes.pt", weights_only=True)
    torch.save({**content, "arch": "outside:Other"}, "forged.pt")
    with pytest.raises(CheckpointError, match="its recipe is of another"):
        digitsum.load("forged.pt")


@pytest.mark.parametrize(
    ("arch", "named", "words"),
    [
        ("os:system", (), "does not import"),  # imported, but no architecture
        ("torch:nn", (), "does not import"),
        ("gone:Class", (), "does not import"),
        ("lstm", (), "unknown architecture 'lstm'"),
        (":", (), "unknown architecture"),
    ],
)
def test_what_a_checkpoint_may_name(arch: str, named: tuple[str, ...], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        architecture_of_checkpoint(arch, "x.pt", named)
    assert "gone" not in sys.modules


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lstm", "or name a class of your own as module:Class"),
        ("gone_module:Class", "cannot be imported: No module named"),
        ("os:path", "is no architecture: it must be a subclass of digitsum.Architecture"),
        ("os:nothing", "cannot be imported"),
    ],
)
def test_a_name_that_is_no_architecture_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        architecture(name)


@pytest.mark.slow
def test_an_outside_recipe_may_be_given_in_full_instead(outside: Path) -> None:
    Path("outside.yaml").rename("elsewhere.yaml")
    code, line = error("train", "--arch", NAME, "--data", "strips")
    assert code == 2
    assert re.search(r"no recipe beside it: put one into classes\.yaml .* missing: epochs", line)
    ok("train", "--arch", NAME, "--data", "strips", "--recipe", "elsewhere.yaml")
    Path("classes.yaml").write_text(RECIPE.replace("smoothing: 0.1", "smoothing: 0.3"))
    assert Recipe(NAME).options["smoothing"] == 0.3  # beside it, by the name of the class


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "smooth=0.1",
            "unknown recipe key 'smooth' for outside:Classes (did you mean 'smoothing'?)",
        ),
        ("smoothing=much", "smoothing: 'much' is not allowed: it must be a number"),
        ("sums=1.5", "sums: 1.5 is not allowed: it must be a whole number"),
        ("most=x", "most: 'x' is not allowed: it must be a whole number"),
        ("weights=reader", "weights: 'reader' is not allowed"),
    ],
)
def test_options_are_checked_by_the_annotations(outside: Path, setting: str, words: str) -> None:
    code, line = error("train", "--arch", NAME, "--data", "strips", "--set", setting)
    assert (code, words in line) == (2, True), line


def test_options_take_the_types_of_the_annotations(outside: Path) -> None:
    ok("train", "--arch", NAME, "--data", "strips", "--set", "most=null", "--set", "sums=2e1")
    recipe = json.loads(ok("info", "classes.pt", "--json").stdout)["recipe"]
    assert (recipe["most"], recipe["sums"]) == (None, 20)


def test_an_architecture_that_no_checkpoint_is_of_is_said(project: Path) -> None:
    Path("outside.py").write_text(OUTSIDE)
    code, line = error("eval", "a.pt", "--data", "strips", "--arch", NAME)
    assert code == 2
    assert line.endswith("--arch outside:Classes: no checkpoint here is of it, but of cnn")


def test_options_of_unknown_types_pass_and_missing_ones_are_named(outside: Path) -> None:
    from digitsum.models import check_options
    from digitsum.models.base import Architecture

    class Odd(Architecture):
        def __init__(self, width: int, needed: int, anything=None, either: int | str = 1) -> None:
            super().__init__(width)

        forward = loss = predict = None  # type: ignore[assignment]

    assert check_options(Odd, "odd", {"needed": "3", "anything": [1], "either": "x"}) == {
        "needed": 3, "anything": [1], "either": "x",
    }  # fmt: skip
    with pytest.raises(RecipeError, match="needed is missing: odd needs it"):
        check_options(Odd, "odd", {})


def test_a_stopped_outside_run_resumes_only_by_name(outside: Path) -> None:
    ok("train", "--arch", NAME, "--data", "strips", "--device", "cpu")
    del sys.modules["outside"]
    with pytest.raises(CheckpointError, match="does not import"):
        StoppedRun.open(Path("classes.last.pt"))
    assert StoppedRun.open(Path("classes.last.pt"), {"arch": NAME}).finished


@pytest.mark.slow
def test_a_module_here_never_hides_an_installed_one(outside: Path) -> None:
    Path("yaml.py").write_text("raise SystemExit('the wrong one')")
    Path("new.py").write_text(OUTSIDE)
    code = (
        "from digitsum.cli import app; app(['train', '--arch', 'new:Classes', '--data', 'strips', "
        "'--recipe', 'outside.yaml', '--device', 'cpu'])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11)
        else [sys.executable, "-I", "-c", code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path("classes.pt").exists()
