"""Files that `torch.save` wrote, read so that a forged one does nothing and takes no memory.

torch's restricted unpickler executes nothing, but it makes whatever a pickle asks of some eighty
types: a gigabyte of zeros, say, from 1 KB. So the pickle is looked through before it is loaded, and
may name no more than a checkpoint of digitsum needs. Archives are opened once and packed anew, in
memory, from the entries that were checked: readers of zip files disagree on odd ones.
"""

from __future__ import annotations

import io
import os
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from torch import Tensor

from digitsum.ambient import default_settings
from digitsum.errors import CheckpointError
from digitsum.file_kinds import UnreadableFileError, open_regular

# Bounds of a pickle. Each operation makes at most some 130 bytes, each call a tensor of some 400.
MAX_PICKLE = 32 << 20  # bytes
MAX_OPERATIONS = 1_000_000
MAX_CALLS = 100_000
MAX_DEPTH = 100  # of containers in one another
MAX_ENTRIES = 20_000  # of an archive; there is one for each tensor

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
REBUILDING = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
ORDERED = "collections OrderedDict"
GLOBALS = frozenset((*REBUILDING, ORDERED, *(f"torch {kind}Storage" for kind in _STORAGES)))
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # an archive and a pickle begin so
_LISTED = b"PK\x01\x02"  # and each entry in its directory


@default_settings()
def load_tensors(path: Path, legacy: bool = False) -> Any:
    """What a file of torch's holds, if that is tensors and plain values; nothing is executed.

    What comes out takes no more memory than the file has bytes.

    Args:
        path: A regular file.
        legacy: Whether it may be of the format that torch wrote before 1.6, which is no archive.

    Raises:
        UnpicklingError: It holds more.
        CheckpointError: It is no file, or claims to hold more than its size.
        Exception: It is damaged; torch raises many kinds, none documented.
    """
    try:
        stream = open_regular(path)
    except UnreadableFileError as error:
        raise CheckpointError(f"{path} {error}: give the path of a checkpoint") from error
    with stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(len(_ZIP))
        stream.seek(0)
        if head == _ZIP:
            checked = _repacked(stream, path, size)
        elif legacy:
            checked = _legacy(stream, size)
        elif head.startswith(_PICKLE):
            raise CheckpointError(
                f"{path} is a pickle, or of a torch before 1.6, which digitsum never loads: write "
                "it again with torch.save"
            )
        else:
            raise ValueError("it is no archive of torch's")
    content = torch.load(checked, map_location="cpu", weights_only=True)
    _check_size(path, _bytes_held(content), size)
    return content


def _repacked(stream: BinaryIO, path: Path, size: int) -> io.BytesIO:
    """The entries of an archive as Python's zipfile reads them, each once, in a new archive."""
    if _count(stream, _LISTED) > MAX_ENTRIES:
        raise CheckpointError(f"{path} lists more than {MAX_ENTRIES:,} entries: it is forged")
    copy = io.BytesIO()
    with zipfile.ZipFile(stream) as archive, zipfile.ZipFile(copy, "w") as packed:
        entries = archive.infolist()
        _check_size(path, sum(entry.file_size for entry in entries), size)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise CheckpointError(f"{path} is compressed inside: write it with torch.save")
        if len({entry.filename.lower() for entry in entries}) < len(entries):  # as torch compares
            raise CheckpointError(f"{path} has two entries of one name: it is forged")
        for entry in entries:
            content = archive.read(entry)
            if entry.filename.lower().endswith(".pkl"):
                check_pickle(io.BytesIO(content))
            packed.writestr(entry.filename, content)
    copy.seek(0)
    return copy


def _count(stream: BinaryIO, mark: bytes) -> int:
    """How often some bytes stand in a file, which is left at its start."""
    found, tail = 0, b""
    while chunk := stream.read(1 << 20):
        found += (tail + chunk).count(mark)
        tail = chunk[1 - len(mark) :]
    stream.seek(0)
    return found


def _legacy(stream: BinaryIO, size: int) -> io.BytesIO:
    """A file from before torch 1.6: five pickles, one after the other, and the storages."""
    content = io.BytesIO(stream.read(size))
    for _ in range(5):
        check_pickle(content)
    content.seek(0)
    return content


def check_pickle(stream: BinaryIO) -> None:
    """Reads through a pickle, to its end, without doing what it says.

    Raises:
        UnpicklingError: It names or calls what no checkpoint needs, or is too large.
        Exception: It is damaged.
    """
    start, calls = stream.tell(), 0
    traced = _Traced()
    for number, (operation, argument, place) in enumerate(pickletools.genops(stream)):
        calls += operation.name == "REDUCE"
        if number > MAX_OPERATIONS or calls > MAX_CALLS or (place or 0) - start > MAX_PICKLE:
            raise UnpicklingError("its pickle is too large")
        traced.follow(operation.name, argument)


