"""`digitsum predict --annotate`: pictures with what was read drawn into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from digitsum.errors import UsageError

if TYPE_CHECKING:
    from digitsum.datasets.image_files import OpenedFile
    from digitsum.file_predictor import FilePredictions

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@contextmanager
def annotator(
    out: Path, files: Sequence[OpenedFile], overwrite: bool
) -> Iterator[Callable[[FilePredictions], None]]:
    """A function that takes predictions in order and writes the picture of each file.

    Args:
        out: The picture to write; of several files, the folder of them.
        files: All that are predicted.
        overwrite: Whether pictures that are there are replaced.

    Raises:
        UsageError: A file is no picture, or what would be written is not allowed.
    """
    from digitsum.files import reserved_output

    targets = _targets(out, files)
    with ExitStack() as stack:
        for target in targets.values():
            stack.enter_context(reserved_output(target, overwrite, map(Path, targets)))
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
    from digitsum.datasets.pictures import is_picture

    paths = list(dict.fromkeys(file.path for file in files))
    for file in files:
        if not isinstance(file, InMemoryStrips) or not is_picture(file.path):
            raise UsageError(f"--annotate draws into pictures, and {file.path} is none")
    if out.suffix.lower() in FORMATS:
        if len(paths) > 1:
            raise UsageError(f"--annotate {out}: give a folder, there are {len(paths)} pictures")
        return {str(paths[0]): out}
    targets = {str(path): out / f"{path.stem}.png" for path in paths}
    if len(set(targets.values())) < len(paths):
        raise UsageError(f"--annotate {out}: two of the pictures have the same name")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--annotate {out} is no folder and cannot be made one") from error
    return targets


def _write(target: Path, chunks: Sequence[FilePredictions], overwrite: bool) -> None:
    from digitsum.annotation import annotated
    from digitsum.files import whole_file

    image = annotated(Path(chunks[0].file), chunks)
    with whole_file(target, overwrite) as stream:
        image.save(stream, FORMATS[target.suffix.lower()])
