from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from digitsum.errors import RecipeError
from digitsum.models import ARCHITECTURES, architecture, resolve_options
from digitsum.recipe import Recipe, merge_sources, names


def cnn(**keys: Any) -> Recipe:
    return Recipe.from_dict({"arch": "cnn", **keys})


def written(text: str) -> Path:
    path = Path("recipe.yaml")
    path.write_text(text)
    return path


def test_each_source_beats_those_before_it() -> None:
    file = written("arch: cnn\nbatch_size: 8\nepochs: 8\nlr: 0.8\n")
    keys = merge_sources(
        file, ["epochs=5", "epochs=4", "lr=0.4"], {"lr": 0.2, "seed": 0, "epochs": None}
    )
    got = Recipe.from_dict(keys)
    assert (got.optimizer, got.batch_size, got.epochs, got.lr) == ("adam", 8, 4, 0.2)


def test_a_variant_is_named_and_a_file_of_its_name_beats_it() -> None:
    fast = Recipe.from_dict(merge_sources(Path("fast"), ["seed=3"]))
    assert (fast.arch, fast.epochs, fast.seed, fast.warp) == ("reader", 2, 3, 0.0)
    assert fast.options["size"] == "small"
    assert names() == ["cnn", "reader", "resnet"]  # a variant is no architecture
    Path("fast").write_text("arch: cnn\n")
    assert Recipe.from_dict(merge_sources(Path("fast"))).arch == "cnn"


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_a_recipe_survives_dict_and_yaml(arch: str) -> None:
    own = {"guide": 0.5} if arch == "reader" else {"loss": "l1"}
    recipe = Recipe.from_dict({"arch": arch, "lr": 0.02, "limit": 7, **own})
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert Recipe.from_dict(merge_sources(written(yaml.safe_dump(recipe.to_dict())))) == recipe


@pytest.mark.parametrize(
    ("setting", "value"),
    [("lr=1e-3", 0.001), ("lr=1", 1.0), ("epochs=1e2", 100), ("limit=null", None)],
)
def test_yaml_values_take_the_type_of_their_key(setting: str, value: Any) -> None:
    got = getattr(
        Recipe.from_dict(merge_sources(settings=["arch=cnn", setting])), setting.split("=")[0]
    )
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("key", "hint"), [("epoch", " (did you mean 'epochs'?)"), ("learning_rate", "")]
)
def test_an_unknown_key_names_the_nearest_and_the_known_ones(key: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        cnn(**{key: 1})
    known = ", ".join(sorted(cnn().to_dict()))
    assert str(caught.value) == f"unknown recipe key '{key}' for cnn{hint}: known are {known}"


FROM_1, SEED = "a whole number from 1 up", "a whole number in 0..4294967295"


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("epochs", 0, "a whole number in 1..10000"),
        ("epochs", 2.5, "a whole number"),
        ("epochs", "many", "a whole number"),
        ("epochs", True, "a whole number"),
        ("epochs", None, "a whole number"),
        ("batch_size", -1, FROM_1),
        ("optimizer", "sgd", "adam, adamw or muon"),
        ("optimizer", ["adam"], "text"),
        ("lr", 0.0, "a number above 0"),
        ("lr", float("nan"), "a number above 0"),
        ("lr", float("inf"), "a number above 0"),
        ("lr", True, "a number"),
        ("lr", None, "a number"),
        ("weight_decay", -0.1, "a number from 0 up"),
        ("schedule", "cosine", "constant or one_cycle"),
        ("seed", 2**32, SEED),
        ("seed", None, "a whole number"),
        ("split_seed", -1, SEED),
        ("limit", 0, FROM_1 + ", or null"),
        ("precision", "fp16", "auto, fp32 or bf16"),
        ("device", 1, "text"),
    ],
)
def test_a_bad_value_is_refused_with_key_value_and_rule(key: str, value: Any, allowed: str) -> None:
    with pytest.raises(RecipeError) as caught:
        cnn(**{key: value})
    said, _, rule = str(caught.value).partition(" is not allowed: it must be ")
    assert said == f"{key}: {value!r}"
    assert rule.startswith(allowed)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [("dropout", "half", "a number"), ("loss", 3, "text"), ("focal_beta", None, "a number")],
)
def test_an_option_is_checked_by_its_annotation(key: str, value: Any, allowed: str) -> None:
    with pytest.raises(RecipeError, match=f"{key}: .* is not allowed: it must be {allowed}"):
        resolve_options(cnn(**{key: value}))
    assert resolve_options(cnn(dropout="1e-1")).options["dropout"] == 0.1


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("epochs", np.int64(3), 3),
        ("epochs", np.float64(3), 3),
        ("batch_size", np.array([16, 32])[1], 32),
        ("lr", np.float32(0.5), 0.5),
        ("lr", np.longdouble(0.5), 0.5),
        ("lr", Fraction(1, 2), 0.5),
        ("lr", np.array(0.5), 0.5),
        ("limit", np.uint8(7), 7),
        ("optimizer", np.str_("adamw"), "adamw"),
        ("dropout", np.float16(0.25), 0.25),
        ("loss", np.array(["mse", "l1"])[1], "l1"),
    ],
)
def test_numbers_and_texts_of_numpy_become_pythons(key: str, given: Any, value: Any) -> None:
    kept = resolve_options(cnn(**{key: given})).to_dict()[key]
    assert (type(kept), kept) == (type(value), value)
    options = Recipe(np.str_("cnn"), options={"dropout": np.float32(0.5)}).options
    assert type(options["dropout"]) is float


