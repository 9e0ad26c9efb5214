"""Broken and hostile input, over every command: one line, its exit code, nothing written or run.

To add a case, add a row to `BAD`.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import noise
from PIL import Image
from typer.testing import CliRunner

from digitsum.cli import app


def _payload(path: str) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return Path.touch, (Path("executed"),)  # type: ignore[return-value]

    Path(path).write_bytes(pickle.dumps(Payload()))


def _payload_in_torch_format(path: str) -> None:
    torch.save({"format": 1}, path)
    _payload("payload.pkl")
    with zipfile.ZipFile(path) as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in names.items():
            payload = name.endswith("data.pkl")
            archive.writestr(name, Path("payload.pkl").read_bytes() if payload else content)
    Path("payload.pkl").unlink()


def _data(**arrays: np.ndarray) -> Callable[[], None]:
    def lay() -> None:
        images, sums = noise()
        np.save("data9.npy", arrays.get("images", images))
        np.save("lab9.npy", arrays.get("sums", sums), allow_pickle=True)

    return lay


def _pixel(value: float) -> np.ndarray:
    images = noise()[0].astype(np.float32)
    images[3, 4, 5] = value
    return images


def _write(path: str, content: bytes | str) -> Callable[[], object]:
    return lambda: Path(path).write_bytes(content.encode() if isinstance(content, str) else content)


def _folder(name: str) -> Callable[[], None]:
    return lambda: Path(name).mkdir()


def _two_widths() -> None:
    Path("two").mkdir()
    for number, width in enumerate((42, 50)):
        np.save(f"two/data{number}.npy", np.zeros((9, 40, width), np.uint8))
        np.save(f"two/lab{number}.npy", np.zeros(9))


def _own(digits: np.ndarray) -> Callable[[], None]:
    def lay() -> None:
        Path("own").mkdir()
        np.save("own/digits.npy", digits)
        np.save("own/labels.npy", np.zeros(3))

    return lay


def _checkpoint(**changes: object) -> Callable[[], None]:
    """a.pt with some keys changed; dicts of `data` and `split` over what is there."""

    def lay() -> None:
        content = torch.load("a.pt", weights_only=True)
        for key, value in changes.items():
            merged = key in ("data", "split")
            content[key] = {**content[key], **value} if merged else value  # type: ignore[dict-item]
        torch.save(content, "bad.pt")

    return lay


def _with_rows(rows: torch.Tensor) -> Callable[[], None]:
    return _checkpoint(split={"val": rows})


def _large(path: str, side: int) -> None:
    """A black PNG of that many pixels square, a few kB long."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (1 + side // 8)))
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    parts = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
             for name, data in chunks]  # fmt: skip
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _npz() -> None:
    images, sums = noise()
    np.savez("x.npz", images=images, sums=sums)


def _pair(folder: str, images: np.ndarray) -> Callable[[], None]:
    def lay() -> None:
        Path(folder).mkdir()
        np.save(f"{folder}/data0.npy", images)
        np.save(f"{folder}/lab0.npy", np.zeros(len(images)))

    return lay


def _counts(counts: np.ndarray) -> Callable[[], None]:
    return lambda: np.save("strips/count0.npy", counts)


def _tens() -> None:
    np.save("strips/lab0.npy", np.full(50, 10))
    np.save("strips/count0.npy", np.ones(50))


def _one_count() -> None:
    for name in ("data", "lab"):
        np.save(f"strips/{name}1.npy", np.load(f"strips/{name}0.npy"))
    np.save("strips/count0.npy", np.ones(50))


def _pictures(text: str, picture: bytes | None = None) -> Callable[[], None]:
    """A folder with 0.png and sums.csv."""

    def lay() -> None:
        Path("p").mkdir()
        Image.fromarray(noise()[0][0]).save("p/0.png")
        if picture is not None:
            Path("p/0.png").write_bytes(picture)
        Path("p/sums.csv").write_text(text)

    return lay


def _two_pages() -> bytes:
    stream = io.BytesIO()
    page = Image.fromarray(noise()[0][0])
    page.save(stream, "TIFF", save_all=True, append_images=[page])
    return stream.getvalue()


