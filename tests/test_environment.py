"""info, recipes, and the JSON of all commands against its schemas."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from digitsum import __version__
from digitsum.cli import app
from digitsum.datasets import NAMES
from digitsum.recipe import names

SCHEMAS = Path(__file__).parents[1] / "docs" / "schemas"


def ok(*args: str) -> str:
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "command",
    [
        "eval a.pt",
        "eval reader --data builtin",
        "compare a.pt b.pt",
        "predict strips/data0.npy --model a.pt",
        "predict strips/data0.npy",
        "predict strips/data0.npy --min-confidence 0.9",
        "info",
        "info reader",
        "info a.last.pt",
    ],
)
def test_json_is_as_documented(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    monkeypatch.setitem(NAMES, "builtin", (100, 0))
    name = command.split()[0]
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    document = json.loads(ok(*command.split(), "--json"))
    validator(schema).validate(document)
    with pytest.raises(jsonschema.ValidationError):
        validator(schema).validate({**document, "more": 1})


def test_info_says_what_is_installed() -> None:
    found = json.loads(ok("info", "--json"))
    assert found["digitsum"] == __version__
    assert found["packages"]["torch"] == torch.__version__.split("+")[0]
    assert "cpu" in found["devices"]
    assert Path(found["weights"]["reader"]).is_file()
    assert f"torch         {found['packages']['torch']}" in ok("info")


@pytest.mark.usefixtures("project")
def test_info_of_a_checkpoint_and_its_history() -> None:
    found = json.loads(ok("info", "a.pt", "--json"))
    assert (found["arch"], found["parameters"], found["epochs_done"]) == ("cnn", 159_298, 1)
    assert (found["data"]["train"], found["data"]["val"], found["data"]["count"]) == (40, 10, 50)
    assert "exact_accuracy" in ok("info", "a.pt")
    (row,) = csv.DictReader(io.StringIO(ok("info", "a.pt", "--history")))
    assert (row["epoch"], row["best"]) == ("1", "true")  # as in the CSV of predict
    assert float(row["val_loss"]) > 0


def test_recipes_are_listed_and_printed_as_yaml() -> None:
    lines = ok("recipes").splitlines()
    assert [line.split()[0] for line in lines] == [*names(), "fast"]
    assert all(len(line) <= 80 for line in lines)
    for name in names():
        assert yaml.safe_load(ok("recipes", name))["arch"] == name
