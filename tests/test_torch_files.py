"""Files of torch's that were made to do harm: nothing runs, and no memory is taken."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch._weights_only_unpickler import _get_allowed_globals

from digitsum import torch_files
from digitsum.errors import CheckpointError
from digitsum.torch_files import GLOBALS, check_pickle, load_tensors

FILE = Path("file.pt")
HUGE = 10**9


def names(module: str, name: str) -> bytes:
    """A pickle that names a global, in a dict as a checkpoint is one."""
    return b"\x80\x02}X\x01\x00\x00\x00xc" + f"{module}\n{name}\n".encode() + b"s."


def packed(pickled: bytes, path: Path = FILE) -> Path:
    """A file of torch's with another pickle inside, all checksums right."""
    torch.save({"x": torch.zeros(10)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, pickled if name.endswith("data.pkl") else content)
    return path


def test_of_what_torch_allows_only_tensors_and_ordered_dicts_may_be_named() -> None:
    allowed = {tuple(name.rpartition(".")[::2]) for name in _get_allowed_globals()}
    refused = 0
    for module, name in allowed:
        if f"{module} {name}" in GLOBALS:
            check_pickle(io.BytesIO(names(module, name)))
        else:
            refused += 1
            with pytest.raises(pickle.UnpicklingError, match="it names"):
                load_tensors(packed(names(module, name)))
    assert refused > 50
    assert {tuple(name.split(" ")) for name in GLOBALS} <= allowed


def hexed(size: int) -> bytes:
    """A pickle of bytes, each call of which doubles them."""
    times = size.bit_length() - 6
    text = b"X\x40\x00\x00\x00" + b"x" * 64 + b"X\x06\x00\x00\x00latin1\x86R"
    return (
        b"\x80\x02"
        + b"c_codecs\nencode\n" * (times + 1)
        + text
        + b"X\x03\x00\x00\x00hex\x86R" * times
        + b"."
    )


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02cbuiltins\nbytearray\nJ\x00\xca\x9a\x3b\x85R.",
        b"\x80\x02c__builtin__\nbytearray\nJ\x00\xca\x9a\x3b\x85R.",
        hexed(HUGE),
        b"\x80\x02ctorch\nTensor\nJ\x00\xca\x9a\x3b\x85R.",
        b"\x80\x02ctorch.storage\nUntypedStorage\nJ\x00\xca\x9a\x3b\x85R.",
        b"\x80\x02ccollections\nOrderedDict\n)\x81.",  # NEWOBJ
        b"\x80\x04\x95" + struct.pack("<Q", HUGE) + b"N.",  # FRAME
        b"\x80\x04\x8e" + struct.pack("<Q", HUGE) + b".",  # BINBYTES8
        b"\x80\x02\x8b" + struct.pack("<i", HUGE) + b".",  # LONG4
        b"\x80\x02ccollections\nOrderedDict\n]\x85R.",  # of something, which may be huge
        b"\x80\x02ccollections\nOrderedDict\n)R]b.",
        b"\x80\x02ccollections\nOrderedDict\n)R)\x85b.",
        b"\x80\x02]}b.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02NR.",
        b"\x80\x02\x86.",
        b"\x80\x02t.",
        b"\x80\x02h\x07.",
        b"\x80\x02N",
        b"",
    ],
)
def test_a_pickle_that_asks_for_more_is_refused_before_it_is_loaded(pickled: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - a damaged one may raise anything
        check_pickle(io.BytesIO(pickled))
    with pytest.raises(Exception):  # noqa: B017, PT011
        load_tensors(packed(pickled))


def test_no_tuple_is_hashed() -> None:
    """Doubled sixty times through the memo, it has 2**60 parts."""
    doubled = b"\x80\x02}N" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60)) + b"Ns."
    for key in (doubled, b"\x80\x02})" + b"\x85" * 3_000_000 + b"Ns."):
        with pytest.raises(pickle.UnpicklingError, match="SETITEM of EMPTY_DICT with"):
            check_pickle(io.BytesIO(key[: torch_files.MAX_OPERATIONS - 100] + b"Ns."))
    check_pickle(io.BytesIO(b"\x80\x02}K\x07NsX\x01\x00\x00\x00xNs."))


def test_what_unfolds_is_refused() -> None:
    """Lists in lists, each twice, and one that holds itself, however late."""
    laughs: list[object] = ["ha"]
    for _ in range(60):
        laughs = [laughs, laughs]
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    itself: list[object] = []
    itself.append({"a": (itself,)})
    for content, words in ((laughs, "too many"), (deep, "too deep"), (itself, "holds itself")):
        torch.save({"x": content}, FILE)
        with pytest.raises(pickle.UnpicklingError, match=words):
            load_tensors(FILE)
    torch.save({"x": [[1, 2]] * 1000}, FILE)
    assert load_tensors(FILE) == {"x": [[1, 2]] * 1000}


