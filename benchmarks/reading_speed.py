"""Reading speed of the net alone, of the whole command, and of character recognition beside it.

The reader's net beside the same net run plainly (float32, NCHW), and `digitsum predict` beside its
bare forward passes.

Usage: python benchmarks/reading_speed.py [--strips 100000] [--ocr 50] [--precision int8]

OCR engines read the digits in a strip, their sum is taken; those that are not installed are left
out (pip install easyocr, pip install pytesseract and the tesseract program).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from measuring import in_turn, median_ratio, printed_by, show, write
from numpy.typing import NDArray

from digitsum.cli import options
from digitsum.cli.memory import keep_freed
from digitsum.datasets import open_data
from digitsum.datasets.arrays import StripSet
from digitsum.inference import BATCH, LoadedModel, load_model
from digitsum.models import restore

NET = ("ours", "plain")
PASS = 256  # strips in a forward pass of the net alone


def measure(
    model: Annotated[str, typer.Option(help="A checkpoint, or reader.")] = "reader",
    strips: Annotated[int, typer.Option(help="For the whole command.")] = 100_000,
    ocr: Annotated[int, typer.Option(help="Strips for OCR; 0 leaves it out.")] = 50,
    rounds: int = 7,
    data: options.Data = None,
    mnist_root: options.MnistRoot = None,
    precision: options.Precision = "auto",
    side: Annotated[
        str | None, typer.Option(help="The net alone, ours or plain: prints its strips/s.")
    ] = None,
) -> None:
    found = open_data(data or ["builtin"], None, mnist_root)
    if side is not None:
        print(forward(model, found, side, precision))
        return
    speeds = in_turn({s: printed_by(*sys.argv, "--side", s) for s in NET}, rounds)  # as this one
    row = {name: sorted(values)[rounds // 2] for name, values in speeds.items()}
    row["ours / plain"] = median_ratio(speeds["ours"], speeds["plain"])
    show("the net alone, strips/s", [row])
    keep_freed()
    loaded = load_model(model, precision=precision)
    document = {
        "model": model,
        "on": str(loaded.compute),
        "forward": row,
        "exported": exported(loaded, found, rounds),
        "command": command(loaded, found, strips),
        "ocr": recognition(loaded, found, ocr) if ocr else None,
    }
    write(f"reading_speed_{loaded.compute.precision}", document)


def forward(model: str, data: StripSet, side: str, precision: str) -> float:
    """Strips per second of the net, batches of 256; ours keeps freed memory, as the program does.

    Plain is the same net in float32 and NCHW, batch norm and all.
    """
    pixels = torch.from_numpy(data.images()[:PASS])
    loaded = load_model(model, precision=precision)
    if side == "ours":
        keep_freed()

        def run() -> None:
            with loaded.compute.autocast():
                loaded.module(loaded.compute.strips(pixels))
    else:
        kept, strips = loaded.checkpoint, pixels.unsqueeze(1).float() / 255
        plain = restore(kept.arch, data.width, loaded.recipe.options, kept.weights)

        def run() -> None:
            plain(strips)

    a_pass = timed(run)
    return PASS / statistics.median([a_pass() for _ in range(12)][2:])


def exported(loaded: LoadedModel, data: StripSet, rounds: int) -> dict[str, object] | None:
    """One batch of 256 read to the end, sums and digits, by torch and by onnxruntime in turn."""
    try:
        import onnxruntime

        from digitsum.onnx import export
    except ImportError as error:
        print(f"onnxruntime is left out: {error}")
        return None
    strips, count = data.images()[:PASS], loaded.recipe.digits_per_strip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with TemporaryDirectory() as folder:
        export(load_model(loaded.name, "cpu", "fp32"), Path(folder) / "model.onnx", count)
        session = onnxruntime.InferenceSession(
            f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"]
        )
    sides = {
        "torch": timed(lambda: loaded.read(strips, count)),
        "onnxruntime": timed(lambda: session.run(None, {"strips": strips})),
    }
    in_turn(sides, 2)
    seconds = in_turn(sides, rounds)
    row = {name: PASS / statistics.median(values) for name, values in seconds.items()}
    row["torch / onnxruntime"] = median_ratio(seconds["onnxruntime"], seconds["torch"])
    show("reading to the end, strips/s", [row])
    return dict(row)


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """Seconds that a call takes."""

    def side() -> float:
        begun = time.perf_counter()
        with torch.inference_mode():
            run()
        return time.perf_counter() - begun

    return side


def command(loaded: LoadedModel, data: StripSet, count: int) -> dict[str, object]:
    """`digitsum predict` as a process, start and all, beside forward passes over its strips."""
    images = data.images()
    images = np.tile(images, (-(-count // len(images)), 1, 1))[:count]
    with TemporaryDirectory() as folder:
        np.save(f"{folder}/strips.npy", images)
        begun = time.perf_counter()
        arguments = ["predict", f"{folder}/strips.npy", "--model", loaded.name]
        arguments += ["--precision", loaded.compute.precision]
        subprocess.run(
            [sys.executable, "-m", "digitsum", *arguments, "--out", f"{folder}/readings.csv"],
            check=True,
        )
        whole = time.perf_counter() - begun
    begun = time.perf_counter()
    with torch.inference_mode(), loaded.compute.autocast():
        for pixels in torch.split(torch.from_numpy(images), BATCH):
            loaded.module(loaded.compute.strips(pixels))
    bare = time.perf_counter() - begun
    row: dict[str, object] = {"strips": count, "predict, s": whole, "bare, s": bare}
    row["predict / bare"] = whole / bare
    show("the whole command", [row])
    return row


def recognition(loaded: LoadedModel, data: StripSet, count: int) -> list[dict[str, object]]:
    """Seconds a strip and exact sums of each way to read, on the same strips."""
    images, sums = data.images()[:count], data.sums[:count]
    rows = []
    for name, read in engines(loaded).items():
        read(images[:2])  # loads what it needs
        begun = time.perf_counter()
        found = read(images)
        seconds = (time.perf_counter() - begun) / count
        exact = 100 * float(np.mean(found == sums))
        rows.append({"engine": name, "seconds a strip": seconds, "exact %": exact})
    for row in rows:
        row["times ours"] = row["seconds a strip"] / rows[0]["seconds a strip"]
    show(f"reading {count} strips", rows)
    return rows


Engine = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


def engines(loaded: LoadedModel) -> dict[str, Engine]:
    """Those that are here, ours first."""
    found: dict[str, Engine] = {
        "digitsum": lambda images: loaded.read(images, loaded.recipe.digits_per_strip).sum
    }
    try:
        import easyocr

        reader = easyocr.Reader(["en"], gpu=torch.cuda.is_available(), verbose=False)
        found["easyocr"] = lambda images: np.array(
            [
                added("".join(reader.readtext(image, detail=0, allowlist="0123456789")))
                for image in images
            ]
        )
    except Exception as error:  # not installed, or its models are out of reach
        print(f"easyocr is left out: {error}")
    try:
        import pytesseract
        from PIL import Image

        pytesseract.get_tesseract_version()
        os.environ["OMP_THREAD_LIMIT"] = str(torch.get_num_threads())
        settings = "--psm 7 -c tessedit_char_whitelist=0123456789"
        found["tesseract"] = lambda images: np.array(
            [
                added(pytesseract.image_to_string(Image.fromarray(255 - image), config=settings))
                for image in images
            ]
        )
    except Exception as error:
        print(f"tesseract is left out: {error}")
    return found


def added(text: str) -> int:
    """Sum of the digits in a text."""
    return sum(int(c) for c in text if c.isdecimal())


if __name__ == "__main__":
    typer.run(measure)
