"""Special files in the place of every input and output: pipes, sockets, devices, links."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fault_children import Case, command, import_all_of, run_all, run_batched, run_one
from fault_disks import lay_out
from fault_rows import SPARE_MB, Row, Session, judge

SECONDS = 60  # of computing; a command takes about one
RESNET = 100_000_000  # bytes that a ResNet takes before it takes on weights

# where the special file stands, and the command that meets it
INPUTS = (
    ("x.npy", "predict x.npy --model c.pt"),
    ("x.npz", "predict x.npz --model c.pt"),
    ("x.png", "predict x.png --model c.pt"),
    ("x.tif", "predict x.tif --model c.pt"),
    ("p/x.png", "predict p --model c.pt"),
    ("x.pt", "predict s.npy --model x.pt"),
    ("x.pt", "eval x.pt --data s"),
    ("x.pt", "compare x.pt c.pt --data s"),
    ("x.pt", "report x.pt --data s --out r.html"),
    ("x.pt", "draw x.pt"),
    ("x.pt", "export x.pt x.onnx"),
    ("x.pt", "info x.pt"),
    ("data0.npy", "eval c.pt --data data0.npy"),
    ("d/data0.npy", "eval c.pt --data d"),
    ("d/lab0.npy", "eval c.pt --data d"),
    ("d/truth0.npz", "eval reader --data d"),
    ("l.npy", "eval c.pt --data s.npy --labels l.npy"),
    ("d/data0.npy", "train --arch cnn --data d --epochs 1"),
    ("d/lab0.npy", "train --arch cnn --data d --epochs 1"),
    ("x.yaml", "train --arch cnn --data s --recipe x.yaml --epochs 1"),
    ("x.pt", "train --arch reader --data s --weights x.pt --epochs 1 --set digits_per_strip=1"),
    ("x.pt", "train --arch resnet --data s --weights x.pt --epochs 1"),
    ("c.last.pt", "train --resume c.last.pt"),
    ("c.pt", "train --resume c.last.pt"),
    ("f/digits.npy", "synth o --digits f --strips 9"),
    ("f/labels.npy", "synth o --digits f --strips 9"),
    ("m/MNIST/raw/train-images-idx3-ubyte", "synth o --digits mnist --mnist-root m --strips 9"),
    ("m/MNIST/raw/train-labels-idx1-ubyte", "synth o --digits mnist --mnist-root m --strips 9"),
    ("m/MNIST/raw/train-images-idx3-ubyte", "train --arch cnn --data mnist --mnist-root m"),
    ("d/count0.npy", "eval reader --data d"),
    ("d/count0.npy", "predict d/data0.npy"),
    ("p/sums.csv", "check p"),
    ("p/sums.csv", "predict p"),
    ("p/0.png", "check p"),
    ("l.csv", "check p --labels l.csv"),
    ("x.pt", "adapt s --model x.pt --epochs 1"),
    ("d/lab0.npy", "adapt d --epochs 1"),
    ("x.png", "predict x.png 0.png --model c.pt --annotate o"),
)
OUTPUTS = (
    *(
        (f"x.{kind}", f"predict s.npy --model c.pt --out x.{kind}")
        for kind in ("csv", "jsonl", "json", "npy")
    ),
    ("o", "synth o --strips 9"),
    ("o/data0.npy", "synth o --strips 9 --files 1"),
    ("o/lab0.npy", "synth o --strips 9 --files 1"),
    ("o/truth0.npz", "synth o --strips 9 --files 1"),
    ("x.html", "report c.pt --data s --out x.html"),
    ("x.onnx", "export c.pt x.onnx"),
    ("x.pt", "train --arch cnn --data s --epochs 1 --out x.pt"),
    ("x.last.pt", "train --arch cnn --data s --epochs 1 --out x.pt"),
    ("x.png", "predict 0.png --model c.pt --annotate x.png"),
    ("o", "predict 0.png --model c.pt --annotate o"),
    ("o/0.png", "predict 0.png --model c.pt --annotate o"),
    ("o/00000.png", "synth o --strips 9 --pictures"),
    ("o/sums.csv", "synth o --strips 9 --pictures"),
    ("x.pt", "adapt s --epochs 1 --digits-per-strip 1 --out x.pt"),
)
NOT_DEVICED = ("recipes", "synth", "info", "export", "draw")  # commands without --device


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def _device(minor: int, path: Path) -> None:
    """A link to a device of the folder's own, which a bad write could not take from the machine.

    Raises:
        PermissionError: This user may not make one.
    """
    device = path.with_name(f"device{minor}")
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, minor))
    path.symlink_to(device.name)


def _pipe_behind(path: Path) -> None:
    os.mkfifo(path.with_name("fifo"))
    path.symlink_to("fifo")


def _unreadable(path: Path) -> None:
    path.write_bytes(b"x" * 99)
    path.chmod(0)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a link to a pipe": _pipe_behind,
    "a socket": _socket,
    "a link to a device of zeros": partial(_device, 5),
    "a link to a full device": partial(_device, 7),
    "a folder": Path.mkdir,
    "a dangling link": lambda path: path.symlink_to("nowhere/at/all"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to what cannot be read": lambda path: path.symlink_to("/proc/self/mem"),
    "an unreadable file": _unreadable,
    "an empty file": Path.touch,
}


def try_paths(session: Session) -> Iterator[Row]:
    """Puts special files everywhere."""
    base = session.place("paths/base")
    if (ended := run_one(Case("inputs", partial(lay_out, base), base))).code:
        raise SystemExit(f"the inputs cannot be made: {ended.err}")
    baseline = 0.0
    for number, words in enumerate(
        (
            "eval c.pt --data s",
            "predict s.npy --model c.pt",
            "report c.pt --data s --out r.html",
            "train --arch cnn --data s --epochs 1 --out x.pt",
        )
    ):
        place = _inputs(session, base, f"sound{number}")
        import_all_of(_command(words), place)
        baseline = max(baseline, run_one(Case(words, _command(words), place)).megabytes)
    kinds = [kind for kind in SPECIAL if kind != "an unreadable file" or os.geteuid()]
    inputs = [(kind, *each, False) for kind in kinds for each in INPUTS]
    outputs = [(kind, *each, over) for kind in kinds for each in OUTPUTS for over in (False, True)
               if kind != "an empty file"]  # fmt: skip
    for title, cases in (("an input", inputs), ("an output", outputs)):
        row = Row(f"a special file in the place of {title}")
        made = _cases(session, base, list(session.some(cases)), row)
        for case, ended in run_batched(made, baseline + SPARE_MB, 12):
            if row.measure(case, ended, baseline):
                judge(row, case, ended)
            _check_kept(row, case)
            shutil.rmtree(case.folder)
        yield row
    yield _latin(session, base)


def _cases(
    session: Session, base: Path, cases: list[tuple[str, str, str, bool]], row: Row
) -> Iterator[Case]:
    for number, (kind, where, words, over) in enumerate(cases):
        place = _inputs(session, base, f"{row.fault[-6:].strip()}{number}")
        path = place / where
        _clear(path)
        if " p" in words:
            (place / "p").mkdir(exist_ok=True)
        try:
            SPECIAL[kind](path)
        except PermissionError:
            row.allowed("not tried: this user may make no devices")
            continue
        _sound_beside(place, base)
        words += " --overwrite" * over
        size = RESNET if "resnet" in words else 0
        yield Case(f"{kind} as {where}: {words}", _command(words), place, SECONDS, size=size)


def _command(words: str) -> Callable[[], object]:
    device = [] if words.split()[0] in NOT_DEVICED else ["--device", "cpu"]
    return command(*words.split(), *device)


def _inputs(session: Session, base: Path, name: str) -> Path:
    place = session.place(f"paths/{name}")
    for path in base.iterdir():
        (place / path.name).symlink_to(path)
    return place


def _clear(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


def _sound_beside(place: Path, base: Path) -> None:
    """The files that must be there besides, where a folder holds the special one."""
    for folder, names in (
        ("d", ("data0.npy", "lab0.npy")),
        ("f", ("digits.npy", "labels.npy")),
        ("p", ("0.png", "sums.csv")),
    ):
        for name in names if (place / folder).is_dir() else ():
            if not os.path.lexists(place / folder / name):
                source = f"s/{name}" if folder == "d" else name
                (place / folder / name).symlink_to(base / source)
    raw = place / "m/MNIST/raw"
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte") if raw.is_dir() else ():
        if not os.path.lexists(raw / name):
            (raw / name).touch()


def _check_kept(row: Row, case: Case) -> None:
    """Devices, pipes and inputs are what they were."""
    for path in case.folder.rglob("*"):
        gone = path.name.startswith("device") and not path.is_char_device()
        gone |= path.name == "fifo" and not path.is_fifo()
        if gone or (path.name.endswith(".tmp") and path.name.startswith(".")):
            row.fail(f"left or replaced {path.name[:6]}…", case.name)


def _latin(session: Session, base: Path) -> Row:
    """Sound files whose names are no UTF-8."""
    row = Row("sound files whose names are not UTF-8")
    name = os.fsdecode(b"caf\xe9")
    commands = [
        (".npy", "s.npy", "predict {} --model c.pt"),
        (".pt", "c.pt", "info {}"),
        (".pt", "c.pt", "eval {} --data s"),
        (".pt", "c.pt", "predict s.npy --model {} --json"),
        ("", "s", "eval c.pt --data {}"),
        ("", "s", "train --arch cnn --epochs 1 --data {}"),
        (".pt", "c.pt", "report {} --data s --out r.html"),
        (".pt", "c.pt", "export {} c.onnx"),
        (".csv", None, "predict s.npy --model c.pt --out {}"),
        ("", None, "synth {} --strips 9"),
        (".html", None, "report c.pt --data s --out {}"),
        (".onnx", None, "export c.pt {}"),
        (".pt", None, "train --arch cnn --data s --epochs 1 --out {}"),
    ]
    cases = []
    for number, (suffix, source, words) in enumerate(session.some(commands)):
        place = _inputs(session, base, f"latin{number}")
        if source:
            (place / (name + suffix)).symlink_to(base / source)
        cases.append(Case(words, _command(words.format(name + suffix)), place))
    for case, ended in run_all(cases):
        if ended.code == 0 and not ended.broken():
            row.allowed("done")
        else:
            row.fail(ended.broken() or "a sound file refused", f"{case.name}: {ended.last_line}")
        shutil.rmtree(case.folder)
    return row
