"""`predict --annotate` on odd pictures, and onto what must not be written over."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import at_most, ok, run
from PIL import Image

from digitsum.checkpoint_paths import bundled_path
from digitsum.datasets.pictures import colour_size
from digitsum.datasets.synthesis import Composition
from digitsum.errors import DataError
from digitsum.files import run_lock


def test_what_is_read_is_not_drawn_over(made: Composition) -> None:
    Image.fromarray(made.images[0]).save("a.png")
    Path("b.png").write_bytes(b"broken")  # it is left out, and an input all the same
    shutil.copy(bundled_path("reader"), "model.png")
    for out in ("a.png", "b.png", "model.png"):
        before = Path(out).read_bytes()
        words = ("predict", "a.png", "b.png", "--model", "model.png", "--overwrite")
        result = run(*words, "--annotate", out)
        assert (result.exit_code, "belongs to what the command reads" in result.stderr) == (2, True)
        assert not result.stdout  # no header of rows that never come
        assert Path(out).read_bytes() == before


def test_many_pictures_take_one_lock(made: Composition) -> None:
    Path("in").mkdir()
    for number in range(40):
        Image.fromarray(made.images[number]).save(f"in/{number}.png")
    few = len(list(Path("/proc/self/fd").iterdir())) + 20
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
    try:
        ok("predict", "in", "--annotate", "out")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    assert len(list(Path("out").iterdir())) == 40
    with run_lock(Path("out/set")):
        result = run("predict", "in", "--annotate", "out", "--overwrite")
    assert (result.exit_code, "another run is writing out" in result.stderr) == (2, True)


def test_a_folder_that_cannot_be_used_is_not_left(made: Composition) -> None:
    for name in ("in/1.png", "other/1.png"):
        Path(name).parent.mkdir()
        Image.fromarray(made.images[0]).save(name)
    assert run("predict", "in", "other", "--annotate", "out").exit_code == 2
    assert not Path("out").exists()


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "I;16"])
def test_a_picture_that_takes_much_memory_in_colour_is_refused_before_it_is_read(
    mode: str,
) -> None:
    Image.new(mode, (7_000, 6_000)).save("large.png")
    with at_most(1_000_000), pytest.raises(DataError, match=r"bytes to draw into \(7,000 x 6,000"):
        colour_size(Path("large.png"))


def test_a_wide_picture_is_drawn_into_with_a_text_that_fits() -> None:
    wide = np.full((100, 60_000), 255, np.uint8)
    wide[40:60, 100:8_000:30] = 0  # 264 ones
    Image.fromarray(wide).save("wide.png")
    with at_most(100_000_000):
        ok("predict", "wide.png", "--digits-per-strip", "any", "--annotate", "read.png")
    Image.new("L", (70_000, 60), 255).save("wide.png")
    result = run("predict", "wide.png", "--annotate", "read.jpg")
    assert (result.exit_code, "a JPEG has at most 65,500" in result.stderr) == (2, True)
