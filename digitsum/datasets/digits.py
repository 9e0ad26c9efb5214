"""Where single digits come from: scikit-learn, MNIST, or a folder.

All give `Digits`: grey 28x28 images, light on black, as strips are composed from.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digitsum.download import unreachable
from digitsum.errors import DataError

SIDE = 28  # rows and columns of a digit image


@dataclass(frozen=True)
class Digits:
    """M digit images and what they show."""

    images: NDArray[np.uint8]  # (M, 28, 28)
    labels: NDArray[np.uint8]  # (M,) 0..9


def load_digits(source: str, mnist_root: Path | None = None) -> Digits:
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
        return _mnist(train=source == "mnist", root=mnist_root)
    return _folder(Path(source))


def _builtin() -> Digits:
    """The 1,797 handwritten 8x8 digits inside scikit-learn, drawn at MNIST's size and stroke.

    Each 8x8 image holds counts 0..16 of inked pixels in 4x4 blocks of a 32x32 scan. A cubic
    spline brings it to 20 columns (MNIST digits fill a 20x20 box), a small blur takes the
    blocks out, and a steep contrast curve brings grey slopes back to a pen's edge.
    """
    from scipy import ndimage
    from sklearn import datasets

    bunch = datasets.load_digits()
    small = bunch.images / 16  # (M, 8, 8) in 0..1
    large = ndimage.zoom(small, (1, 2.5, 2.5), order=3, mode="constant", grid_mode=True)
    padded = np.pad(large, ((0, 0), (4, 4), (4, 4)))  # (M, 28, 28)
    smooth = ndimage.gaussian_filter(padded, (0, 0.7, 0.7))
    ink = 1 / (1 + np.exp(-(smooth - 0.45) / 0.07))
    ink[padded == 0] *= smooth[padded == 0] > 0.05  # the curve's tail is no ink
    images = np.rint(255 * np.clip((ink - 0.02) / 0.96, 0, 1)).astype(np.uint8)
    return Digits(images, bunch.target.astype(np.uint8))


def cache_folder() -> Path:
    """Where downloads are kept: `$XDG_CACHE_HOME/digitsum`, by default `~/.cache/digitsum`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "digitsum"


def _mnist(train: bool, root: Path | None) -> Digits:
    """MNIST through torchvision, downloaded only where no root was named."""
    from torchvision.datasets import MNIST

    if root is None and os.environ.get("DIGITSUM_MNIST"):
        root = Path(os.environ["DIGITSUM_MNIST"])
    folder = root or cache_folder() / "mnist"
    try:
        data = MNIST(folder, train=train)
    except RuntimeError as error:
        if root is not None:
            raise DataError(
                f"no MNIST in {folder}: expected {folder}/MNIST/raw with its four files, as "
                "torchvision lays them out; correct --mnist-root or DIGITSUM_MNIST"
            ) from error
        data = _download(folder, train)
    except (OSError, ValueError, AssertionError) as error:
        raise DataError(f"MNIST in {folder} is damaged ({error}): replace its files") from error
    return Digits(data.data.numpy(), data.targets.numpy().astype(np.uint8))


def _download(folder: Path, train: bool):  # type: ignore[no-untyped-def]  # torchvision is lazy
    from torchvision.datasets import MNIST

    advice = "give --mnist-root or DIGITSUM_MNIST, or use --data builtin, which needs no download"
    if reason := unreachable(MNIST.mirrors[0]):
        raise DataError(f"MNIST is not in {folder} and cannot be downloaded ({reason}): {advice}")
    try:
        return MNIST(folder, train=train, download=True)
    except (RuntimeError, OSError) as error:
        raise DataError(f"MNIST could not be downloaded to {folder} ({error}): {advice}") from error


def _folder(folder: Path) -> Digits:
    """`digits.npy` and `labels.npy` of a folder."""
    arrays = []
    for name in ("digits.npy", "labels.npy"):
        try:
            arrays.append(np.lib.format.open_memmap(folder / name, mode="r"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{folder / name} cannot be read ({error}): digits are `builtin`, `mnist`, "
                "`mnist-test`, or a folder with digits.npy (M, 28, 28) and labels.npy (M,)"
            ) from error
    images, labels = arrays
    if images.shape[1:] != (SIDE, SIDE) or images.dtype != np.uint8 or not len(images):
        raise DataError(
            f"{folder / 'digits.npy'} holds {images.dtype} of shape {images.shape}: "
            "expected uint8 (M, 28, 28), light digits on black"
        )
    if labels.shape != (len(images),) or not np.isin(labels, range(10)).all():
        raise DataError(f"{folder / 'labels.npy'}: expected {len(images)} labels in 0..9")
    return Digits(np.array(images), labels.astype(np.uint8))