def test_what_numpy_has_is_refused_as_pythons_would_be() -> None:
    for key, given, said in (
        ("epochs", np.bool_(True), "True is not allowed: it must be a whole number"),
        ("epochs", np.array([1, 2]), r"\[1, 2\] is not allowed: it must be a whole number"),
        ("lr", np.complex64(1), "is not allowed: it must be a number"),
        ("epochs", np.int64(0), r"0 is not allowed: it must be a whole number in 1\.\.10000"),
    ):
        with pytest.raises(RecipeError, match=f"{key}: .*{said}"):
            cnn(**{key: given})


def test_keys_are_given_flat_and_the_rest_is_the_recipes() -> None:
    recipe = Recipe(arch="cnn", epochs=5, dropout=0.2)
    assert (recipe.epochs, recipe.lr, recipe.options["dropout"]) == (5, 0.001, 0.2)
    assert replace(recipe, lr=0.5).options == recipe.options
    with pytest.raises(RecipeError, match="unknown recipe key 'epoch' for cnn"):
        Recipe(arch="cnn", epoch=5)


@pytest.mark.parametrize(("key", "power"), [("lr", 400), ("seed", 5000)])
def test_a_number_beyond_all_bounds_is_refused_without_being_spelt_out(
    key: str, power: int
) -> None:
    with pytest.raises(RecipeError, match=f"{key}: a number of that size is not allowed"):
        cnn(**{key: 10**power})


@pytest.mark.parametrize("arch", [None, "vgg", ["cnn"]])
def test_an_architecture_that_is_not_there_lists_those_that_are(arch: Any) -> None:
    with pytest.raises(RecipeError, match="cnn, reader, resnet"):
        Recipe.from_dict({"arch": arch})


TEXTS = ["lr: [1", "lr: a: b", "lr: \0", "- lr", "lr", "", "1: 2", "a: 1\n---\nb: 2", "[1]: 3"]
MISTAGGED = ["x: !!bool maybe", "x: !!int ''", "x: !!timestamp now"]  # no YAMLError of PyYAML's


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [*TEXTS, *MISTAGGED, "lr: 1 #" + "x" * 1_000_000, "x: " + "[" * 5_000],
    ids=lambda text: text[:16],
)
def test_a_file_that_is_no_recipe_is_refused_by_name(text: str) -> None:
    path = written(text)
    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        merge_sources(path)


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read_is_refused_by_name(name: str) -> None:
    with pytest.raises(RecipeError, match=f"recipe {name} cannot be read"):
        merge_sources(Path(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        *("lr", "=1", "lr=[1", "lr=a: b: c"),
        "lr=!!int ''",
        "lr=" + "[" * 5_000,
    ],
    ids=lambda setting: setting[:16],
)
def test_a_bad_setting_is_refused(setting: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        merge_sources(settings=[setting])


def test_python_objects_in_yaml_are_never_made() -> None:
    attack = "!!python/object/apply:os.system ['mkdir executed']"
    for file, settings in ((written(f"lr: {attack}"), []), (None, [f"lr={attack}"])):
        with pytest.raises(RecipeError):
            merge_sources(file, settings)
    assert not Path("executed").exists()
    yaml.unsafe_load(attack)
    assert Path("executed").exists()  # so the attack is a real one


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("cnn", {"loss": "focal_l1", "dropout": 0.5, "focal_beta": 0.2, "focal_gamma": 1.0}),
        ("resnet", {"loss": "mse", "first_conv": "sum"}),
    ],
)
def test_the_shipped_recipes_are_the_technical_reports(arch: str, options: dict[str, Any]) -> None:
    recipe = Recipe.from_dict({"arch": arch})
    assert (recipe.optimizer, recipe.lr, recipe.weight_decay) == ("adam", 0.001, 0.0)
    assert (recipe.batch_size, recipe.epochs, recipe.schedule) == (32, 50, "constant")
    assert recipe.weights == ("imagenet" if arch == "resnet" else "none")
    assert options.items() <= recipe.options.items()


def test_every_architecture_has_a_recipe_that_names_all_its_options() -> None:
    assert names() == sorted(ARCHITECTURES)
    for name in names():
        options = set(inspect.signature(architecture(name)).parameters) - {"width"}
        assert options == set(Recipe(name).options)


@pytest.mark.parametrize("module", ["digitsum.recipe", "digitsum.models"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'torchvision', 'numpy', 'sklearn'}"
    code = f"import sys, {module}; print(*{heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
