"""Where single digits come from: scikit-learn, MNIST, or a folder.

All give `Digits`: grey 28x28 images, light on black, as strips are composed from.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.datasets.npy import NpyFile
from digitsum.display import counted
from digitsum.errors import DataError
from digitsum.file_kinds import open_regular
from digitsum.torchvision_access import announced_on_stderr, torchvision, unreachable

IDX_UINT8 = b"\0\0\x08"  # first bytes of a file of MNIST's; the fourth counts axes
SIDE = 28  # rows and columns of a digit image


@dataclass(frozen=True)
class Digits:
    """M digit images and what they show."""

    images: NDArray[np.uint8]  # (M, 28, 28)
    labels: NDArray[np.uint8]  # (M,) 0..9

    def __repr__(self) -> str:
        return f"Digits({counted(len(self.labels), 'image')})"


def load_digits(source: str, mnist_root: Path | str | None = None) -> Digits:
    """Single digits by the name of their source.

    Args:
        source: `builtin`, `mnist` (training digits), `mnist-test`, or a folder that holds
            `digits.npy` (M, 28, 28) uint8 and `labels.npy` (M,).
        mnist_root: Where MNIST lies as torchvision lays it out; else `DIGITSUM_MNIST`, else
            torchvision downloads it into digitsum's cache folder.

    Raises:
        DataError: The source is missing, broken, or cannot be downloaded.
    """
    if source == "builtin":
        return _builtin()
    if source in ("mnist", "mnist-test"):
        root = None if mnist_root is None else Path(mnist_root)
        return _mnist(train=source == "mnist", root=root)
    return _folder(Path(source))


def _builtin() -> Digits:
    """The 1,797 handwritten 8x8 digits inside scikit-learn, drawn at MNIST's size and stroke."""
    from sklearn.datasets import load_digits as scikit_digits

    bunch = scikit_digits()
    return Digits(from_counts(bunch.images), bunch.target.astype(np.uint8))


def from_counts(counts: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Images (M, 28, 28) of digits that are known by 8x8 counts (M, 8, 8) alone.

    Each counts the inked pixels, 0..16, of a 4x4 block of a 32x32 scan. A cubic spline brings it to
    20 x 24 pixels (these digits are narrower than MNIST's), a blur takes the blocks out, an unsharp
    mask opens the loops that the blur closed, and a straight cut through the slopes gives strokes
    of MNIST's width with grey edges. Over all of scikit-learn's digits 12.6% of the pixels are
    above half, 13.2% in MNIST; strokes are 3.9 pixels wide, 3.3 in MNIST.
    """
    from scipy.ndimage import gaussian_filter, zoom

    small = counts / 16  # in 0..1
    large = zoom(small, (1, 20 / 8, 24 / 8), order=3, mode="grid-constant", grid_mode=True)
    padded = np.pad(large, ((0, 0), (4, 4), (2, 2)))  # (M, 28, 28)
    smooth, surround = (gaussian_filter(padded, (0, sigma, sigma)) for sigma in (0.9, 3.0))
    sharp = smooth + 1.5 * (smooth - surround)
    ink = np.clip((sharp - 0.95) / 0.65 + 0.5, 0, 1)
    return np.asarray(np.rint(255 * ink).astype(np.uint8))


def cache_folder() -> Path:
    """Where downloads are kept: `$XDG_CACHE_HOME/digitsum`, by default `~/.cache/digitsum`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "digitsum"


def _mnist(train: bool, root: Path | None) -> Digits:
    """MNIST through torchvision, downloaded only where no root was named."""
    if root is None and os.environ.get("DIGITSUM_MNIST"):
        root = Path(os.environ["DIGITSUM_MNIST"])
    folder = root or cache_folder() / "mnist"
    raw, half = folder / "MNIST" / "raw", "train" if train else "t10k"
    names = (f"{half}-images-idx3-ubyte", f"{half}-labels-idx1-ubyte")
    if not all((raw / name).exists() for name in names):
        if root is not None:
            raise DataError(
                f"no MNIST in {folder}: expected {names[0]} and {names[1]} in {raw}, as "
                "torchvision lays them out; correct --mnist-root or DIGITSUM_MNIST"
            )
        _download(folder)
    try:
        images, labels = (_idx(raw / name) for name in names)
        whole = images.shape[1:] == (SIDE, SIDE) and images.shape[:1] == labels.shape
        if not whole or not len(images) or not np.isin(labels, range(10)).all():
            raise ValueError(f"images {images.shape}, labels {labels.shape}")
    except (OSError, ValueError) as error:
        raise DataError(f"MNIST in {folder} is damaged ({error}): replace its files") from error
    return Digits(images, labels)


def _idx(path: Path) -> NDArray[np.uint8]:
    """The array in a file of MNIST's own format (IDX), counted before it is read.

    Raises:
        ValueError: It is of another format, or of another size than its header says.
        UnreadableFileError: It is missing, or no regular file.
    """
    with open_regular(path) as stream:
        magic = stream.read(4)
        if len(magic) < 4 or not magic.startswith(IDX_UINT8):
            raise ValueError(f"{path.name} is of another format")
        shape = np.frombuffer(stream.read(4 * magic[3]), ">u4").tolist()
        held = os.fstat(stream.fileno()).st_size - stream.tell()
        if math.prod(shape) != held:
            raise ValueError(f"{path.name} is not whole")
        return np.frombuffer(stream.read(held), np.uint8).reshape(shape)


def _download(folder: Path) -> None:
    """MNIST's four files into torchvision's layout under `folder`."""
    mnist = torchvision("datasets").MNIST
    advice = "give --mnist-root or DIGITSUM_MNIST, or use --data builtin, which needs no download"
    if reason := unreachable(mnist.mirrors[0]):
        raise DataError(f"MNIST is not in {folder} and cannot be downloaded ({reason}): {advice}")
    try:
        with announced_on_stderr():
            mnist(folder, download=True)
    except (RuntimeError, OSError) as error:
        raise DataError(f"MNIST could not be downloaded to {folder} ({error}): {advice}") from error


def _folder(folder: Path) -> Digits:
    """`digits.npy` and `labels.npy` of a folder."""
    arrays = []
    for name in ("digits.npy", "labels.npy"):
        try:
            arrays.append(NpyFile.open(folder / name))
        except DataError as error:
            raise DataError(
                f"{folder / name} cannot be read ({error}): digits are `builtin`, `mnist`, "
                "`mnist-test`, or a folder with digits.npy (M, 28, 28) and labels.npy (M,)"
            ) from error
    images, labels = arrays
    if images.shape[1:] != (SIDE, SIDE) or images.dtype != np.uint8 or not images.shape[0]:
        raise DataError(
            f"{folder / 'digits.npy'} holds {images.dtype} of shape {images.shape}: "
            "expected uint8 (M, 28, 28), light digits on black"
        )
    whole = labels.dtype.kind in "iuf" and labels.shape == images.shape[:1]
    if not whole or not np.isin(shown := labels[:], range(10)).all():
        wanted = counted(images.shape[0], "label")
        raise DataError(f"{folder / 'labels.npy'}: expected {wanted} in 0..9")
    return Digits(images[:], shown.astype(np.uint8))
