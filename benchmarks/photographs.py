"""How photographs of handwriting are read, line by line, with the number of digits not known.

`photograph_maker` makes the pictures: a test set of MNIST's test digits, on which figures are
reported, and a development set of its training digits in another style, on which choices are made.

Usage: python benchmarks/photographs.py [--development] [--write FOLDER] [--ocr]
    [--name photographs]

With --ocr, RapidOCR reads the pictures as well. A line of its counts as right even if other lines
of the picture are lost or added; one of ours does not.
"""

from __future__ import annotations

import json
import statistics
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from measuring import show, write
from photograph_maker import DEVELOPMENT, KINDS, TEST, Picture, made
from rapid_ocr import Rapid, lines_right

from digitsum.cli import options
from digitsum.datasets.digits import load_digits
from digitsum.errors import DataError
from digitsum.file_predictor import predict_files
from digitsum.inference import LoadedModel, load_model

SURE = 0.9  # probability above which a wrong line counts as wrong yet sure


def measure(
    development: Annotated[
        bool, typer.Option("--development", help="On the development set.")
    ] = False,
    kind: Annotated[list[str] | None, typer.Option(help="Only these kinds.")] = None,
    only: Annotated[int, typer.Option(help="Pictures of each kind, at most.")] = 1000,
    mnist_root: options.MnistRoot = None,
    model: Annotated[str, typer.Option(help="A checkpoint, or reader.")] = "reader",
    name: Annotated[str, typer.Option(help="Name of the results; none are written if empty.")] = "",
    write_to: Annotated[
        Path | None, typer.Option("--write", help="Keep the pictures here, with truth.json.")
    ] = None,
    ocr: Annotated[bool, typer.Option("--ocr", help="RapidOCR beside it.")] = False,
) -> None:
    """Measures how photographs are read."""
    style = DEVELOPMENT if development else TEST
    source = load_digits(style.digits, mnist_root)
    loaded = load_model(model)
    rapid = recognizer() if ocr else None
    with TemporaryDirectory() as folder:
        place = write_to or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        rows, truth = [], {}
        for each in kind or KINDS:
            lines, beside = [], []
            for picture in made(style, each, source, only):
                picture.image.save(place / picture.name, quality=picture.quality)
                truth[picture.name] = picture.lines
                lines += lines_read(loaded, place / picture.name, picture)
                if rapid:
                    beside.append(recognized(rapid, place / picture.name, picture))
            rows.append(summary(each, lines) | (compared(beside) if beside else {}))
        (place / "truth.json").write_text(json.dumps(truth))
    show(f"{'development' if development else 'test'} set", rows)
    if name:
        write(name, {"digits": style.digits, "model": model, "kinds": rows})


def lines_read(model: LoadedModel, path: Path, picture: Picture) -> list[dict[str, Any]]:
    """What was made of each line of a picture. Lines too many or too few are all wrong."""
    start, error = time.perf_counter(), ""
    found: list[Any] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for chunk in predict_files(model, path, "any"):
                found += list(chunk.predictions)
    except DataError as refused:
        error = str(refused)
    seconds = time.perf_counter() - start
    lines = []
    for number, digits in enumerate(picture.lines):
        fits = number < len(found) and len(found) == len(picture.lines)
        right = fits and found[number].digits == digits
        lines.append(
            {
                "name": picture.name,
                "right": right,
                "sure": not right and number < len(found) and sureness(found[number]) > SURE,
                "found": len(found) == len(picture.lines),
                "seconds": seconds,
            }
        )
        if not right:
            seen = [(p.digits, round(sureness(p), 3)) for p in found]
            print(picture.name, "wrote", digits, "read", seen[number] if fits else seen, error)
    return lines


def recognizer() -> Rapid | None:
    """RapidOCR, if it is installed."""
    try:
        return Rapid()
    except Exception as error:
        print(f"rapidocr is left out: {error}")
        return None


def recognized(rapid: Rapid, path: Path, picture: Picture) -> tuple[int, int, float]:
    """Lines of a picture, those that RapidOCR reads right, and its seconds."""
    start = time.perf_counter()
    read = rapid.lines(path)
    seconds = time.perf_counter() - start
    return len(picture.lines), lines_right(picture.lines, read), seconds


def compared(beside: list[tuple[int, int, float]]) -> dict[str, float]:
    """RapidOCR's part of a row."""
    lines, right, seconds = zip(*beside, strict=True)
    return {
        "RapidOCR": 100 * sum(right) / sum(lines),
        "RapidOCR, seconds": statistics.median(seconds),
    }


def sureness(prediction: Any) -> float:
    """The probability of the sum and of the number of digits together."""
    count = getattr(prediction, "count_probability", None)
    return float(prediction.confidence or 0) * (1.0 if count is None else float(count))


def summary(kind: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of the table."""
    pictures = {line["name"]: line["seconds"] for line in lines}
    return {
        "kind": kind,
        "pictures": len(pictures),
        "lines": len(lines),
        "lines found %": 100 * statistics.mean(line["found"] for line in lines),
        "all digits right %": 100 * statistics.mean(line["right"] for line in lines),
        "wrong yet sure %": 100 * statistics.mean(line["sure"] for line in lines),
        "seconds a picture": statistics.median(pictures.values()),
    }


if __name__ == "__main__":
    typer.run(measure)
