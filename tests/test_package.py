"""The package as a whole: what it loads, what it says of itself, how its processes end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import digitsum

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "numpy", "scipy", "sklearn", "yaml", "filelock", "rich.progress")


def python(*args: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=120, check=False, **kwargs
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "",
        "train",
        "eval",
        "predict",
        "compare",
        "synth",
        "report",
        "draw",
        "info",
        "recipes",
        "export",
    ],
)
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        "import sys; from digitsum.cli import app\n"
        f"try: app({[*command.split(), '--help']!r})\n"
        f"finally: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    assert python("-c", code).stderr == "[]\n"


@pytest.mark.slow
def test_predict_loads_torch_and_little_else() -> None:
    np.save("strip.npy", np.zeros((1, 40, 168), np.uint8))
    code = (
        "import sys; from digitsum.cli import app\n"
        "try: app(['predict', 'strip.npy', '--out', 'out.csv'])\n"
        "finally: print([m for m in ('torch', 'torchvision', 'scipy', 'sklearn')"
        " if m in sys.modules])"
    )
    assert python("-c", code).stdout == "['torch']\n"


def test_public_names_are_sorted_and_load_on_first_use() -> None:
    assert digitsum.__all__ == sorted(digitsum.__all__)
    assert set(digitsum.__all__) <= set(dir(digitsum))
    for name in digitsum.__all__:
        assert getattr(digitsum, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'sum'"):
        digitsum.sum  # noqa: B018


def test_the_newest_version_in_the_changelog_is_this_one() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == digitsum.__version__


def test_errors_are_drawn_as_they_are() -> None:
    from digitsum import errors

    drawn = re.findall(r"(\w+Error)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(n for n in vars(errors) if n.endswith("Error"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["ctrl-c", "sigterm", "sighup"],
)
def test_a_stopped_training_says_how_to_resume(folder: Path, number: int, code: int) -> None:
    command = ["train", "--arch", "cnn", "--epochs", "1000", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "digitsum", *command, "--data", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not Path("cnn.last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code, stderr
    assert stdout == ""
    assert stderr.splitlines()[-1] == "stopped; resume with: digitsum train --resume cnn.last.pt"
    assert "Traceback" not in stderr
    assert sorted(path.name for path in Path().glob("*.*pt*")) == ["cnn.last.pt", "cnn.pt"]


@pytest.mark.slow
def test_wrong_usage_exits_2_and_a_failure_1() -> None:
    assert python("-m", "digitsum", "train", "--epochs", "many").returncode == 2
    failed = python("-m", "digitsum", "eval", "gone.pt")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "error: gone.pt does not exist: give the path of a checkpoint\n"


def built(kind: str, folder: Path) -> Path:
    """The wheel or the source distribution of this checkout."""
    pytest.importorskip("build", reason="build is not installed")
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    command = ["build", f"--{kind}", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = python("-m", *command)
    assert done.returncode == 0, done.stderr
    (made,) = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    return made


@pytest.mark.slow
def test_a_wheel_is_small_whole_and_runs_on_its_own(tmp_path: Path) -> None:
    wheel = built("wheel", tmp_path)
    assert wheel.stat().st_size < 5_000_000
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in ("weights/reader.pt", "weights/README.md", "recipes/cnn.yaml", "py.typed",
                   "report/page.html", "draw/page.html", "draw/page.js",
                   "draw/page.css"):  # fmt: skip
        assert f"digitsum/{needed}" in names
    python("-m", "zipfile", "-e", str(wheel), str(tmp_path / "site"))
    np.save("strip.npy", np.zeros((1, 40, 168), np.uint8))
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import digitsum.cli\n"
        "print(digitsum.__file__, file=sys.stderr); digitsum.cli.app(['predict', 'strip.npy'])"
    )
    done = python("-c", code)
    assert str(tmp_path / "site") in done.stderr
    assert done.stdout.startswith("file,index,line,sum,value")


@pytest.mark.slow
def test_the_source_distribution_carries_what_its_tests_read(tmp_path: Path) -> None:
    archive = built("sdist", tmp_path)
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    place = archive.with_name(archive.name.removesuffix(".tar.gz"))
    names = {path.name for path in place.iterdir()}
    assert {"README.md", "Makefile", "benchmarks", "docs", "scripts", "studies", "tests"} <= names
    assert not {".ci", ".github", ".venv", "demo"} & names
    assert not list(place.rglob("*.last.pt"))
    done = python(
        "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist",
        "tests/test_documents.py", "tests/test_studies.py", "tests/test_checkpoint.py", cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
