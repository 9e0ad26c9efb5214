"""Forged checkpoints: every global that torch allows, opcodes, archives, and older formats.

Each is opened with `load_checkpoint` and shown by `digitsum info`, in a child of its own.
"""

from __future__ import annotations

import io
import pickle
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from fault_children import Case, command, import_all_of, run_one
from fault_rows import Row, Session, judge_all
from torch._weights_only_unpickler import _get_allowed_globals

from digitsum.checkpoint import load_checkpoint
from digitsum.errors import CheckpointError

HUGE = 10**9
ROOM = 40  # bytes of each storage
SECONDS = 20  # of computing

# pickles


@dataclass(frozen=True)
class Global:
    """A name that a pickle imports."""

    name: str


@dataclass(frozen=True)
class Call:
    """A call that a pickle makes, by `REDUCE`, `NEWOBJ`, or `BUILD` on what it calls."""

    function: Any
    given: tuple[Any, ...]
    opcode: bytes = b"R"


@dataclass(frozen=True)
class Storage:
    """A storage that a pickle names, however large it claims to be."""

    kind: str = "torch.FloatStorage"
    count: int = 10
    key: Any = "0"
    device: Any = "cpu"


@dataclass(frozen=True)
class Raw:
    """Opcodes as they are."""

    code: bytes