@pytest.mark.parametrize("bound", ["MAX_OPERATIONS", "MAX_CALLS", "MAX_PICKLE", "MAX_DEPTH"])
def test_there_is_a_bound_to_all(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"x": [torch.zeros(1)] * 3 + [torch.ones(2)]}, FILE)
    load_tensors(FILE)
    monkeypatch.setattr(torch_files, bound, 1)
    with pytest.raises(pickle.UnpicklingError, match=r"too large|deep"):
        load_tensors(FILE)


def test_an_archive_has_as_many_entries_as_there_are_tensors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.save({"x": torch.zeros(1)}, FILE)
    monkeypatch.setattr(torch_files, "MAX_ENTRIES", 3)
    with pytest.raises(CheckpointError, match="lists more than 3 entries"):
        load_tensors(FILE)


def test_dicts_keep_their_methods() -> None:
    hidden = b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsNsb."
    with pytest.raises(pickle.UnpicklingError, match="attributes"):
        load_tensors(packed(hidden))
    torch.save(torch.nn.Linear(2, 2).state_dict(), FILE)  # which has `_metadata`
    assert set(load_tensors(FILE)) == {"weight", "bias"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_of_one_name_are_refused() -> None:
    """Names as torch compares them, which is without regard to case."""
    for twin in ("file/data.pkl", "file/DATA.PKL"):
        torch.save({"x": torch.zeros(10)}, FILE)
        with zipfile.ZipFile(FILE, "a") as archive:
            archive.writestr(twin, b"\x80\x02N.")
        with pytest.raises(CheckpointError, match="two entries of one name"):
            load_tensors(FILE)


def two_directories(shown: bytes, hidden: bytes) -> bytes:
    """An archive whose end names one directory for Python's zipfile, and another for torch.

    Python takes the record that ends right before its locator; torch follows the locator.
    """
    end = b"PK\x05\x06"
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(hidden), 1)
    return hidden + shown[: shown.rindex(end)] + locator + shown[shown.rindex(end) :]


def test_what_was_checked_is_what_is_loaded() -> None:
    """Whatever a second directory says, torch gets the entries that Python's zipfile read."""
    torch.save({"x": torch.zeros(3)}, "shown.pt")
    torch.save({"x": torch.zeros(5_000)}, "hidden.pt")
    Path("compressed.pt").write_bytes(b"")
    with (
        zipfile.ZipFile("hidden.pt") as archive,
        zipfile.ZipFile("compressed.pt", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in archive.namelist():
            small.writestr(name, archive.read(name))
    for hidden in ("hidden.pt", "compressed.pt"):
        FILE.write_bytes(two_directories(Path("shown.pt").read_bytes(), Path(hidden).read_bytes()))
        try:
            found = load_tensors(FILE)
        except Exception:
            continue
        assert len(found["x"]) == 3


def test_a_file_of_before_torch_1_6_is_read_where_that_is_asked_for() -> None:
    state = {
        "conv1.weight": torch.arange(6.0).reshape(2, 3),
        "b": torch.nn.Parameter(torch.ones(2)),
    }
    torch.save(state, FILE, _use_new_zipfile_serialization=False)
    found = load_tensors(FILE, legacy=True)
    assert torch.equal(found["conv1.weight"], state["conv1.weight"])
    with pytest.raises(CheckpointError, match=r"before 1\.6, which digitsum never loads"):
        load_tensors(FILE)
    torch.save([bytearray(3)], FILE, _use_new_zipfile_serialization=False)
    with pytest.raises(pickle.UnpicklingError, match="it names"):
        load_tensors(FILE, legacy=True)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
def test_a_small_file_takes_little_memory() -> None:
    """Whole process, peak memory before and after, over forged files of some 1 KB each."""
    forged = {
        "bytes.pt": b"\x80\x02cbuiltins\nbytearray\nJ\x00\xca\x9a\x3b\x85R.",
        "hex.pt": hexed(HUGE),
        "size.pt": b"\x80\x02ctorch\nTensor\nJ\x00\xca\x9a\x3b\x85R.",
    }
    for name, pickled in forged.items():
        packed(pickled, Path(name))
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from digitsum.checkpoint import load_checkpoint\n"
        "from digitsum.errors import CheckpointError\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "for name in sys.argv[1:]:\n"
        "    try: load_checkpoint(Path(name))\n"
        "    except CheckpointError: pass\n"
        "    else: raise SystemExit(name)\n"
        "print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *forged], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100_000  # kilobytes
