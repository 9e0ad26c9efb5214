"""What a path is, where it is not the file that was asked for: in words, with what to do."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

HEAD = 512  # bytes by which a file is recognized

# first bytes of what digitsum does not read; what such a file is, and what to do
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: run git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer, not the file itself: run git annex get"),
    (b"\x00\x05\x16\x07", "what macOS keeps beside a file (AppleDouble): name the file itself"),
    (b"\x89HDF\r\n", "an HDF5 file, which digitsum does not read"),
    (b"%PDF", "a PDF, which digitsum does not read: save its pages as PNG"),
    (b"%!PS", "PostScript, which digitsum does not read: save it as PNG"),
    (b"\xc5\xd0\xd3\xc6", "PostScript, which digitsum does not read: save it as PNG"),
    (b"\x1f\x8b", "compressed with gzip: unpack it"),
    (b"BZh", "compressed with bzip2: unpack it"),
    (b"\xfd7zXZ", "compressed with xz: unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
)
NPY, NPZ, PICTURE, CHECKPOINT = "a .npy array", "a .npz", "a picture", "a PyTorch file"
_OWN = (  # first bytes of what digitsum reads, each in its place
    (b"\x93NUMPY", NPY),
    (b"\x89PNG", PICTURE),
    (b"\xff\xd8\xff", PICTURE),
    (b"GIF8", PICTURE),
    (b"II*\x00", PICTURE),
    (b"MM\x00*", PICTURE),
)
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


class UnreadableFileError(OSError):
    """A path cannot be opened as a regular file; `reason` says why, to follow its name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = self.strerror = reason


def obstacle(path: Path) -> str | None:
    """Why a path cannot be opened as a file, to follow its name; None if it can.

    A pipe is refused here: opening one waits for whoever writes to it, and nothing in it can be
    read twice.
    """
    try:
        if reason := _unlike_a_file(path.stat().st_mode):
            return reason
    except FileNotFoundError:
        return "does not exist"
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        return _cannot_be_read(error)
    return None if os.access(path, os.R_OK) else "cannot be read (permission denied)"


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading, and nothing else.

    What was opened is looked at once more: a pipe or a device that took the file's place after
    `obstacle` saw it is not waited for, and not read.

    Raises:
        UnreadableFileError: It is missing, no regular file, or may not be read.
    """
    if reason := obstacle(path):
        raise UnreadableFileError(reason)
    try:
        return open(path, "rb", opener=_open_at_once)
    except UnreadableFileError:
        raise
    except OSError as error:
        raise UnreadableFileError(_cannot_be_read(error)) from error


def _open_at_once(path: str, flags: int) -> int:
    """A descriptor of a regular file; opening it never waits, where the system can do that."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if reason := _unlike_a_file(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableFileError(reason)
    return descriptor


def _unlike_a_file(mode: int) -> str | None:
    """Why what has this mode is no regular file; None if it is one."""
    if stat.S_ISDIR(mode):
        return "is a folder"
    return None if stat.S_ISREG(mode) else "is a pipe or a device, and must be a regular file"


def _cannot_be_read(error: OSError | ValueError) -> str:
    return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def first_bytes(path: Path) -> bytes:
    """The first `HEAD` bytes of a regular file; none where it cannot be read."""
    try:
        with open_regular(path) as stream:
            return stream.read(HEAD)
    except OSError:
        return b""


def own_kind(head: bytes) -> str | None:
    """Which of the kinds that digitsum reads begins so: `NPY`, `NPZ`, `PICTURE`, `CHECKPOINT`."""
    if head.startswith(b"PK\x03\x04"):
        return CHECKPOINT if b"/data.pkl" in head else NPZ if b".npy" in head else None
    if head[8:12] == b"WEBP":
        return PICTURE
    return next((kind for start, kind in _OWN if head.startswith(start)), None)


def recognized(path: Path, wanted: str) -> str | None:
    """What a file that could not be read is, to follow `is`; None if its first bytes do not say.

    Args:
        path: A regular file.
        wanted: What it should have been: one of the kinds of `own_kind`.
    """
    try:
        with open_regular(path) as stream:
            size, head = os.fstat(stream.fileno()).st_size, stream.read(HEAD)
    except OSError:
        return None
    if size == 0:
        return "empty: copy it again"
    for start, words in _FOREIGN:
        if head.startswith(start):
            return words
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<head")):
        return "an HTML page, not the file itself: download the file itself"
    if text.startswith((b"<?xml", b"<svg", b"<error")):
        return "XML, not the file itself: if it was downloaded, see what it says"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF:
        return "a HEIF picture, which digitsum does not read: save it as PNG or JPEG"
    if head.startswith(b"\x08") and b"pytorch" in head[:16]:
        return "ONNX, which digitsum writes and does not read: give what it was exported from"
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8:
        return (
            "safetensors, which digitsum does not read: load it with safetensors.torch.load_file "
            "and save that with torch.save"
        )
    found = own_kind(head)
    return f"{found}, not {wanted}" if found not in (None, wanted) else None