PAGES = _two_pages()
LOW = noise()[0][:, :28]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
SAFETENSORS = struct.pack("<Q", 2) + b"{}" + bytes(4)
RESNET = "train --arch resnet --data strips --out n.pt --weights "
NEW = "train --arch cnn --data strips --out new.pt "
LAUNCH = "MASTER_ADDR=localhost MASTER_PORT=1 "
LAUGHS = "a: &a [ha]\n" + "".join(
    f"{b}: &{b} [{', '.join(9 * ['*' + a])}]\n"
    for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)
KEYS = ["lr", "weight_decay", "warp", "seed", "limit", "restarts", "ema_decay", "batch_size"]
KNOWN_LAUGHS = "schedule: &schedule [ha]\n" + "".join(
    f"{b}: &{b} [{', '.join(9 * ['*' + a])}]\n"
    for a, b in zip(["schedule", *KEYS], [*KEYS, "epochs"], strict=True)
)
YAML_PAYLOAD = "epochs: !!python/object/apply:os.mkdir [executed]"
TRAIN9 = "train --arch cnn --epochs 1 --out new.pt --data data9.npy"
SUMS = noise()[1]

# command; what lies there before it; exit code; words that the line on stderr must hold
BAD = [
    ("train --arch cnn --data nowhere", None, 1, "nowhere does not exist"),
    (TRAIN9 + " --labels strips/lab0.npy", _write("data9.npy", "text"), 1, "not a readable .npy"),
    (TRAIN9, _data(images=np.zeros((50, 41, 42), np.uint8)), 1, "strips are 40 rows high"),
    (TRAIN9, _data(images=_pixel(np.nan)), 1, "NaN or infinite"),
    (TRAIN9, _data(images=_pixel(-100)), 1, "pixels from -100 to"),
    (TRAIN9, _data(images=np.zeros((0, 40, 42), np.uint8)), 1, "holds no strips"),
    (TRAIN9, _data(images=noise()[0] // 16), 1, "what is white cannot be told"),
    (TRAIN9, _data(images=noise()[0] / 255 * 16), 1, "what is white cannot be told"),
    (TRAIN9, _data(images=noise()[0].astype(np.uint16) * 257), 1, "what is white cannot be told"),
    (TRAIN9, _data(images=np.zeros((40, 3360), np.uint8)), 1, "one strip 3360 pixels wide or 40"),
    ("eval a.pt --data strips --data ./strips", None, 2, "./strips is named twice"),
    (TRAIN9, _data(sums=SUMS[:-1]), 1, "holds 49 labels for the 50 strips"),
    (TRAIN9, _data(sums=SUMS - 5), 1, "whole and not negative"),
    (TRAIN9, _data(sums=SUMS + 0.5), 1, "whole and not negative"),
    (TRAIN9, _data(sums=np.array([Path("x")] * 50)), 1, "not a readable .npy array"),
    ("train --arch cnn --data mnist --labels strips/lab0.npy", None, 2, "--labels goes with one"),
    ("train --arch lstm", None, 2, "choose from cnn, reader, resnet"),
    ("train", None, 2, "no architecture: give --arch, one of cnn, reader, resnet"),
    ("train --arch cnn --set droput=0.1", None, 2, "did you mean 'dropout'"),
    ("train --arch cnn --set weights=x --data strips --out n.pt", None, 2, "takes none"),
    ("train --arch cnn --weights reader --data strips --out n.pt", None, 2, "takes none"),
    ("train --arch cnn --epochs 0", None, 2, "epochs: 0 is not allowed"),
    ("train --arch cnn --lr -1", None, 2, "lr: -1.0 is not allowed"),
    ("train --arch cnn --set dropout=1.5 --data strips --out n.pt", None, 2, "dropout"),
    ("train --arch cnn --set loss=l3 --data strips --out n.pt", None, 2, "choose from focal_l1"),
    ("train --arch cnn --recipe r.yaml", _write("r.yaml", "epochs: [1"), 2, "is not YAML"),
    ("train --arch cnn --recipe r.yaml", None, 2, "r.yaml cannot be read"),
    ("train --recipe fsat", None, 2, "it does not exist; give a YAML file, or fast"),
    ("train --arch cnn --out a.pt --data strips", None, 2, "a.pt exists: choose another name"),
    ("train --arch cnn --out gone/x.pt", None, 2, "create the folder gone first"),
    ("train --arch cnn --out x.model", None, 2, "name a checkpoint ….pt"),
    ("train --arch cnn --device tpu --data strips --out n.pt", None, 2, "choose from auto, cpu"),
    ("train --arch resnet --weights w.pth --data strips", None, 1, "w.pth does not exist"),
    ("train --arch resnet --weights a.pt --data strips", None, 1, "not a ResNet-50"),
    ("train --arch reader --weights a.pt --data strips --out n.pt", None, 1, "do not fit a reader"),
    ("train --arch reader --set digits_per_strip=0 --data strips --out n.pt", None, 2, "in 1..11"),
    ("train --arch reader --set restarts=-1 --data strips --out n.pt", None, 2, "restarts: -1"),
    ("eval reader", None, 1, "give --data"),
    ("train --resume a.pt", None, 2, "resumes from its ….last.pt"),
    ("train --resume gone.last.pt", None, 1, "gone.last.pt does not exist"),
    ("eval gone.pt", None, 1, "gone.pt does not exist"),
    ("eval bad.pt", _write("bad.pt", "damaged"), 1, "bad.pt"),
    ("eval bad.pt", _write("bad.pt", b""), 1, "bad.pt is empty"),
    ("eval bad.pt", lambda: _payload("bad.pt"), 1, "bad.pt"),
    ("eval bad.pt", lambda: _payload_in_torch_format("bad.pt"), 1, "never loads"),
    ("eval bad.pt", lambda: torch.save({"a": 1}, "bad.pt"), 1, "has no format number"),
    ("eval a.pt --data builtin", None, 1, "this model was trained on 42"),
    ("eval a.pt", lambda: np.save("strips/lab0.npy", SUMS + 1), 1, "fingerprint"),
    ("predict gone.npy --model a.pt --out r.csv", None, 1, "gone.npy does not exist"),
    ("predict data9.npy --model a.pt --out r.csv", _data(images=_pixel(np.inf)), 1, "NaN"),
    ("predict wide.npy --model a.pt --out r.csv",
     lambda: np.save("wide.npy", np.zeros((3, 40, 50), np.uint8)), 1, "wide.npy: strips are 50"),
    ("predict strips/data0.npy --model a.pt --out r.txt", None, 2, "name it .csv"),
    ("predict strips/data0.npy --model a.pt --out r.csv --format jsonl", None, 2, "csv and jsonl"),
    ("predict strips/data0.npy --model a.pt --digits-per-strip 0", None, 2, "from 1 up, or any"),
    ("predict strips/data0.npy --model reader --digits-per-strip 12", None, 1, "have 11 columns"),
    ("predict strips/data0.npy --model a.pt --min-confidence 0.5", None, 2, "gives no confidence"),
    ("predict strips/data0.npy --min-confidence 0.5 --out r.npy", None, 2, "write .csv"),
    ("predict strips/data0.npy --model a.pt --shard 3/2", None, 2, "--shard 3/2: give I/N"),
    ("predict strips/data0.npy --model a.pt --shard 1", None, 2, "--shard 1: give I/N"),
    ("predict strips/data0.npy --model a.pt --shard 1/2 --json", None, 2, "give --format jsonl"),
    ("compare a.pt --data strips", None, 2, "two or more"),
    ("synth strips", None, 2, "strips holds data0.npy"),
    ("train --resume a.last.pt --arch resnet", None, 2, "arch resnet differs from the run's cnn"),
    ("train --arch cnn --data strips --out " + "x" * 300 + ".pt", None, 2, "too long"),
    ("predict strips/data0.npy --model a.pt --digits-per-strip ²", None, 2, "from 1 up, or any"),
    ("synth new --strips 1000000000000000", None, 1, "out of memory"),
    ("synth new --strips 2 --files 3", None, 2, "2 strips cannot be spread over more files"),
    ("synth new --strips 1 --files 2", None, 2, "1 strip cannot be spread over more files"),
    ("synth new --strips 1 --files 1 --per-strip 1 --width 30", None, 2, "1 digit needs 42 pixels"),
    ("train --arch cnn --out x.LAST.PT", None, 2, "name a checkpoint ….pt"),
    ("train --resume gone.last.PT", None, 1, "gone.last.PT does not exist"),
    ("eval gone\x1b[31m.pt", None, 1, r"gone\x1b[31m.pt does not exist"),
    ("synth new --seed 1 --per-strip 999", None, 2, "width 41958 is too large"),
    ("train --arch cnn --data " + "x" * 300, None, 1, "too long"),
    ("predict strips/data0.npy --model a.pt --out /dev/null --overwrite --format csv", None, 2,
     "folder or a device"),
    ("synth a.pt", None, 2, "a.pt is a file"),
    ("synth new --per-strip 4-2", None, 2, "the fewest first"),
    ("synth new --per-strip many", None, 2, "give a number of digits"),
    ("synth new --width 100", None, 2, "4 digits need 168 pixels"),
    ("synth new --digits nowhere", None, 1, "digits.npy cannot be read"),
    ("synth new --digits mnist --mnist-root nowhere", None, 1, "no MNIST in nowhere"),
    # strips and labels
    (TRAIN9, lambda: np.save("data9.npy", noise()[0]), 1, "expected lab9.npy or labels9.npy"),
    (TRAIN9, _data(images=np.zeros((50, 40, 20), np.uint8)), 1, "at least 28 pixels"),
    (TRAIN9, _data(images=np.zeros((50, 3, 40, 42), np.uint8)), 1, "strips are 40 rows high"),
    (TRAIN9, _data(images=np.full((50, 40, 42), 300, np.uint16)), 1, "pixels from 300 to 300"),
    (TRAIN9, _data(images=np.zeros((50, 40, 42), np.complex64)), 1, "complex64: strips are"),
    (TRAIN9, _data(images=np.zeros((50, 40, 42), "M8[s]")), 1, "strips are integers"),
    (TRAIN9, _data(images=np.zeros((50, 40, 42), [("r", "u1")])), 1, "strips are integers"),
    (TRAIN9, _data(sums=np.array(["one"] * 50)), 1, "labels are numbers"),
    (TRAIN9, _data(sums=np.zeros((50, 2))), 1, "labels are numbers of shape (N,)"),
    (TRAIN9, _data(sums=np.full(50, np.inf)), 1, "label 0 is inf"),
    (TRAIN9, _data(sums=np.full(50, 2.0**40)), 1, "label 0 is"),
    (TRAIN9.replace("cnn", "reader --set digits_per_strip=1"), _data(sums=SUMS * 0 + 10), 1, "10"),
    ("train --arch cnn --out n.pt --data empty", _folder("empty"), 1, "empty holds no dataN.npy"),
    ("train --arch cnn --out n.pt --data two", _two_widths, 1, "strips of one set need one width"),
    ("predict empty --model a.pt", _folder("empty"), 1, "empty is a folder without pictures"),
    ("predict none/*.png", None, 1, "none/*.png does not exist, and as a pattern no file's name"),
    ("predict -", None, 2, "stdin holds no path: write one in each line"),
    ("predict - -", None, 2, "- is given twice"),
    ("predict low.npy", lambda: np.save("low.npy", LOW), 1, "--fit (in Python fit=True, of an est"),
    ("predict low.npy --fit", lambda: np.save("low.npy", LOW[:, :7]), 1, "--fit scales strips of"),
    ("predict x.npz --fit", lambda: np.savez("x.npz", LOW[:, :7]), 1, "--fit scales strips of"),
    ("eval a.pt --data low --fit", _pair("low", LOW), 1, "this model was trained on 42"),
    (NEW + "--fit --data low", _pair("low", LOW[..., :5]), 1, "low/data0.npy holds uint8 of"),
    # how many digits
    ("predict strips/data0.npy", _counts(SUMS[1:]), 1, "counts of shape (49,) for the 50 strips"),
    ("predict strips/data0.npy", _counts(SUMS * 0), 1, "42 pixels wide holds 1 to 11 digits"),
    ("predict strips/data0.npy", _counts(SUMS * 0 + 1.5), 1, "count 0 is 1.5"),
    ("predict strips/data0.npy", lambda: _write("strips/count0.npy", "x")(), 1, "not a readable"),
    ("predict strips/data0.npy", lambda: os.mkfifo("strips/count0.npy"), 1, "is a pipe or a devi"),
    ("eval reader --data strips", _counts(SUMS * 0 + 12), 1, "holds 1 to 11 digits"),
    ("eval reader --data strips", _tens, 1, "1 digit can add up to 9 at most; correct one of them"),
    ("eval reader --data strips", _one_count, 1, "and not of strips/data1.npy: give counts for"),
    ("eval a.pt --data strips --digits-per-strip 3", None, 2, "a.pt tells no digits"),
    ("eval reader --data strips --digits-per-strip 12", None, 1, "have 11 columns"),
    ("eval reader --data strips --digits-per-strip x", None, 2, "from 1 up, or any"),
    ("compare a.pt b.pt --digits-per-strip 3", None, 2, "a.pt tells no digits"),
    ("compare a.pt b.pt --digits-per-strip 0", None, 2, "from 1 up, or any"),
    ("report a.pt --data strips --digits-per-strip 0", None, 2, "from 1 up, or any"),
    ("train --arch reader --data strips --out n.pt --digits-per-strip 12", None, 2, "or any"),
    ("train --arch reader --data strips --out n.pt --digits-per-strip 0", None, 2, "or any"),
    ("train --arch reader --data strips --out n.pt --digits-per-strip 3", _counts(SUMS * 0 + 2), 2,
     "the counts of these strips say 2 digits; leave it out"),
    (NEW + "--digits-per-strip 3", None, 2, "unknown recipe key 'digits_per_strip' for cnn"),
    # folders of pictures with their sums
    ("train --arch cnn --out n.pt --data p", _pictures("file,sum\n0.png,1\n2.png,2\n"), 1,
     "p/sums.csv names 1 file not in p (2.png)"),
    ("eval reader --data p", _pictures("file,sum\n0.png,1\n0.png,1\n"), 1, "names 0.png twice"),
    ("eval reader --data p", _pictures("file,sum\n0.png,x\n"), 1, "line 2: sum is 'x'"),
    ("eval reader --data p", _pictures("name,sum\n0.png,1\n"), 1, "must be named file,sum"),
    ("eval reader --data p", _pictures("file,sum,digits\n0.png,1,2\n"), 1, "add up to 2, and sum"),
    ("eval reader --data p", _pictures("file,sum\n../0.png,1\n"), 1, "inside the folder"),
    ("eval reader --data p", _pictures("file,sum\n0.png\n"), 1, "line 2 has 1 value, its header 2"),
    ("eval reader --data p", _pictures("file,sum\n" + "x" * 200_000), 1, "has a row of 100,000"),
    ("eval reader --data p", _pictures("file,sum\n0.png,1\n", b"\x89PNG"), 1, "not a readable pi"),
    ("eval reader --data p", _pictures("file,sum\n0.png,1\n", PAGES), 1, "0.png gives 2 strips"),
    ("eval reader --data p", _pictures("file,sum\nsums.csv,1\n"), 1, "is no file of strips"),
    ("eval reader --data p", lambda: (Path("p").mkdir(), os.mkfifo("p/sums.csv")), 1, "is a pipe"),
    ("eval reader --data p --labels q.csv", _pictures(""), 1, "q.csv does not exist"),
    ("eval reader --data p --labels q.npy", _pictures(""), 2, "for a folder of pictures it is a"),
    ("eval reader --data p", _folder("p"), 1, "or pictures with their sums in sums.csv"),
    ("compare reader a.pt --data p", _pictures("file,sum\n"), 1, "holds no sums"),
    ("report reader --data p", _pictures(""), 1, "begins with the line ''"),
    ("synth strips --pictures --overwrite", None, 2, "strips holds data0.npy, which"),
    ("synth new --pictures --files 2", None, 2, "each strip has a file of its own"),
    ("synth new --pictures --strips 2000000", None, 2, "--pictures writes 300,000 at most"),
    ("synth p --pictures", _pictures(""), 2, "p holds sums.csv"),
    ("predict p.npz --model a.pt", _write("p.npz", "PK"), 1, "p.npz is not a readable .npz"),
    ("predict p.npz --model a.pt", lambda: np.savez("p.npz", np.zeros(3)), 1, "p.npz holds"),
    ("predict p.npz --model a.pt", lambda: np.savez("p.npz", a=SUMS, b=SUMS), 1, "strips images"),
    ("predict p.npz --model a.pt", None, 1, "p.npz does not exist"),
    ("predict p.png --model a.pt", _write("p.png", "PNG"), 1, "p.png is not a readable picture"),
    ("predict p.png --model a.pt", None, 1, "p.png does not exist"),
    ("predict p.png", None, 1, "p.png does not exist"),
    ("eval reader --data strips", lambda: _write("strips/truth0.npz", "zip")(), 1, "remove it"),
    # recipes
    (NEW + "--recipe r.yaml", _write("r.yaml", LAUGHS), 2, "unknown recipe key 'a'"),
    (NEW + "--recipe r.yaml", _write("r.yaml", KNOWN_LAUGHS), 2, "must be a whole number"),
    ("train --recipe r.yaml --data strips", _write("r.yaml", "arch: antigravity:Class"), 2,
     "does not import because a file says so"),
    (NEW + "--recipe r.yaml", _write("r.yaml", YAML_PAYLOAD), 2, "is not YAML"),
    (NEW + "--recipe r.yaml", _write("r.yaml", b"\xff\xfe"), 2, "it is not text in UTF-8"),
    (NEW + "--recipe r.yaml", _write("r.yaml", "a: " + "x" * 1_000_001), 2, "it is not a recipe"),
    (NEW + "--recipe r.yaml", _write("r.yaml", "[" * 5000), 2, "is not YAML"),
    (NEW + "--recipe r.yaml", _write("r.yaml", "- epochs"), 2, "not a list of `key: value` lines"),
    (NEW + "--recipe strips", None, 2, "strips cannot be read"),
    (NEW + "--set epochs", None, 2, "not of the form key=value"),
    (NEW + "--set lr=[1]", None, 2, "lr: [1] is not allowed"),
    (NEW + "--set optimizer=sgd", None, 2, "adam, adamw or muon"),
    (NEW + "--set warp=99", None, 2, "a number of pixels in 0..10"),
    (NEW + "--lr nan", None, 2, "lr: nan is not allowed"),
    (NEW + "--batch-size 0", None, 2, "batch_size: 0 is not allowed"),
    (NEW + "--limit 0", None, 2, "limit: 0 is not allowed"),
    (NEW + "--seed 4294967296", None, 2, "in 0..4294967295"),
    (NEW + "--precision fp8", None, 2, "auto, fp32 or bf16"),
    (NEW + "--device cuda:99", None, 2, "cuda:99"),
    # checkpoints
    ("eval bad.pt", _checkpoint(arch="lstm", recipe={"arch": "lstm"}), 1, "'lstm': this"),
    ("eval bad.pt", _checkpoint(recipe={"arch": "cnn", "evil": 1}), 1, "evil"),
    ("eval bad.pt", _checkpoint(weights={}), 1, "is missing"),
    ("eval bad.pt", _checkpoint(weights={"x": torch.ones(1)}), 1, "is missing"),
    ("eval bad.pt", _checkpoint(format=99), 1, "install a newer digitsum"),
    ("eval bad.pt", _checkpoint(format=True), 1, "no format number"),
    ("eval bad.pt", _checkpoint(weights={"x": torch.tensor(np.nan)}), 1, "finite numbers"),
    ("eval bad.pt", _checkpoint(metrics={"epoch": "9"}), 1, "'metrics.epoch' is missing or wrong"),
    ("eval bad.pt", _with_rows(torch.tensor([-1])), 1, "rows outside 0..49"),
    ("eval bad.pt", _with_rows(torch.tensor([10**9])), 1, "rows outside 0..49"),
    ("eval bad.pt", _with_rows(torch.tensor([0.5])), 1, "'split.val' is missing or wrong"),
    ("eval bad.pt --data strips", _checkpoint(data=dict(width=2**62)), 1, "bad.pt"),
    ("compare a.pt bad.pt --data strips", _write("bad.pt", "PK"), 1, "bad.pt"),
    ("predict strips/data0.npy --model strips", None, 1, "strips is a folder"),
    ("train --resume bad.last.pt", _write("bad.last.pt", "PK"), 1, "bad.last.pt"),
    ("train --resume b.last.pt", lambda: Path("a.pt").replace("b.pt"), 1, "is not of the run"),
    # files of another kind
    ("eval bad.pt", _write("bad.pt", LFS), 1, "bad.pt is a Git LFS pointer"),
    ("eval bad.pt", _write("bad.pt", "\n<!DOCTYPE html>"), 1, "bad.pt is an HTML page"),
    ("eval bad.pt", _write("bad.pt", SAFETENSORS), 1, "bad.pt is safetensors"),
    ("eval strips/lab0.npy", None, 1, "lab0.npy is a .npy array, not a PyTorch file"),
    ("eval bad.pt", lambda: os.mkfifo("bad.pt"), 1, "bad.pt is a pipe or a device"),
    ("train --resume bad.last.pt", _write("bad.last.pt", LFS), 1, "run git lfs pull"),
    (RESNET + "w.pth", _write("w.pth", SAFETENSORS), 1, "w.pth is safetensors"),
    (RESNET + "w.pth", _write("w.pth", LFS), 1, "w.pth is a Git LFS pointer"),
    (RESNET + "w.pth", _write("w.pth", "<html>"), 1, "w.pth is an HTML page"),
    (RESNET + "w.pth", lambda: os.mkfifo("w.pth"), 1, "w.pth is a pipe or a device"),
    (RESNET + "w.pth", lambda: torch.save({"conv1.weight": torch.ones(64, 2, 7, 7)}, "w.pth"), 1,
     "conv1.weight is (64, 2, 7, 7)"),
    ("train --arch reader --weights imagenet --data strips --out n.pt", None, 1, "a reader takes"),
    (NEW + "--weights x.pt", None, 2, "cnn takes none, it starts fresh; resnet and reader start"),
    ("predict p.npy", _write("p.npy", LFS), 1, "p.npy is a Git LFS pointer"),
    ("predict p.npz", _write("p.npz", LFS), 1, "p.npz is a Git LFS pointer"),
    ("predict p.png", _write("p.png", LFS), 1, "p.png is a Git LFS pointer"),
    ("predict p.png", _write("p.png", "<html>"), 1, "p.png is an HTML page"),
    ("predict p.png", _write("p.png", "%!PS-Adobe-3.0 EPSF-3.0"), 1, "p.png is PostScript"),
    ("predict p.pdf", _write("p.pdf", "%PDF-1.7"), 1, "p.pdf is a PDF"),
    ("predict p.heic", _write("p.heic", b"\0\0\0\x18ftypheic"), 1, "p.heic is a HEIF picture"),
    ("predict p.npy.gz", _write("p.npy.gz", b"\x1f\x8b\x08"), 1, "is compressed with gzip"),
    ("predict ._p.png", _write("._p.png", b"\0\5\x16\7"), 1, "AppleDouble"),
    ("predict a.pt", None, 1, "a.pt is a PyTorch file, not a picture"),
    ("predict p.txt", _write("p.txt", "text"), 1, "p.txt is no file of strips: give a .npy"),
    ("predict p.npy", lambda: os.mkfifo("p.npy"), 1, "p.npy is a pipe or a device"),
    ("predict p.png", lambda: os.mkfifo("p.png"), 1, "p.png is a pipe or a device"),
    ("predict p", lambda: os.mkfifo("p"), 1, "p is a pipe or a device"),
    ("predict p.npz", lambda: os.mkfifo("p.npz"), 1, "p.npz is a pipe or a device"),
    ("predict p.npz", lambda: Path("p.npz").symlink_to("/dev/zero"), 1, "p.npz is a pipe or a dev"),
    ("predict " + "x" * 300, None, 1, "cannot be read (File name too long)"),
    ("eval reader --data strips/data0.npy --labels p", lambda: os.mkfifo("p"), 1, "p is a pipe or"),
    ("eval reader --data strips", lambda: os.mkfifo("strips/truth0.npz"), 1, "is a pipe or a devi"),
    (NEW + "--recipe p", lambda: os.mkfifo("p"), 2, "p cannot be read: it is a pipe or a device"),
    ("synth new --digits own", lambda: (Path("own").mkdir(), os.mkfifo("own/digits.npy")), 1,
     "own/digits.npy is a pipe or a device"),
    ("predict p.npy --model reader", lambda: np.save("p.npy", np.zeros((1, 40, 10_001), np.uint8)),
     1, "more than 10,000: cut them into pieces"),
    ("predict strips/data0.npy --digits-per-strip 2000", lambda: np.save("strips/data0.npy",
     np.resize(noise()[0], (1, 40, 10_000))), 1, "give --digits-per-strip any"),
    ("predict /dev/null", None, 1, "/dev/null is a pipe or a device"),
    ("predict p.png", lambda: _large("p.png", 20_000), 1, "400,000,000 pixels, more than 50,000,0"),
    ("predict p.png", lambda: _large("p.png", 10_000), 1, "more than 50,000,000: make it smaller"),
    ("predict p.npy q.npy", None, 1, "none of 2 files can be read: p.npy does not exist"),
    (TRAIN9, _write("data9.npy", LFS), 1, "no labels beside"),
    (TRAIN9 + " --labels l.npy", lambda: (_data()(), _write("l.npy", LFS)()), 1, "Git LFS pointer"),
    ("eval reader --data x.npz", _npz, 1, "x.npz is a .npz, not a .npy array; give a"),
    ("eval reader --data x.npz --labels strips/lab0.npy", _npz, 1, "give a folder"),
    ("compare reader a.pt --data x.npz", _npz, 1, "give a folder"),
    ("train --arch cnn --out n.pt --data x.npz", _npz, 1, "give a folder"),
    ("eval reader --data p.png", _write("p.png", b"\x89PNG"), 1, "p.png is a picture, not a .npy"),
    ("eval reader --data p", lambda: os.mkfifo("p"), 1, "p is a pipe or a device"),
    # options and the environment
    ("export a.pt a.onnx --digits-per-strip 3", None, 2, "a.pt tells no digits"),
    ("predict strips/data0.npy --model a.pt --digits-per-strip 3", None, 2, "tells no digits"),
    ("predict strips/data0.npy --model a.pt --precision int8", None, 2, "int8"),
    ("info gone.pt", None, 1, "gone.pt does not exist"),
    ("info bad.pt", _write("bad.pt", "PK"), 1, "bad.pt"),
    ("info --history", None, 2, "--history goes with a checkpoint"),
    ("recipes lstm", None, 2, "there are cnn, reader, resnet"),
    ("report a.pt --data strips --out strips", None, 2, "folder or a device"),
    ("report gone.pt --data strips", None, 1, "gone.pt does not exist"),
    ("export a.pt a.pt", None, 2, "name the file .onnx"),
    ("export gone.pt a.onnx", None, 1, "gone.pt does not exist"),
    ("export a.pt gone/a.onnx", None, 2, "create the folder gone first"),
    ("export reader a.onnx --digits-per-strip none", None, 2, "from 1 up, or any"),
    ("draw gone.pt --port 0", None, 1, "gone.pt does not exist"),
    ("predict strips/data0.npy --model a.pt --show --json", None, 2, "give --out too"),
    ("eval a.pt --show-errors 2 --json", None, 2, "give one of them"),
    ("predict strips/data0.npy --model a.pt --out gone/r.csv", None, 2, "create the folder gone"),
    ("predict strips/data0.npy --model a.pt --out a.pt --format csv", None, 2, "a.pt exists"),
    ("DIGITSUM_MNIST=nowhere train --arch cnn --data mnist --out n.pt", None, 1, "no MNIST in now"),
    (LAUNCH + "RANK=0 WORLD_SIZE=two " + NEW, None, 2, "WORLD_SIZE"),
    (LAUNCH + "RANK=2 WORLD_SIZE=2 " + NEW, None, 2, "RANK"),
    ("synth new --digits own", _own(np.zeros((3, 28, 27), np.uint8)), 1, "expected uint8 (M, 28"),
    ("synth new --digits own", _own(np.zeros((4, 28, 28), np.uint8)), 1, "4 labels in 0..9"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("command", "before", "code", "words"), BAD, ids=[row[0] for row in BAD])
def test_bad_input_is_one_line_and_writes_nothing(
    project: Path,
    command: str,
    before: Callable[[], object] | None,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if before is not None:
        before()
    there = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    words_given = command.split()
    while "=" in words_given[0]:
        monkeypatch.setenv(*words_given.pop(0).split("="))
    result = CliRunner().invoke(app, words_given)
    assert isinstance(result.exception, SystemExit), result.exception  # no traceback
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert result.stdout == ""
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == there
