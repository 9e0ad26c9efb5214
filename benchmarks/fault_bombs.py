"""Small files that would unpack to much, or take long: arrays, archives, pictures, recipes."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fault_children import Case, command, import_all_of, run_one
from fault_disks import lay_out
from fault_rows import Row, Session, judge_all
from PIL import Image

HUGE = 400_000_000  # bytes: twice what opening a small file may take
SECONDS = 20  # of computing

Make = Callable[[Path], object]
Bombs = Iterator[tuple[str, str, Make, str]]  # name, where it lies, how it is made, the command


def header(descr: str, shape: Any, order: bool = False) -> bytes:
    """The header of a `.npy` file."""
    np.lib.format.write_array_header_1_0(
        stream := io.BytesIO(), {"descr": descr, "fortran_order": order, "shape": shape}
    )
    return stream.getvalue()


def sparse(descr: str, shape: tuple[int, ...], order: bool = False) -> Make:
    """A `.npy` file of zeros that take no room on the disk."""

    def make(path: Path) -> None:
        path.write_bytes(header(descr, shape, order))
        length = int(np.prod(shape, dtype=object)) * np.dtype(descr).itemsize
        os.truncate(path, path.stat().st_size + length)

    return make


def text_header(text: bytes, length: int | None = None, version: int = 2) -> Make:
    """A `.npy` file with any text as its header, which may claim another length."""
    size = struct.pack("<I" if version > 1 else "<H", len(text) if length is None else length)
    content = b"\x93NUMPY" + bytes([version, 0]) + size + text
    return lambda path: path.write_bytes(content + bytes(200))


def squeezed(entries: dict[str, tuple[bytes, int]]) -> Make:
    """A `.npz` file of entries that begin so and go on with so many zeros."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, (start, zeros) in entries.items():
                with archive.open(name, "w", force_zip64=True) as stream:
                    stream.write(start)
                    for _ in range(zeros // 2**20):
                        stream.write(bytes(2**20))
                    stream.write(bytes(zeros % 2**20))

    return make


def lying(make: Make, claimed: int) -> Make:
    """The same archive, whose entries claim to be of another size."""

    def lie(path: Path) -> None:
        make(path)
        content = bytearray(path.read_bytes())
        at = content.find(b"PK\x01\x02")
        struct.pack_into("<I", content, at + 24, claimed)
        path.write_bytes(content)

    return lie


def many_entries(path: Path) -> None:
    """An archive of 100,000 entries."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(100_000):
            archive.writestr(f"{number}.npy", b"")


def images_npz(descr: str, width: int = 42) -> Make:
    """Strips that unpack to `HUGE` bytes."""
    count = HUGE // (40 * width * np.dtype(descr).itemsize)
    zeros = count * 40 * width * np.dtype(descr).itemsize
    return squeezed({"images.npy": (header(descr, (count, 40, width)), zeros)})


def png(width: int, height: int, depth: int = 1, kind: int = 0, row: bytes | None = None) -> Make:
    """A picture of zeros."""

    def make(path: Path) -> None:
        line = (
            bytes(1 + -(-width * depth * (3 if kind == 2 else 1) // 8))
            if row is None
            else b"\0" + row
        )
        squeezer = zlib.compressobj(9)
        data = b"".join(squeezer.compress(line) for _ in range(height)) + squeezer.flush()
        head = struct.pack(">2I5B", width, height, depth, kind, 0, 0, 0)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
        )

    return make


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with(name: bytes, data: bytes) -> Make:
    """A small picture with one more chunk."""

    def make(path: Path) -> None:
        png(42, 40)(path)
        content = path.read_bytes()
        path.write_bytes(content[:33] + chunk(name, data) + content[33:])

    return make


def pages(count: int, size: tuple[int, int], kind: str) -> Make:
    """A picture of many pages."""

    def make(path: Path) -> None:
        frames = [Image.new("L", size, number % 2) for number in range(count)]
        frames[0].save(path, kind, save_all=True, append_images=frames[1:])

    return make


def written(content: bytes) -> Make:
    """A file with this content."""
    return lambda path: path.write_bytes(content)


def tiff(width: int, height: int, *, kind: int = 1, bits: int = 8, samples: int = 1) -> Make:
    """A TIFF that claims a size and holds next to nothing."""
    room, kinds = min(width * height * bits // 8, 2**32 - 1), 3 if bits == 32 else 1
    longs = {256: width, 257: height, 273: 8, 278: height, 279: room}
    shorts = {258: bits, 259: 1, 262: kind, 277: samples, 339: kinds}
    tags = sorted(
        [(tag, 4, v) for tag, v in longs.items()] + [(t, 3, v) for t, v in shorts.items()]
    )
    entries = b"".join(struct.pack("<HHII", tag, form, 1, value) for tag, form, value in tags)
    return written(
        b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4000)
    )


PICTURES: dict[str, tuple[str, Make]] = {
    "30,000 x 30,000 pixels, 1 bit": ("x.png", png(30_000, 30_000)),
    "10,000 x 10,000 pixels, 8 bits": ("x.png", png(10_000, 10_000, 8)),
    "6,000 x 6,000 pixels, 16 bits": ("x.png", png(6_000, 6_000, 16)),
    "8,000 x 8,000 pixels, colour": ("x.png", png(8_000, 8_000, 8, 2)),
    "1,200,000 columns": ("x.png", png(1_200_000, 40)),
    "4,000,000 columns, 8 bits": ("x.png", png(4_000_000, 40, 8)),
    "1,200,000 rows": ("x.png", png(40, 1_200_000)),
    "65,000 stripes": ("x.png", png(65_000, 60, 1, 0, b"\xaa" * 8_125)),
    "stripes and a high picture": ("x.png", png(30_000, 400, 1, 0, b"\xaa" * 3_750)),
    "2^31 columns": ("x.png", png(2**31 - 1, 1, 1, 0, b"\0" * 100)),
    "a compressed text of 400 MB": (
        "x.png",
        png_with(b"zTXt", b"k\0\0" + zlib.compress(bytes(HUGE), 1)),
    ),
    "a compressed profile of 400 MB": (
        "x.png",
        png_with(b"iCCP", b"k\0\0" + zlib.compress(bytes(HUGE), 1)),
    ),
    "100,000 texts": ("x.png", png_with(b"tEXt", b"k\0v" * 33_333)),
    "PostScript as .png": (
        "x.png",
        written(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 50\n%%EndComments\nshowpage\n"),
    ),
    "PostScript as .tif": (
        "x.tif",
        written(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 50000\n%%EndComments\nshowpage\n"
        ),
    ),
    "a PDF as .jpg": (
        "x.jpg",
        written(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>"),
    ),
    "an icon as .png": (
        "x.png",
        written(b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0\x16\0\0\0\x16\0\0\0" + bytes(40)),
    ),
    "a GIF of 20,000 frames": ("x.gif", pages(20_000, (42, 40), "GIF")),
    "a GIF screen of 65,535 x 65,535": (
        "x.gif",
        written(b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"),
    ),
    "a TIFF of 3,000 pages": ("x.tif", pages(3_000, (42, 40), "TIFF")),
    "a TIFF of 50,000 x 50,000": ("x.tif", tiff(50_000, 50_000)),
    "a TIFF of 10,000 x 10,000 floats": ("x.tif", tiff(10_000, 10_000, bits=32)),
    "a TIFF of 1,200,000 columns": ("x.tif", tiff(1_200_000, 40, bits=32)),
    "a PGM that claims 10^9 pixels": ("x.pgm", written(b"P5 100000 10000 255\n" + bytes(99))),
    "a PGM of text numbers": (
        "x.pgm",
        written(b"P2 9999 9999 " + b"9" * 5_000 + b"\n" + b"1 " * 99),
    ),
    "a JPEG of 65,000 x 65,000": (
        "x.jpg",
        written(
            b"\xff\xd8\xff\xc0\0\x0b\x08\xfd\xe8\xfd\xe8\x01\x01\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0"
            + bytes(99)
            + b"\xff\xd9"
        ),
    ),
    "a BMP of 40,000 x 40,000": (
        "x.bmp",
        written(
            b"BM"
            + struct.pack("<IHHI", 200, 0, 0, 62)
            + struct.pack("<IiiHHIIiiII", 40, 40_000, 40_000, 1, 1, 0, 0, 0, 0, 2, 0)
            + bytes(99)
        ),
    ),
}
RECIPES: dict[str, bytes] = {
    "aliases of aliases": b"a0: &a0 [1,2,3,4,5,6,7,8,9]\n"
    + b"".join(
        b"a%d: &a%d [" % (n, n) + b",".join([b"*a%d" % (n - 1)] * 9) + b"]\n" for n in range(1, 12)
    ),
    "merged mappings": b"a0: &a0 {x: 1}\n"
    + b"".join(
        b"a%d: &a%d {<<: [" % (n, n) + b",".join([b"*a%d" % (n - 1)] * 9) + b"]}\n"
        for n in range(1, 9)
    ),
    "deep lists": b"x: " + b"[" * 100_000 + b"]" * 100_000,
    "deep mappings": b"{a: " * 20_000 + b"1" + b"}" * 20_000,
    "deep blocks": b"".join(b" " * n + b"a:\n" for n in range(1_300)),
    "a list in itself": b"epochs: &a [*a]\n",
    "a mapping in itself": b"&a\nepochs: *a\n",
    "a number of 10,000 digits": b"epochs: " + b"9" * 10_000 + b"\n",
    "a binary number of 100,000 digits": b"epochs: 0b" + b"1" * 100_000 + b"\n",
    "a sexagesimal number": b"epochs: 1" + b":59" * 30_000 + b"\n",
    "a float of 100,000 digits": b"lr: 0." + b"0" * 100_000 + b"1\n",
    "a key that is a list": b"? [a, b]\n: 1\n",
    "a key that is a mapping": b"? {a: b}\n: 1\n",
    "bytes": b"epochs: !!binary aGVsbG8=\n",
    "a set": b"epochs: !!set {a, b}\n",
    "a time": b"epochs: 2001-12-14t21:59:43.10-05:00\n",
    "an impossible date": b"epochs: 2001-99-99\n",
    "an object": b"epochs: !!python/object/apply:os.system ['true']\n",
    "an unknown tag": b"epochs: !x y\n",
    "a NUL": b"epochs: 1\0\n",
    "no UTF-8": b"epochs: \xff\xfe\xff\n",
    "UTF-16": "epochs: 1\n".encode("utf-16"),
    "half of UTF-16": "epochs: 1\n".encode("utf-16")[:-1],
    "50 MB of spaces": b" " * 50_000_000,
    "80,000 keys": b"".join(b"k%d: 1\n" % n for n in range(80_000)),
    "a long key": b"x" * 900_000 + b": 1\n",
    "many documents": b"---\na: 1\n" * 50_000,
    "a percent directive": b"%YAML 9.9\n---\nepochs: 1\n",
    "quoted for ever": b'"' + b"\\x41" * 200_000,
    "a list": b"- 1\n- 2\n",
    "a word": b"word",
    "not a number": b"lr: .nan\n",
    "infinity": b"lr: .inf\n",
    "nothing": b"",
    "1e400": b"lr: 1e400\n",
}
TRUTH, LABELS, STRIPS, PACKED = "d/truth0.npz", "d/lab0.npy", "x.npy", "x.npz"
COUNTS, FIT = "d/count0.npy", "predict x.npy --fit"
SCORE, SCORE_DIGITS = "eval c.pt --data d", "eval reader --data d"
PREDICT, PREDICT_PACKED = "predict x.npy --out r.csv", "predict x.npz --model c.pt"
SYNTH = "synth o --digits f --strips 9"


def truth(
    descr: str, shape: tuple[int, ...], zeros: int = HUGE, **others: tuple[bytes, int]
) -> Make:
    """A truth of these digits, and more entries."""
    more = {f"{name}.npy": entry for name, entry in others.items()}
    return squeezed({"digits.npy": (header(descr, shape), zeros), **more})


def claimed(descr: str, shape: str, version: int = 1) -> Make:
    """A `.npy` file that claims a shape."""
    words = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}"
    return text_header(words.encode(), version=version)


def packed_strips() -> Bombs:
    """Archives of strips that unpack to much."""
    for kind in ("|b1", "|u1", "<f4", "<i8", "<f2", ">f8", "<c16"):
        yield f"strips of {kind} in a .npz", PACKED, images_npz(kind), PREDICT_PACKED
    for kind in ("|b1", "|u1", "<f4"):
        yield f"wide ones of {kind} in a .npz", PACKED, images_npz(kind, 100_000), "predict x.npz"
    yield "strips whose size lies", PACKED, lying(images_npz("|u1"), 2_000), PREDICT_PACKED
    yield "100,000 entries", PACKED, many_entries, PREDICT_PACKED


def truths() -> Bombs:
    """Truths that unpack to much."""
    small = (header("|i1", (20, 1)), 20)
    large = header("<i2", (20, 1, HUGE // 40)), HUGE
    makes = {
        "400 MB": truth("|i1", (20, HUGE // 20)),
        "400 MB of numbers": truth("<i8", (20, HUGE // 160)),
        "large positions": squeezed({"digits.npy": small, "positions.npy": large}),
        "400 MB in another entry": squeezed({"digits.npy": small, "x.npy": large}),
        "another size than it says": lying(truth("|i1", (20, HUGE // 20)), 200),
        "a claim of 10^12": truth("|i1", (20, 10**12), 100),
        "100,000 entries": many_entries,
    }
    for name, make in makes.items():
        yield f"a truth of {name}", TRUTH, make, SCORE_DIGITS


def labels() -> Bombs:
    """Labels that take no room, and digits."""
    for kind in ("<i8", "|u1", "<f8", "<c16", "|O", "<U9"):
        make = sparse(kind, (HUGE // np.dtype(kind).itemsize,))
        yield f"labels of {kind} that take no room", LABELS, make, SCORE
        yield f"labels of {kind} to train on", LABELS, make, "train --arch cnn --epochs 1 --data d"
    many = sparse("<i8", (HUGE // 8,))
    yield "named labels that take no room", STRIPS, many, "eval c.pt --data s.npy --labels x.npy"
    yield "labels in columns", LABELS, sparse("<i8", (20, HUGE // 160)), SCORE
    yield "a large text", LABELS, claimed("<U500000000", "(20,)"), SCORE
    yield "labels whose header claims 4 GB", LABELS, text_header(b"{", 2**32 - 1), SCORE
    for size in (HUGE, 10**10):
        make = sparse("|u1", (size // 784, 28, 28))
        yield f"digits of {size:,} bytes that take no room", "f/digits.npy", make, SYNTH
    yield "labels of digits that take no room", "f/labels.npy", many, SYNTH


def strips() -> Bombs:
    """Strips that take no room, or claim much."""
    for kind in ("|u1", "<f8", "|b1"):
        for order in (False, True):
            count = HUGE // (1680 * np.dtype(kind).itemsize * 32)
            make = sparse(kind, (count, 40, 42), order)
            name = f"strips of {kind}{' in columns' * order} that take no room"
            yield name, STRIPS, make, f"{PREDICT} --model c.pt --shard 1/100"
    for width in (32_000, 1_200_000, HUGE // 40):
        yield f"one strip of {width:,} columns", STRIPS, sparse("|u1", (1, 40, width)), PREDICT
    wide = sparse("|u1", (1_000, 40, 20_000))
    yield "1,000 strips of 20,000 columns", STRIPS, wide, f"{PREDICT} --shard 1/100"
    yield "flat strips of 10^9", STRIPS, sparse("|u1", (2, 10**9)), PREDICT
    yield "no strips", STRIPS, sparse("|u1", (0, 40, 42)), PREDICT
    makes = {
        "a shape of 10^18": claimed("|u1", f"({10**18}, 40, 42)"),
        "a shape that overflows": claimed("|u1", f"({2**62}, 40, 42)"),
        "a shape of 20,000 digits": claimed("|u1", f"({'9' * 20_000},)", 2),
        "a large item": claimed("|V2000000000", "(1,)"),
        "a deep header": text_header(b"(" * 60_000),
        "a deep header of signs": text_header(b"-" * 60_000 + b"1"),
        "a deep descr": text_header(b"{'descr': " + b"[('a'," * 900 + b"'u1'" + b")]" * 900 + b"}"),
        "a header of 50 MB": text_header(b" " * 50_000_000),
        "a header that claims 4 GB": text_header(b"{", 2**32 - 1),
    }
    for name, make in makes.items():
        yield name, STRIPS, make, PREDICT


def counts() -> Bombs:
    """Counts that take no room."""
    for kind in ("<i8", "|u1", "<c16", f"|V{HUGE // 20}"):
        shape = (20,) if "V" in kind else (20, HUGE // 20 // np.dtype(kind).itemsize)
        yield f"counts of {kind} that take no room", COUNTS, sparse(kind, shape), SCORE_DIGITS
        yield (
            f"counts of {kind} to predict with",
            COUNTS,
            sparse(kind, shape),
            "predict d/data0.npy",
        )


def fitted() -> Bombs:
    """Images of other heights."""
    for kind in ("|u1", "<f8", "<f16"):
        for order in (False, True):
            make = sparse(kind, (1, 2_000, 10_000), order)
            yield f"one large image of {kind}{' in columns' * order}", STRIPS, make, FIT
    yield "400,000 small images", STRIPS, sparse("|u1", (400_000, 8, 8)), f"{FIT} --shard 1/2000"
    yield "low strips in a .npz that become large", PACKED, low_strips, "predict x.npz --fit"


def low_strips(path: Path) -> None:
    """A small file of strips whose digits are 8 rows high."""
    images = np.zeros((1_000, 8, 4_000), np.uint8)
    images[:, :, 4:-4:20] = 255
    np.savez_compressed(path, images)


def arrays() -> Bombs:
    """All arrays that unpack to much."""
    yield from counts()
    yield from fitted()
    yield from packed_strips()
    yield from truths()
    yield from labels()
    yield from strips()


def pictures() -> Bombs:
    """All pictures."""
    for name, (where, make) in PICTURES.items():
        yield name, where, make, f"predict {where}"
        yield f"{name}, drawn into", where, make, f"predict {where} --annotate r.png"


def repeated(start: str, part: str, size: int = 50_000_000) -> Make:
    """A text of that size in bytes, at most."""
    return written(start.encode() + part.encode() * ((size - len(start)) // len(part.encode())))


def tables() -> Bombs:
    """All tables of sums."""
    head = "file,sum,count\n"
    texts = {
        "12 million rows": repeated(head, "a,1,1\n"),
        "a row of 16 million texts": repeated(head, "ā,"),
        "a header of 16 million texts": repeated(head[:-1], ",ā"),
        "a row over 12 million lines": repeated(head, '"\n",'),
        "50 million empty lines": repeated(head, "\n"),
        "a text that never ends": repeated(head + '"', "x"),
        "no line at all": repeated("", "\0"),
        "a number of 90,000 digits": repeated(head + "0.png,", "9", 90_000),
        "90,000 digits": written(b"file,sum,digits\n0.png,0," + b"0" * 90_000 + b"\n"),
        "299,999 rows": written(head.encode() + b"".join(b"%x,1,1\n" % n for n in range(299_999))),
    }
    for name, make in texts.items():
        for words in ("check p", "predict p"):
            yield name, "p/sums.csv", make, words


def recipes() -> Bombs:
    """All recipes."""
    words = "train --arch cnn --data s --epochs 1 --recipe x.yaml"
    for name, text in RECIPES.items():
        yield name, "x.yaml", written(text), words


def try_bombs(session: Session) -> Iterator[Row]:
    """Opens data, pictures and recipes that would take much memory or long."""
    base = session.place("bombs/base")
    if (ended := run_one(Case("inputs", partial(lay_out, base), base))).code:
        raise SystemExit(f"the inputs cannot be made: {ended.err}")
    kinds = {
        "arrays that unpack to much": (arrays, "eval reader --data s"),
        "pictures that unpack to much, or take long": (pictures, "predict s.npy"),
        "tables of sums that unfold": (tables, "check s"),
        "recipes that unfold": (recipes, "train --arch cnn --data s --epochs 1"),
    }
    for number, (fault, (bombs, sound)) in enumerate(kinds.items()):
        place = _inputs(session, base, f"sound{number}")
        work = command(*sound.split(), "--device", "cpu")
        import_all_of(work, place)
        baseline = run_one(Case("sound", work, place)).megabytes
        made = (_case(session, base, number, *each) for each in session.some(bombs()))
        yield judge_all(Row(fault), made, baseline)


def _inputs(session: Session, base: Path, name: str) -> Path:
    place = session.place(f"bombs/{name}")
    for path in base.iterdir():
        (place / path.name).symlink_to(path)
    for folder, names in (
        ("d", ("s/data0.npy", "s/lab0.npy")),
        ("f", ("digits.npy", "labels.npy")),
        ("p", ("0.png",)),
    ):
        (place / folder).mkdir()
        for each in names:
            (place / folder / Path(each).name).symlink_to(base / each)
    return place


def _case(
    session: Session, base: Path, kind: int, name: str, where: str, make: Make, words: str
) -> Case:
    place = _inputs(session, base, f"{kind}{zlib.crc32((name + words).encode()):x}")
    path = place / where
    path.unlink(missing_ok=True)
    make(path)
    device = [] if words.startswith("synth") else ["--device", "cpu"]
    size = path.stat().st_blocks * 512
    return Case(f"{name}: {words}", command(*words.split(), *device), place, SECONDS, size=size)