class _Traced:
    """The stack and the memo of an unpickler; instead of each value the operation that made it.

    It knows the operations that torch writes. Of the calls it allows those of `GLOBALS`, and an
    `OrderedDict` only empty: one of a tensor that is expanded would make an object of each number.
    Keys are texts and whole numbers: hashing a tuple of tuples takes forever, or C's stack.
    """

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.marks: list[int] = []
        self.memo: dict[int, str] = {}

    def follow(self, name: str, argument: Any) -> None:
        """Does to the names what one operation does to the values."""
        if name in _VALUES:
            self.stack.append(name)
        elif name == "GLOBAL":
            if argument not in GLOBALS:
                raise UnpicklingError(f"it names {argument}")
            self.stack.append(argument)
        elif name in _TUPLES:
            self._taken(_TUPLES[name])
            self.stack.append(name)
        elif name in _CONTENTS:
            self._fill(name, self._taken(_CONTENTS[name]))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name == "BINPERSID":
            self.stack[-1] = name
        elif name not in ("PROTO", "STOP"):
            raise UnpicklingError(f"its pickle has the operation {name}")

    def _fill(self, name: str, given: list[str]) -> None:
        """Puts values into the one on the top, or calls it with them."""
        holder = self.stack[-1]
        if name == "REDUCE":
            right = given == ["EMPTY_TUPLE"] if holder == ORDERED else holder in REBUILDING
            self.stack[-1] = f"made by {holder}"
        elif name == "BUILD":
            right = (holder, given) == (f"made by {ORDERED}", ["EMPTY_DICT"])
        else:
            right = name.startswith("APPEND") or _KEYS.issuperset(given[::2])
        if not right:
            raise UnpicklingError(f"its pickle has {name} of {holder} with {given[:4]}")

    def _taken(self, count: int | None) -> list[str]:
        """So many values from the top; None: all above the last mark."""
        place = self.marks.pop() if count is None else len(self.stack) - count
        if place < 0:
            raise UnpicklingError("its pickle takes more than it has made")
        taken = self.stack[place:]
        del self.stack[place:]
        return taken


_KEYS = frozenset(("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"))
_VALUES = _KEYS | frozenset(
    ("NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "SHORT_BINSTRING", "EMPTY_TUPLE", "EMPTY_LIST",
     "EMPTY_DICT")
)  # fmt: skip
_TUPLES = {"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}  # how many values they take
_CONTENTS = {"APPEND": 1, "APPENDS": None, "SETITEM": 2, "SETITEMS": None, "REDUCE": 1, "BUILD": 1}


def _check_size(path: Path, held: int, size: int) -> None:
    if held > size:
        raise CheckpointError(
            f"{path} claims to hold {held:,} bytes in a file of {size:,}: it is damaged or forged"
        )


def _bytes_held(content: Any) -> int:
    """Bytes of all tensors if each had its own; those of one storage seen twice as one.

    Raises:
        UnpicklingError: There is a value of another kind, or one that holds itself, or all would
            be too many or too deep if what is there twice were written twice.
    """
    sizes: dict[tuple[int, int], int] = {}
    done: dict[int, tuple[int, int]] = {}  # how many values a container holds, and how deep
    entered: set[int] = set()
    left = [[content]]  # a list, so that what is there is never a plain value itself
    while left:
        value = left[-1]
        if id(value) in done:
            left.pop()
            continue
        inner = _inner(value)
        holders = [one for one in inner if _inner(one)]
        if id(value) not in entered:
            entered.add(id(value))
            for one in inner:
                _note_tensor(one, sizes)
            waiting = [one for one in holders if id(one) not in done]
            if any(id(one) in entered for one in waiting):
                raise UnpicklingError("it holds itself")
            left += waiting
            continue
        found = [done[id(one)] for one in holders]
        count = 1 + len(inner) - len(holders) + sum(values for values, _ in found)
        depth = 1 + max((depth for _, depth in found), default=0)
        if count > MAX_OPERATIONS or depth > MAX_DEPTH:
            raise UnpicklingError("its values are too many, or nested too deep")
        done[id(value)] = count, depth
    return sum(sizes.values())


def _inner(value: Any) -> list[Any]:
    """What a dict, a list or a tuple holds; nothing, of a tensor or a plain value."""
    if isinstance(value, dict):
        if isinstance(value, OrderedDict) and vars(value).keys() - {"_metadata"}:
            raise UnpicklingError("it holds a dict with attributes")  # which may hide its methods
        return [*dict.keys(value), *dict.values(value)]
    if isinstance(value, list | tuple):
        return list(value)
    if type(value) in (str, int, float, bool, type(None)) or isinstance(value, Tensor):
        return []
    raise UnpicklingError(f"it holds {type(value)}")


def _note_tensor(value: Any, sizes: dict[tuple[int, int], int]) -> None:
    """Adds what a tensor needs to the sizes of all storages."""
    if is_dense(value):
        stored = value.untyped_storage()
        needed = value.numel() * value.element_size()  # an expanded one needs more
        key = (stored.data_ptr(), stored.nbytes())
        sizes[key] = max(sizes.get(key, 0), stored.nbytes(), needed)


def is_dense(value: object) -> bool:
    """Whether it is a tensor with all its numbers, which meta and sparse ones have not."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
