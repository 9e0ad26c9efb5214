"""`digitsum predict --annotate`: pictures with what was read drawn into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from digitsum.errors import UsageError

if TYPE_CHECKING:
    from digitsum.datasets.image_files import OpenedFile
    from digitsum.file_predictor import FilePredictions

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
JPEG_SIDE = 65_500  # pixels in a row or a column of a JPEG, at most


@contextmanager
def annotator(
    out: Path, files: Sequence[OpenedFile], overwrite: bool, inputs: Iterable[Path] = ()
) -> Iterator[Callable[[FilePredictions], None]]:
    """A function that takes predictions in order and writes the picture of each file.

    Args:
        out: The picture to write; of several files, the folder of them.
        files: All that are predicted.
        overwrite: Whether pictures that are there are replaced.
        inputs: See `files.check_output`.

    Raises:
        UsageError: A file is no picture, or what would be written is not allowed.
        DataError: A picture is too large to be drawn into.
    """
    targets = _targets(out, files)
    with _reserved(out, list(targets.values()), overwrite, [*inputs, *map(Path, targets)]):
        held: list[FilePredictions] = []

        def take(chunk: FilePredictions) -> None:
            if held and held[0].file != chunk.file:
                _write(targets[held[0].file], held, overwrite)
                held.clear()
            held.append(chunk)

        yield take
        if held:
            _write(targets[held[0].file], held, overwrite)


def _targets(out: Path, files: Sequence[OpenedFile]) -> dict[str, Path]:
    """What is written for each file."""
    from digitsum.datasets.image_files import InMemoryStrips
    from digitsum.datasets.pictures import SUFFIXES, colour_size, is_picture

    for file in files:
        if not isinstance(file, InMemoryStrips) or not is_picture(file.path):
            raise UsageError(f"--annotate draws into pictures, and {file.path} is none")
    sides = {path: max(colour_size(path)) for path in dict.fromkeys(file.path for file in files)}
    if out.suffix.lower() in FORMATS:
        if len(sides) > 1:
            raise UsageError(f"--annotate {out}: give a folder, there are {len(sides)} pictures")
        ((path, side),) = sides.items()
        if FORMATS[out.suffix.lower()] == "JPEG" and side > JPEG_SIDE:
            raise UsageError(
                f"--annotate {out}: a JPEG has at most {JPEG_SIDE:,} pixels in a row or a column, "
                f"and {path} has {side:,}: write a .png"
            )
        return {str(path): out}
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise UsageError(f"--annotate {out}: give a {', '.join(FORMATS)}, or a folder")
    targets = {str(path): out / f"{path.stem}.png" for path in sides}
    if len(set(targets.values())) < len(sides):
        raise UsageError(f"--annotate {out}: two of the pictures have the same name")
    return targets


@contextmanager
def _reserved(
    out: Path, targets: Sequence[Path], overwrite: bool, inputs: Sequence[Path]
) -> Iterator[None]:
    """Checks what is written, and keeps other runs from it; a folder is locked as a whole."""
    from digitsum.datasets.synthesis import made_folder
    from digitsum.files import SET, check_output, reserved_output, run_lock
    from digitsum.temporary_files import remove_dead

    if targets == [out]:
        with reserved_output(out, overwrite, inputs):
            yield
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"--annotate {out} is no folder and cannot be made one")
    with made_folder(out), run_lock(out / SET, out):
        remove_dead(*targets)
        for target in targets:
            check_output(target, overwrite, inputs)
        yield


def _write(target: Path, chunks: Sequence[FilePredictions], overwrite: bool) -> None:
    from digitsum.annotation import annotated
    from digitsum.files import whole_file

    image = annotated(Path(chunks[0].file), chunks)
    with whole_file(target, overwrite) as stream:
        image.save(stream, FORMATS[target.suffix.lower()])