def assembled(value: Any) -> bytes:
    """The opcodes that leave a value on the stack."""
    if isinstance(value, Raw):
        return value.code
    if isinstance(value, Global):
        module, _, name = value.name.rpartition(".")
        return f"c{module}\n{name}\n".encode()
    if isinstance(value, Call):
        given = value.given[0] if value.opcode == b"b" else value.given
        return assembled(value.function) + assembled(given) + value.opcode
    if isinstance(value, Storage):
        words = ("storage", Global(value.kind), value.key, value.device, value.count)
        return assembled(words) + b"Q"
    if isinstance(value, bytes):
        return assembled(Call(Global("_codecs.encode"), (value.decode("latin1"), "latin1")))
    if isinstance(value, tuple):
        return b"(" + b"".join(map(assembled, value)) + b"t" if value else b")"  # as picklers do
    if isinstance(value, list):
        return b"](" + b"".join(map(assembled, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(map(assembled, sum(value.items(), ()))) + b"u"
    return pickle.dumps(value, 2)[2:-1]  # without PROTO and STOP


def tensor(
    size: tuple[int, ...] = (5,),
    stride: tuple[int, ...] = (1,),
    kind: str = "Float",
    key: str = "0",
) -> Call:
    """A tensor over a storage of the checkpoint, which has `ROOM` bytes."""
    storage = Storage(f"torch.{kind}Storage", ROOM // (8 if kind == "Long" else 4), key)
    given = (storage, 0, size, stride, False, Call(Global("collections.OrderedDict"), ()))
    return Call(Global("torch._utils._rebuild_tensor_v2"), given)


def content() -> dict[str, Any]:
    """All that a checkpoint must hold."""
    return {
        "format": 2,
        "arch": "cnn",
        "recipe": {"arch": "cnn"},
        "weights": {"a.weight": tensor()},
        "data": {"name": ["builtin"], "count": 5, "width": 84, "fingerprint": "sha256:0"},
        "split": {
            "seed": 0,
            "train": tensor(kind="Int", key="1"),
            "val": tensor(kind="Int", key="1"),
        },
        "history": [{"epoch": 1}],
        "metrics": {"epoch": 1},
        "versions": {},
    }


def hostile_arguments() -> Iterator[tuple[Any, ...]]:
    """What every global is called with."""
    expanded = tensor((HUGE // 8,), (0,))
    longs = tensor((HUGE // 100,), (0,), kind="Long")
    yield from [(), (HUGE,), (10**12,), (2**63 - 1,), (-1,), (HUGE // 50, 40), (0, HUGE)]
    yield from [((HUGE // 4,),), ([HUGE // 4],), ("x",), (b"\xff" * 9, "hex"), ("x" * 9, "utf-32")]
    yield from [(tensor(),), (expanded,), (longs,), (Storage(),), (Storage(count=HUGE),)]
    yield from [
        ({},),
        (None,),
        (1e308, 1e308),
        ([[]] * 9,),
        (Call(Global("builtins.bytearray"), (HUGE,)),),
    ]
    yield (expanded, Global("torch.float64"), "cpu", False)
    yield (Storage(), 0, (HUGE // 8,), (0,), False, {})
    yield (Storage(), 0, (10,), (1,), False, {}, Global("torch.float64"))
    yield (Storage(), 0, (10,), (1,))
    yield (expanded, True, {})
    yield (
        Global("torch.Tensor"),
        Global("torch.float64"),
        (HUGE // 8,),
        (1,),
        0,
        Global("torch.strided"),
        "cpu",
        False,
    )


def calls_of_globals() -> Iterator[tuple[str, Any]]:
    """Every global that torch allows, with every argument; what cannot be called, with a few."""
    allowed = _get_allowed_globals()
    for name in sorted({*allowed, "_codecs.encode", "builtins.bytearray"}):
        yield name, Global(name)
        few = None if callable(allowed.get(name, bytearray)) else 3
        for number, given in enumerate(islice(hostile_arguments(), few)):
            yield f"{name} given {number}", Call(Global(name), given)
            if number % 4 == 0:
                yield f"{name} made of {number}", Call(Global(name), given, b"\x81")
        yield f"{name} built", Call(Call(Global(name), ()), ({"x": 1},), b"b")


def crafted_calls() -> Iterator[tuple[str, Any]]:
    """What takes the right arguments to do harm."""
    rebuild = "torch._utils._rebuild_"
    expanded = tensor((HUGE // 8,), (0,))
    text = Raw(b"X\x40\x00\x00\x00" + b"x" * 64)
    for steps in (4, 16, 23, 40):
        chain: Any = text
        for step in range(steps):
            chain = Call(Global("_codecs.encode"), (chain, "hex" if step else "latin1"))
        yield f"{steps} encodings", chain
    for codec in (
        "utf-32",
        "utf-16",
        "zip",
        "bz2",
        "hex",
        "base64",
        "rot13",
        "idna",
        "punycode",
        "unicode_escape",
        "uu",
    ):
        yield f"codec {codec}", Call(Global("_codecs.encode"), ("x" * 1000, codec))
    yield (
        "counter of bytes",
        Call(Global("collections.Counter"), (Call(Global("builtins.bytearray"), (HUGE // 10,)),)),
    )
    yield (
        "set of an expanded",
        Call(Global("builtins.set"), (tensor((HUGE // 100,), (0,), kind="Long"),)),
    )
    yield (
        "size of an expanded",
        Call(Global("torch.Size"), (tensor((HUGE // 100,), (0,), kind="Long"),)),
    )
    yield (
        "bytearray of a size",
        Call(Global("builtins.bytearray"), (Call(Global("torch.Size"), ((1,) * 9,)),)),
    )
    yield "parameter of an expanded", Call(Global(rebuild + "parameter"), (expanded, True, {}))
    yield (
        "parameter with state",
        Call(Global(rebuild + "parameter_with_state"), (tensor(), True, {}, {"x": [1] * 99})),
    )
    yield (
        "device tensor",
        Call(
            Global(rebuild + "device_tensor_from_cpu_tensor"),
            (expanded, Global("torch.float64"), "cpu", False),
        ),
    )
    yield (
        "numpy tensor",
        Call(
            Global(rebuild + "device_tensor_from_numpy"),
            (expanded, Global("torch.float64"), "cpu", False),
        ),
    )
    sparse = (tensor((1, 1), (1, 1), kind="Long"), tensor((1,)), (HUGE,))
    given: tuple[Any, ...]
    for layout in ("torch.sparse_coo", "torch.sparse_csr", "torch.strided", "x"):
        given = (Call(Global("torch.serialization._get_layout"), (layout,)), sparse)
        yield f"sparse {layout}", Call(Global(rebuild + "sparse_tensor"), given)
    for kind in ("QInt8", "QUInt8", "QInt32"):
        scheme = (Global("torch.per_tensor_affine"), 1.0, 0)
        given = (Storage(f"torch.{kind}Storage"), 0, (HUGE,), (0,), scheme, False, {})
        yield f"quantized {kind}", Call(Global(rebuild + "qtensor"), given)
    shape = tensor((1, 1), (1, 1), kind="Long")
    yield "nested", Call(Global(rebuild + "nested_tensor"), (tensor(), shape, shape, shape))
    given = (Global("torch.float64"), (10**6, 10**6), (0, 0), False)
    yield "meta", Call(Global(rebuild + "meta_tensor_no_storage"), given)
    yield (
        "tensor set",
        Call(Call(Global("torch.Tensor"), ()), ((Storage(), 0, (HUGE,), (0,)),), b"b"),
    )
    yield "parameter by new", Call(Global("torch.nn.parameter.Parameter"), (expanded,), b"\x81")
    yield (
        "from type",
        Call(
            Global("torch._tensor._rebuild_from_type_v2"),
            (Global(rebuild + "tensor_v2"), Global("torch.Tensor"), tensor().given, {}),
        ),
    )


def storages() -> Iterator[tuple[str, Any]]:
    """Persistent ids of all types of storage, and odd ones."""
    kinds = [name for name in sorted(_get_allowed_globals()) if name.endswith("Storage")]
    for kind in kinds:
        for count in (10, -1, 0, HUGE, 2**62):
            yield f"{kind} of {count}", Storage(kind, count)
        for device in ("cuda", "meta", "xla", "", None, 3, "cpu:9"):
            yield f"{kind} on {device!r}", Storage(kind, device=device)
        for key in ("../../etc/passwd", "x" * 10_000, None, 0, "", "\0", "2"):
            yield f"{kind} with key {str(key)[:20]!r}", Storage(kind, key=key)
    for odd in ((), ("storage",), 7, "storage", ("module", 1), ("storage", 1, 2, 3, 4)):
        yield f"persistent id {odd!r}", Raw(assembled(odd) + b"Q")


LENGTHS = {  # opcodes that a length follows
    "LONG4": (b"\x8b", "<i"),
    "BINBYTES": (b"B", "<I"),
    "BINBYTES8": (b"\x8e", "<Q"),
    "BINUNICODE": (b"X", "<I"),
    "BINUNICODE8": (b"\x8d", "<Q"),
    "BYTEARRAY8": (b"\x96", "<Q"),
    "BINSTRING": (b"T", "<i"),
    "FRAME": (b"\x95", "<Q"),
}


def opcodes() -> Iterator[tuple[str, Any]]:
    """Streams of opcodes that no pickler writes."""
    deep = 1_000_000
    yield "deep tuples", Raw(b")" + b"\x85" * deep)
    yield "deep tuples as a key", Raw(b"})" + b"\x85" * deep + b"Ns")
    yield "deep marks", Raw(b"(" * deep)
    yield "deep lists", Raw(b"]" * deep + b"a" * (deep - 1))
    yield "deep dicts", Raw(b"}" + b"X\x01\x00\x00\x00k}" * deep + b"s" * deep)
    yield "doubled tuples", Raw(b")q\x01" + b"h\x01h\x01\x86q\x01" * 60)
    yield "doubled tuples as a key", Raw(b"})q\x01" + b"h\x01h\x01\x86q\x01" * 60 + b"Ns")
    yield "doubled lists", Raw(b"]q\x01" + b"](h\x01h\x01eq\x01" * 60)
    yield "a list in itself", Raw(b"]q\x01h\x01a")
    yield "a dict in itself", Raw(b"}q\x01X\x01\x00\x00\x00kh\x01s")
    yield (
        "a large memo",
        Raw(b"Nr" + struct.pack("<I", 2**32 - 1) + b"0Nr" + struct.pack("<I", HUGE)),
    )
    yield "a memo that is not there", Raw(b"j" + struct.pack("<I", HUGE))
    yield "many memos", Raw(b"N" + b"".join(b"r" + struct.pack("<I", n) for n in range(200_000)))
    for name, (code, form) in LENGTHS.items():
        largest = 2 ** (31 if form == "<i" else 32 if form == "<I" else 62) - 1
        for length in (100, HUGE, largest):
            yield f"{name} of {length}", Raw(code + struct.pack(form, length) + b"x" * 100)
    for length in (5_000, 1_000_000):
        yield (
            f"a number of {length} bytes",
            Raw(b"\x8b" + struct.pack("<i", length) + b"\x7f" * length),
        )
        yield f"a decimal of {length} digits", Raw(b"L" + b"9" * length + b"L\n")
    for number in range(256):
        yield f"opcode {number}", Raw(b"N" + bytes([number]) + b"x" * 20)
    yield "an extension", Raw(b"\x82\x01")
    yield "an instance", Raw(b"(cos\nsystem\nX\x02\x00\x00\x00lso")
    yield "a global from the stack", Raw(b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93")


def odd_values() -> Iterator[tuple[str, bytes]]:
    """Values of other kinds in every place of a checkpoint."""
    digits = Raw(b"\x8a\xff" + b"\x7f" * 255)  # too long to be shown
    values: list[Any] = [
        None,
        True,
        -1,
        0,
        2**40,
        digits,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "\x1b]0;x\x07",
        "=1+1",
    ]
    values += [b"x", [], {}, [[]], (), {"a": {}}, {1: 2}, {(): []}, tensor(), "x" * 100_000]
    for where in _places(content()):
        for value in values:
            changed = content()
            *path, last = where
            holder: Any = changed
            for key in path:
                holder = holder[key]
            holder[last] = value
            yield f"{'.'.join(map(str, where))} = {str(value)[:30]}", packed(assembled(changed))


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, held in inner:
        yield (*path, key)
        yield from _places(held, (*path, key))


def packed(opcodes: bytes, protocol: int = 2) -> bytes:
    """An archive as torch writes it, with this pickle in it and right checksums."""
    return zipped(_entries(opcodes, protocol).items())


def _entries(opcodes: bytes, protocol: int = 2) -> dict[str, bytes]:
    pickled = b"\x80" + bytes([protocol]) + opcodes + b"."
    numbers = struct.pack("<10f", *range(10))
    rows = struct.pack("<10i", *[0, 1, 2, 3, 4] * 2)
    return {
        "x/data.pkl": pickled,
        "x/byteorder": b"little",
        "x/data/0": numbers,
        "x/data/1": rows,
        "x/version": b"3\n",
    }


def with_attack(attack: Any, place: int) -> bytes:
    """A checkpoint that is sound but for one value."""
    held = content()
    holder = [held, held["weights"], held["metrics"], held["split"]][place % 4]
    holder["attack"] = attack
    return packed(assembled(held))


# archives


def archives() -> Iterator[tuple[str, bytes]]:
    """Archives that are not what they say."""
    sound = assembled(content())
    entries = _entries(sound)
    large = {**entries, "x/data/0": bytes(400_000_000)}  # too large to be allowed
    yield "sound", packed(sound)
    for protocol in range(6):
        with suppress(ValueError):
            yield (
                f"protocol {protocol}",
                packed(pickle.dumps({"format": 2}, protocol)[2:-1], protocol),
            )
    yield "deflated", zipped(large.items(), zipfile.ZIP_DEFLATED)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"compressed by {method}", zipped(entries.items(), method)
    yield "two directories", zipped(entries.items()) + zipped(large.items(), zipfile.ZIP_DEFLATED)
    yield (
        "two directories, the other way",
        zipped(large.items(), zipfile.ZIP_DEFLATED) + zipped(entries.items()),
    )
    yield (
        "a directory in the comment",
        _commented(zipped(large.items(), zipfile.ZIP_DEFLATED), zipped(entries.items())),
    )
    yield (
        "two directories, deep pickle",
        zipped(entries.items())
        + zipped({**entries, "x/data.pkl": b"\x80\x02)" + b"\x85" * 10**6 + b"."}.items()),
    )
    yield (
        "many entries",
        zipped([*entries.items(), *((f"x/data/{n}", b"") for n in range(2, 100_000))]),
    )
    yield (
        "many names of one",
        zipped([*entries.items(), *((f"x/data/{n % 9}", b"12345678") for n in range(60_000))]),
    )
    yield "an entry twice", zipped([*entries.items(), ("x/data.pkl", b"\x80\x02N.")])
    yield "an entry twice, the other way", zipped([("x/data.pkl", b"\x80\x02N."), *entries.items()])
    yield "no pickle", zipped((n, e) for n, e in entries.items() if "pkl" not in n)
    yield "no storage", zipped((n, e) for n, e in entries.items() if "data/" not in n)
    yield "no version", zipped((n, e) for n, e in entries.items() if "version" not in n)
    yield "no entries", zipped([])
    yield "two folders", zipped([*entries.items(), ("y/data.pkl", b"\x80\x02N.")])
    yield "no folder", zipped((n.removeprefix("x/"), e) for n, e in entries.items())
    yield "names upwards", zipped((f"../../{n}", e) for n, e in entries.items())
    yield "junk before", bytes(100_000) + zipped(entries.items())
    yield "junk after", zipped(entries.items()) + bytes(60_000)
    yield "a long comment", _commented(zipped(entries.items()), b"x" * 65_535)
    for entry, text in (
        ("byteorder", b"big"),
        ("byteorder", b"x" * 10**6),
        ("version", b"9" * 5_000),
        ("version", b"-1\n"),
        ("data.pkl", b""),
    ):
        changed = {**entries, f"x/{entry}": text}
        yield f"{entry} = {text[:9].decode()}", zipped(changed.items())
    yield (
        "TorchScript",
        zipped([*entries.items(), ("x/constants.pkl", b"\x80\x02)."), ("x/code/x.py", b"x")]),
    )
    yield "an ending with rubbish", zipped(entries.items())[:-9] + b"\xff" * 9
    for where in range(22):
        archive = bytearray(zipped(entries.items()))
        archive[where - 22] ^= 0xFF
        yield f"byte {where} of the ending", bytes(archive)
    for field, form in (
        (20, "<I"),
        (24, "<I"),
        (42, "<I"),
        (10, "<H"),
        (8, "<H"),
        (28, "<H"),
        (30, "<H"),
        (16, "<I"),
    ):
        for value in (0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1):
            yield (
                f"field {field} of the directory = {value}",
                _lying(zipped(entries.items()), field, form, value),
            )
    yield "overlapping entries", _overlapping(2_000)


def zipped(entries: Any, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these names and contents, in this order."""
    import warnings

    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, entry in entries:
            archive.writestr(name, entry)
    return stream.getvalue()


def _commented(archive: bytes, comment: bytes) -> bytes:
    return archive[:-2] + struct.pack("<H", min(len(comment), 65_535)) + comment


def _lying(archive: bytes, field: int, form: str, value: int) -> bytes:
    """An archive with one field changed in all entries of its directory."""
    changed, at = bytearray(archive), archive.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into(form, changed, at + field, value % 2 ** (8 * struct.calcsize(form)))
        at = archive.find(b"PK\x01\x02", at + 4)
    return bytes(changed)


def _overlapping(count: int) -> bytes:
    """Entries that all share the bytes of one: a small archive that unpacks to a large one."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = squeezer.compress(bytes(10**6)) + squeezer.flush()
    crc = zlib.crc32(bytes(10**6))
    head = (
        struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, len(kernel), 10**6, 8, 0)
        + b"x/data/0"
    )
    directory = b""
    for number in range(count):
        name = (f"x/data/{number}" if number else "x/data.pkl").encode()
        directory += (
            struct.pack(
                "<4s6H3I5H2I",
                b"PK\x01\x02",
                20,
                20,
                0,
                8,
                0,
                0,
                crc,
                len(kernel),
                10**6,
                len(name),
                0,
                0,
                0,
                0,
                0,
                0,
            )
            + name
        )
    start = len(head) + len(kernel)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0)
    return head + kernel + directory + end


def older_formats() -> Iterator[tuple[str, bytes]]:
    """Files of torch before its archives, and pickles without any."""
    torch.save(
        {"format": 2, "x": torch.zeros(9)},
        stream := io.BytesIO(),
        _use_new_zipfile_serialization=False,
    )
    yield "legacy", stream.getvalue()
    magic = (
        pickle.dumps(0x1950A86A20F9469CFC6C, 2)
        + pickle.dumps(1001, 2)
        + pickle.dumps({"little_endian": True}, 2)
    )
    for count in (10, HUGE, 10**12, -1):
        words = ("storage", Global("torch.DoubleStorage"), "0", "cpu", count, None)
        storage = Raw(assembled(words) + b"Q")
        held = {
            **content(),
            "weights": {
                "a": Call(
                    Global("torch._utils._rebuild_tensor_v2"), (storage, 0, (1,), (1,), False, {})
                )
            },
        }
        body = b"\x80\x02" + assembled(held) + b"." + pickle.dumps(["0"], 2)
        for length in (count, 10):
            data = struct.pack("<q", max(min(length, 2**62), -(2**62))) + bytes(80)
            yield f"legacy, {count} numbers, {length} there", magic + body + data
    for name, attack in opcodes():
        if "opcode" not in name:
            yield (
                f"legacy, {name}",
                magic
                + b"\x80\x02"
                + assembled({"format": 2, "x": attack})
                + b"."
                + pickle.dumps([], 2),
            )
    for number, given in enumerate(hostile_arguments()):
        for function in ("builtins.bytearray", "torch.Tensor", "torch.Size"):
            attack = Call(Global(function), given)
            yield (
                f"legacy, {function} given {number}",
                magic + b"\x80\x02" + assembled({"x": attack}) + b".",
            )
    for protocol in range(6):
        yield f"a plain pickle of protocol {protocol}", pickle.dumps({"format": 2}, protocol)
    for mode in ("w", "w:gz", "w:xz"):
        with tarfile.open(fileobj=(tar := io.BytesIO()), mode=mode) as archive:
            for name in ("sys_info", "pickle", "storages", "tensors"):
                info = tarfile.TarInfo(name)
                info.size = 50_000_000 if name == "storages" and mode != "w" else 100
                archive.addfile(info, io.BytesIO(bytes(info.size)))
        yield f"tar {mode}", tar.getvalue()
    yield "nothing", b""
    yield "zeros", bytes(100_000)
    yield "a long line", b"c" + b"x" * 10**6


# the part


def attempt(path: Path) -> int:
    """Opens a checkpoint, then shows it: the child's work."""
    with suppress(CheckpointError):
        load_checkpoint(path)
    command("info", path.name)()
    return 0


KINDS: dict[str, Callable[[], Iterator[tuple[str, Any]]]] = {
    "checkpoints that name every global of torch's safe loading": calls_of_globals,
    "checkpoints with crafted calls": crafted_calls,
    "checkpoints with storages of all types": storages,
    "checkpoints with raw opcodes": opcodes,
}
WHOLE: dict[str, Callable[[], Iterator[tuple[str, bytes]]]] = {
    "checkpoints with values of other kinds": odd_values,
    "checkpoints in forged archives": archives,
    "legacy files and tar archives": older_formats,
}


def try_checkpoints(session: Session) -> Iterator[Row]:
    """Opens forged checkpoints of every kind."""
    folder = session.place("checkpoints")
    import_all_of(_case(folder, "imports", packed(assembled(content()))).work, folder)
    sound = run_one(_case(folder, "sound", packed(assembled(content()))))
    if sound.code:
        raise SystemExit(f"a sound checkpoint is not shown: {sound.err}")
    made: dict[str, Callable[[], Iterator[tuple[str, bytes]]]] = {
        **{fault: partial(_attacked, kind) for fault, kind in KINDS.items()},
        **WHOLE,
    }
    for fault, kind in made.items():
        chosen = session.some(kind())
        cases = (_case(folder, name, data) for name, data in chosen)
        yield judge_all(Row(fault), cases, sound.megabytes, batched=True)


def _attacked(kind: Callable[[], Iterator[tuple[str, Any]]]) -> Iterator[tuple[str, bytes]]:
    for number, (name, attack) in enumerate(kind()):
        yield name, with_attack(attack, number)


def _case(folder: Path, name: str, data: bytes) -> Case:
    """A file and the child that opens it."""
    place = folder / f"{random.getrandbits(40):x}"
    place.mkdir()
    path = place / "c.pt"
    path.write_bytes(data)
    return Case(name, partial(attempt, path), place, SECONDS, size=len(data))
