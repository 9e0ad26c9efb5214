"""Prediction speed: the net alone, an exported model, the whole command, and OCR beside it.

The reader's net is compared with the same net run plainly (float32, NCHW), and `digitsum predict`
with its bare forward passes.

Usage: python benchmarks/reading_speed.py [--strips 100000] [--ocr 50] [--precision int8]
       python benchmarks/reading_speed.py --only-ocr --ocr 500

OCR engines read the digits in a strip, and their sum is taken. Engines that are not installed are
left out (pip install easyocr; pip install pytesseract and the tesseract program; pip install
rapidocr-onnxruntime).
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
from typing import Annotated, Any

import numpy as np
import torch
import typer
from measuring import in_turn, median_ratio, printed_by, show, write
from numpy.typing import NDArray
from rapid_ocr import Rapid

from digitsum.cli import options
from digitsum.cli.malloc import keep_freed
from digitsum.datasets import open_data
from digitsum.datasets.strips import StripSet
from digitsum.inference import LoadedModel, load_model
from digitsum.models import architecture, restore

NET = ("ours", "plain")
PASS = 256  # strips in a forward pass of the net alone


def measure(
    model: Annotated[str, typer.Option(help="A checkpoint, or reader.")] = "reader",
    strips: Annotated[int, typer.Option(help="Strips for the whole command.")] = 100_000,
    ocr: Annotated[int, typer.Option(help="Strips for OCR; 0 leaves it out.")] = 50,
    only_ocr: Annotated[
        bool, typer.Option("--only-ocr", help="OCR alone, into a JSON of its own.")
    ] = False,
    rounds: Annotated[int, typer.Option(help="Measurements of each side.")] = 7,
    data: options.Data = None,
    mnist_root: options.MnistRoot = None,
    precision: options.Precision = "auto",
    side: Annotated[
        str | None, typer.Option(help="Only the net, ours or plain: prints its strips/s.")
    ] = None,
) -> None:
    """Measures prediction speed."""
    found = open_data(data or "builtin", None, mnist_root)
    if side is not None:
        print(forward(model, found, side, precision))
        return
    if only_ocr:
        loaded = load_model(model, precision=precision)
        rows = recognition(loaded, found, ocr)
        write(
            f"recognition_{loaded.device.precision}",
            {"model": model, "on": str(loaded.device), "strips": ocr, "ocr": rows},
        )
        return
    # each side is this very command in another process
    speeds = in_turn({s: printed_by(*sys.argv, "--side", s) for s in NET}, rounds)
    row = {name: sorted(values)[rounds // 2] for name, values in speeds.items()}
    row["ours / plain"] = median_ratio(speeds["ours"], speeds["plain"])
    show("the net alone, strips/s", [row])
    keep_freed()
    loaded = load_model(model, precision=precision)
    document = {
        "model": model,
        "on": str(loaded.device),
        "forward": row,
        "exported": exported(loaded, found, rounds),
        "command": command(loaded, found, strips),
        "ocr": recognition(loaded, found, ocr) if ocr else None,
    }
    write(f"reading_speed_{loaded.device.precision}", document)


def forward(model: str, data: StripSet, side: str, precision: str) -> float:
    """Strips per second of the net in batches of 256.

    Ours keeps freed memory, as the program does. Plain is the same net in float32 and NCHW, with
    batch norm as layers of its own.
    """
    pixels = torch.from_numpy(data.images()[:PASS])
    loaded = load_model(model, precision=precision)
    if side == "ours":
        keep_freed()

        def run() -> None:
            with loaded.device.autocast():
                loaded.module(loaded.device.normalize(pixels))
    else:
        kept, strips = loaded.checkpoint, pixels.unsqueeze(1).float() / 255
        plain = restore(architecture(kept.arch), data.width, loaded.recipe.options, kept.weights)

        def run() -> None:
            plain(strips)

    a_pass = timed(run)
    return PASS / statistics.median([a_pass() for _ in range(12)][2:])


def exported(loaded: LoadedModel, data: StripSet, rounds: int) -> dict[str, object] | None:
    """Strips per second to the final sums and digits, by torch and by onnxruntime in turn."""
    try:
        import onnxruntime

        from digitsum.onnx import export
    except ImportError as error:
        print(f"onnxruntime is left out: {error}")
        return None
    strips, count = data.images()[:PASS], loaded.recipe.digits_per_strip
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    with TemporaryDirectory() as folder:
        export(load_model(loaded.name, "cpu", "fp32"), Path(folder) / "model.onnx", count)
        session = onnxruntime.InferenceSession(
            f"{folder}/model.onnx", settings, providers=["CPUExecutionProvider"]
        )
    sides = {
        "torch": timed(lambda: loaded.predict_strips(strips, count)),
        "onnxruntime": timed(lambda: session.run(None, {"strips": strips})),
    }
    in_turn(sides, 2)
    seconds = in_turn(sides, rounds)
    row = {name: PASS / statistics.median(values) for name, values in seconds.items()}
    row["torch / onnxruntime"] = median_ratio(seconds["onnxruntime"], seconds["torch"])
    show("predictions, sums and digits, strips/s", [row])
    return dict(row)


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """A side that gives the seconds that a call takes."""

    def side() -> float:
        begun = time.perf_counter()
        with torch.inference_mode():
            run()
        return time.perf_counter() - begun

    return side


def command(loaded: LoadedModel, data: StripSet, count: int) -> dict[str, object]:
    """`digitsum predict` as a whole process, beside forward passes over the same strips."""
    images = data.images()
    images = np.tile(images, (-(-count // len(images)), 1, 1))[:count]
    with TemporaryDirectory() as folder:
        np.save(f"{folder}/strips.npy", images)
        begun = time.perf_counter()
        arguments = ["predict", f"{folder}/strips.npy", "--model", loaded.name]
        arguments += ["--precision", loaded.device.precision]
        subprocess.run(
            [sys.executable, "-m", "digitsum", *arguments, "--out", f"{folder}/predictions.csv"],
            check=True,
        )
        whole = time.perf_counter() - begun
    begun = time.perf_counter()
    with torch.inference_mode(), loaded.device.autocast():
        for pixels in torch.split(torch.from_numpy(images), loaded.device.batch):
            loaded.module(loaded.device.normalize(pixels))
    bare = time.perf_counter() - begun
    row: dict[str, object] = {"strips": count, "predict, s": whole, "bare, s": bare}
    row["predict / bare"] = whole / bare
    show("the whole command", [row])
    return row


def recognition(loaded: LoadedModel, data: StripSet, count: int) -> list[dict[str, object]]:
    """Seconds for a strip and exact-match accuracy of each engine, on the same strips."""
    images, sums = data.images()[:count], data.sums[:count]
    rows: list[dict[str, Any]] = []
    for name, engine in engines(loaded).items():
        engine(images[:2])  # loads what it needs
        begun = time.perf_counter()
        found = engine(images)
        seconds = (time.perf_counter() - begun) / count
        exact = 100 * float(np.mean(found == sums))
        rows.append({"engine": name, "seconds a strip": seconds, "exact-match %": exact})
    for row in rows:
        row["times ours"] = row["seconds a strip"] / rows[0]["seconds a strip"]
    show(f"{count} strips by each engine", rows)
    return rows


Engine = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


def engines(loaded: LoadedModel) -> dict[str, Engine]:
    """The engines that are installed, ours first."""
    found: dict[str, Engine] = {"digitsum": lambda images: loaded.predict(images).sum}
    try:
        import easyocr

        reader = easyocr.Reader(["en"], gpu=torch.cuda.is_available(), verbose=False)
        found["easyocr"] = lambda images: np.array(
            [
                digit_sum("".join(reader.readtext(image, detail=0, allowlist="0123456789")))
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
                digit_sum(
                    pytesseract.image_to_string(Image.fromarray(255 - image), config=settings)
                )
                for image in images
            ]
        )
    except Exception as error:
        print(f"tesseract is left out: {error}")
    try:
        rapid = Rapid()
        found["rapidocr"] = lambda images: np.array([sum(rapid.strip(image)) for image in images])
    except Exception as error:
        print(f"rapidocr is left out: {error}")
    return found


def digit_sum(text: str) -> int:
    """The sum of the digits in a text."""
    return sum(int(c) for c in text if c.isdecimal())


if __name__ == "__main__":
    typer.run(measure)
