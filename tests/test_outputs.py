"""Everything that digitsum writes is whole or an error, whatever disk, name or other run."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ok, run

from digitsum import files
from digitsum.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from digitsum.cli.writers import cell
from digitsum.datasets import open_data
from digitsum.datasets.digits import Digits
from digitsum.datasets.synthesis import Composition, compose, names_of_files, reserved_folder, write
from digitsum.errors import (
    CheckpointError,
    DataError,
    OutputError,
    OutputExistsError,
    UsageError,
)
from digitsum.files import check_output, reserved_output, run_lock, whole_file

LAST = (0, 1, 100, -4096, -4095, -1000, -2, -1)  # bytes that fit: so many, or less than all


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Files end at this size, as on a disk that becomes full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder: Path | str = ".") -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in found}


def fits(size: int, whole: int) -> int:
    """A number of `LAST` as a limit."""
    return max(0, size if size >= 0 else whole + size)


def npy(path: Path) -> None:
    with whole_file(path) as stream:
        np.save(stream, np.arange(1000))


def npz(path: Path) -> None:
    with whole_file(path, silent=True) as stream:
        np.savez(stream, a=np.arange(1000), b=np.arange(9))


def text(path: Path) -> None:
    with whole_file(path) as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8")
        for number in range(3000):
            lines.write(f"{number},é\n")
        lines.flush()
        lines.detach()


def bytes_at_once(path: Path) -> None:
    with whole_file(path) as stream:
        stream.write(bytes(20_000))


@pytest.mark.parametrize("size", LAST)
@pytest.mark.parametrize("write", [npy, npz, text, bytes_at_once])
def test_a_file_is_whole_or_an_error(write: Callable[[Path], None], size: int) -> None:
    write(Path("whole"))
    whole = Path("whole").read_bytes()
    Path("r").write_bytes(b"old")
    with (
        limited(fits(size, len(whole))),
        pytest.raises(OutputError, match=r"^cannot write r: File too large; write elsewhere$"),
    ):
        write(Path("r"))
    assert contents() == {"whole": whole, "r": b"old"}
    with limited(len(whole)):
        write(Path("r"))
    assert contents() == {"whole": whole, "r": whole}


def checkpoint() -> Checkpoint:
    split = {name: torch.arange(2, dtype=torch.int32) for name in ("train", "val")}
    return Checkpoint(
        arch="cnn", recipe={"arch": "cnn"}, weights={"w": torch.rand(3000)}, history=[],
        data={"name": ["x"], "count": 2, "width": 42, "fingerprint": "f"},
        split={"seed": 0, **split}, metrics={"epoch": 1}, versions={},
    )  # fmt: skip


@pytest.mark.parametrize("size", LAST)
def test_a_checkpoint_is_whole_or_an_error(size: int) -> None:
    path = Path("c.pt")
    save_checkpoint(checkpoint(), path)
    old = contents()
    with (
        limited(fits(size, path.stat().st_size)),
        pytest.raises(
            CheckpointError, match=r"^cannot write c\.pt: File too large; write elsewhere$"
        ),
    ):
        save_checkpoint(checkpoint(), path)
    assert contents() == old
    load_checkpoint(path)


def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", "disk"]
    if not hasattr(os, "geteuid") or os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        Path("disk/old").write_bytes(bytes(4096))
        with pytest.raises(OutputError, match="r: No space left on device; free some, or write"):
            npy(Path("disk/r"))
        assert set(contents("disk")) == {"disk/old"}
    finally:
        subprocess.run(["umount", "disk"], check=True)


@pytest.mark.parametrize("name", ["r.npy", "r.csv", "r.json", "r.jsonl"])
def test_predict_writes_all_or_says_why_not(project: Path, name: str) -> None:
    command = ["predict", "strips/data0.npy", "--model", "a.pt", "--device", "cpu", "--out", name]
    ok(*command)
    old = contents()
    for size in LAST:
        with limited(fits(size, len(old[name]))):
            result = run(*command, "--overwrite")
        assert result.exit_code == 1, result.exception
        said = result.stderr.splitlines()[-1]
        assert said == f"error: cannot write {name}: File too large; write elsewhere"
        assert contents() == old
    with limited(len(old[name])):
        ok(*command, "--overwrite")
    assert contents() == old


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r.html", "r.onnx"])
def test_report_and_export_write_all_or_say_why_not(project: Path, name: str) -> None:
    command = ["report", "a.pt", "--out", name] if name == "r.html" else ["export", "a.pt", name]
    Path(name).write_bytes(b"old")
    old = contents()
    for size in (0, 20_000):
        with limited(size):
            result = run(*command, "--overwrite")
        assert result.exit_code == 1, result.exception
        said = result.stderr.splitlines()[-1]
        assert said == f"error: cannot write {name}: File too large; write elsewhere"
        assert contents() == old


def test_train_leaves_the_old_checkpoints_whole(project: Path) -> None:
    ok("info", "a.pt")
    old = contents()
    with limited(len(old["a.pt"]) - 1):
        result = run(
            "train", "--arch", "cnn", "--data", "strips", "--epochs", "1", "--device", "cpu",
            "--out", "a.pt", "--overwrite",
        )  # fmt: skip
    assert result.exit_code == 1, result.exception
    assert "error: cannot write a." in result.stderr.splitlines()[-1]
    assert contents() == old


def test_errors_of_the_block_stay_as_they_are() -> None:
    for error in (OSError(2, "mine"), ValueError("mine")):
        with pytest.raises(type(error), match="mine"), whole_file(Path("r")):
            raise error
    assert contents() == {}


@pytest.mark.parametrize("answer", [ValueError("3150 requested"), OSError("and 3080 written")])
def test_what_a_library_makes_of_a_failure_does_not_hide_it(answer: Exception) -> None:
    def produce() -> None:
        with whole_file(Path("r")) as stream:
            try:
                stream.write(bytes(100_000))
            except OSError as error:
                raise answer from error

    with limited(10), pytest.raises(OutputError, match="cannot write r: File too large"):
        produce()
    assert contents() == {}


@pytest.mark.parametrize("name", ["n" * 251 + ".csv", "é" * 125 + ".csv", "r.csv"])
def test_a_name_may_be_as_long_as_the_system_lets_it(name: str) -> None:
    with reserved_output(Path(name), overwrite=False), whole_file(Path(name)) as stream:
        stream.write(b"x")
        assert all(len(os.fsencode(path.name)) < 256 for path in Path().iterdir())
    assert contents() == {name: b"x"}


def test_a_name_that_is_too_long_is_refused_before_any_work(project: Path) -> None:
    long = "n" * 252
    for command in (
        ["predict", "absent.npy", "--out", f"{long}.csv"],
        ["report", "absent.pt", "--out", f"{long}.html"],
        ["export", "absent.pt", f"{long}.onnx"],
        ["train", "--arch", "cnn", "--data", "absent", "--out", f"{'n' * 250}.pt"],
        ["synth", "n" * 256],
    ):
        result = run(*command)
        assert (result.exit_code, result.exception is None) == (2, False)
        assert "File name too long" in result.stderr, command


def test_nobody_foresees_the_temporary_name() -> None:
    Path("precious").write_bytes(b"precious")
    for planted in (f".r.{os.getpid()}.tmp", ".r.0.tmp", ".r.tmp"):
        Path(planted).symlink_to("precious")
    seen = set()
    for _ in range(2):
        with whole_file(Path("r")) as stream:
            stream.write(b"new")
            seen |= {path.name for path in Path().glob(".r.*.tmp") if not path.is_symlink()}
    assert len(seen) == 2
    assert Path("precious").read_bytes() == b"precious"
    assert Path("r").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o664, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(mode: int) -> None:
    before = os.umask(0o027)
    try:
        for name in ("old", "new"):
            if name == "old":
                Path(name).touch()
                Path(name).chmod(mode)
            with whole_file(Path(name)) as stream:
                stream.write(b"x")
        assert Path("old").stat().st_mode & 0o7777 == mode
        assert Path("new").stat().st_mode & 0o7777 == 0o640
    finally:
        os.umask(before)


def test_links_keep_their_place(tmp_path: Path) -> None:
    Path("there").mkdir()
    Path("link").symlink_to("there/r")
    Path("folder").symlink_to("there", target_is_directory=True)
    for path in (Path("link"), Path("folder/r"), tmp_path / "folder" / "r", Path("there/../link")):
        for overwrite in (False, True):
            with reserved_output(path, overwrite), whole_file(path, overwrite) as stream:
                stream.write(b"x")
        assert contents("there") == {"there/r": b"x"}
        assert Path("link").is_symlink()
        Path("there/r").unlink()
    Path("dangling").symlink_to("absent/r")
    with pytest.raises(UsageError, match=r"create the folder .*absent first"):
        check_output(Path("dangling"), overwrite=False)
    Path("loop").symlink_to("loop")
    with pytest.raises(UsageError, match="cannot write loop: Too many levels"):
        check_output(Path("loop"), overwrite=True)


def test_the_folder_is_synced_after_the_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, Path("r").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    npy(Path("r"))
    assert synced == [(False, False), (True, True)]


WRITER = """
import sys
from pathlib import Path
from digitsum.files import whole_file
with whole_file(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("name", ["r.csv", "n" * 255])
def test_the_next_run_removes_what_a_killed_one_left_and_no_more(name: str) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begun\n"
    dead, alive = writers
    dead.kill()
    dead.communicate()
    Path(".r.csv.notes.tmp").write_text("somebody's")
    assert len(list(Path().glob(".*.tmp"))) == 3
    with run_lock(Path(name)):
        assert len(list(Path().glob(".*.tmp"))) == 2
    alive.communicate()
    assert alive.returncode == 0
    assert contents() == {name: b"half", ".r.csv.notes.tmp": b"somebody's"}


@pytest.mark.parametrize("links", [True, False])  # not every file system has hard ones
def test_without_overwrite_nothing_that_appears_meanwhile_is_replaced(
    links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    def produce(appears: bool) -> None:
        with whole_file(Path("r"), overwrite=False) as stream:
            stream.write(b"mine")
            if appears:
                Path("r").write_bytes(b"theirs")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OutputExistsError, match="r exists by now: another run"):
        produce(appears=True)
    assert contents() == {"r": b"theirs"}
    Path("r").unlink()
    produce(appears=False)
    assert contents() == {"r": b"mine"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_many_writers_one_succeeds_and_all_others_say_why_not(overwrite: bool) -> None:
    path, ends, ready = Path("r"), Counter[str](), threading.Barrier(64)

    def produce(number: int) -> None:
        ready.wait()
        try:
            with reserved_output(path, overwrite), whole_file(path, overwrite) as stream:
                stream.write(b"%02d" % number * 5000)
            ends["wrote"] += 1
        except UsageError as error:
            ends["exists" if "exists" in str(error) else str(error).split(":")[0]] += 1

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (found,) = contents().values()
    assert len(found) == 10_000
    assert len(set(found[i : i + 2] for i in range(0, 10_000, 2))) == 1
    assert sum(ends.values()) == 64
    assert ends["wrote"] == 1 if not overwrite else ends["wrote"] >= 1
    assert ends.keys() <= {"wrote", "another run is writing r", "exists"}


@pytest.mark.parametrize("name", ["r.csv", "r.html", "r.onnx", "out", "r.pt"])
def test_a_second_run_is_refused_before_its_work(project: Path, name: str) -> None:
    Path("out").mkdir()
    command = {
        "r.csv": ["predict", "strips/data0.npy", "--model", "a.pt", "--out", name],
        "r.html": ["report", "a.pt", "--out", name],
        "r.onnx": ["export", "a.pt", name],
        "out": ["synth", name, "--strips", "9"],
        "r.pt": ["train", "--arch", "cnn", "--data", "strips", "--epochs", "1", "--out", name],
    }[name]
    with run_lock(Path("out/set" if name == "out" else name)):
        before = contents()
        result = run(*command, "--overwrite")
        assert result.exit_code == 2, result.output
        said = f"error: another run is writing {name}: choose another name, or wait until it has"
        assert result.stderr.splitlines()[-1].startswith(said)
        assert contents() == before


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_can_be_written(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with reserved_output(Path("r"), overwrite=False), whole_file(Path("r")) as stream:
        stream.write(b"x")
    assert contents() == {"r": b"x"}


INPUTS = [
    ("predict x.npy --model a.pt --out x.npy", "x.npy"),
    ("predict strips/data0.npy --model a.pt --out strips/lab0.npy", "strips/lab0.npy"),
    ("predict strips/data0.npy --model a.pt --out strips/labels0.npy", "strips/labels0.npy"),
    ("predict strips/data0.npy --model a.pt --format csv --out strips/truth0.npz", "truth0.npz"),
    ("predict strips/data0.npy --model a.pt --format csv --out a.pt", "a.pt"),
    ("predict x.npy --model a.pt --out link.npy", "link.npy: .* as x.npy"),
    ("predict x.npy --model a.pt --out hard.npy", "hard.npy: .* as x.npy"),
    ("predict link.npy --model a.pt --out x.npy", "x.npy: .* as link.npy"),
    ("predict scans --model a.pt --format csv --out scans/1.png", "scans/1.png"),
    ("report a.pt --out a.pt", "a.pt"),
    ("report a.pt --data strips --out strips/data0.npy", "strips/data0.npy"),
    ("report a.pt --out strips/lab0.npy", "strips/lab0.npy"),
    ("report a.pt --arch my.mod:Class --out my/mod.py", "my/mod.py"),
    ("report a.pt --data mnist --mnist-root own --out own/MNIST/raw/digits", "raw/digits"),
    ("report a.pt --data x.npy --labels sums.txt --out sums.txt", "sums.txt"),
    ("export copy.onnx copy.onnx", "copy.onnx"),
    ("train --arch cnn --data strips.pt --labels strips/lab0.npy --out strips.pt", "strips.pt"),
    ("train --arch reader --data strips --weights a.pt --out a.pt", "a.pt"),
    ("train --arch reader --data strips --weights a.last.pt --out a.pt", "a.last.pt"),
    ("train --arch cnn --data strips --recipe my.pt --out my.pt", "my.pt"),
    ("synth out --strips 9 --files 1 --digits own", "out/data0.npy: .* as own/digits.npy"),
]


@pytest.mark.parametrize(("command", "named"), INPUTS)
def test_what_is_read_is_never_written_over(project: Path, command: str, named: str) -> None:
    Path("x.npy").write_bytes(Path("strips/data0.npy").read_bytes())
    Path("hard.npy").hardlink_to("x.npy")
    Path("link.npy").symlink_to("x.npy")
    for name in ("strips/labels0.npy", "strips/truth0.npz", "sums.txt"):
        Path(name).write_bytes(Path("strips/lab0.npy").read_bytes())
    Path("my.pt").write_text("epochs: 1\n")
    Path("copy.onnx").write_bytes(Path("a.pt").read_bytes())
    Path("strips.pt").write_bytes(Path("x.npy").read_bytes())
    for name in ("scans/1.png", "own/MNIST/raw/digits", "my/mod.py"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_bytes(b"x")
    Path("out").mkdir()
    np.save("own/digits.npy", np.zeros((1, 28, 28), np.uint8))
    np.save("own/labels.npy", np.zeros(1))
    Path("out/data0.npy").symlink_to(Path("own/digits.npy").resolve())
    before = contents()
    result = run(*command.split(), "--overwrite")
    assert result.exit_code == 2, result.output
    (said,) = result.stderr.splitlines()
    assert "belongs to what the command reads" in said
    assert re.search(named, said)
    assert contents() == before


def test_what_only_lies_beside_may_be_written_over(project: Path) -> None:
    Path("strips/sums.csv").touch()
    Path("strips/data1.npy").touch()
    for out in ("strips/sums.csv", "strips/data1.npy"):
        ok("predict", "strips/data0.npy", "--model", "a.pt", "--out", out, "--overwrite")


@pytest.mark.parametrize("start", list("=+-@\t\r\n"))
def test_a_text_that_begins_like_a_formula_is_none(start: str) -> None:
    assert cell(f"{start}1+1") == f"'{start}1+1"
    assert cell([f"{start}1", 2]) == f"'{start}1 2"
    assert cell(f"a{start}1") == f"a{start}1"


def test_numbers_stay_numbers() -> None:
    for value in (-1, -2.5, 0, float("-inf")):
        assert cell(value) is value
    assert [cell(v) for v in (True, None, [3, 5], "x")] == ["true", "", "3 5", "x"]


def test_no_table_holds_a_formula(project: Path) -> None:
    Path("=1+1.npy").write_bytes(Path("strips/data0.npy").read_bytes())
    ok("predict", "=1+1.npy", "--model", "a.pt", "--out", "r.csv")
    with open("r.csv", newline="") as stream:
        assert {row["file"] for row in csv.DictReader(stream)} == {"'=1+1.npy"}
    ok("predict", "=1+1.npy", "--model", "a.pt", "--out", "r.jsonl")
    assert '"file": "=1+1.npy"' in Path("r.jsonl").read_text()


def sets() -> tuple[Composition, Composition]:
    """An old and a new set of strips of another width."""
    digits = Digits(np.full((10, 28, 28), 200, np.uint8), np.arange(10, dtype=np.uint8))
    return compose(digits, 9, (1, 1), seed=1), compose(digits, 9, (2, 2), seed=2)


def test_a_set_of_strips_is_replaced_whole_or_not_at_all() -> None:
    old, new = sets()
    write(old, Path("set"), files=2)
    before = contents()
    write(new, Path("other"), files=2)
    sizes = [len(content) for content in contents("other").values()]
    for size in (0, 1, 200, min(sizes) - 1, max(sizes) - 4095, max(sizes) - 1):
        with (
            limited(size),
            pytest.raises(
                OutputError,
                match=r"^cannot write set/\w+\.np[yz]: File too large; write elsewhere$",
            ),
        ):
            write(new, Path("set"), files=2)
        assert contents("set") == before
    with limited(max(sizes)):
        write(new, Path("set"), files=2)
    assert [*contents("set").values()] == [*contents("other").values()]


def test_a_new_set_leaves_nothing_if_it_cannot_be_written() -> None:
    with limited(500):
        result = run("synth", "a/b", "--strips", "9", "--files", "2")
    assert result.exit_code == 1, result.exception
    assert result.stderr == "error: cannot write a/b/data0.npy: File too large; write elsewhere\n"
    assert list(Path().iterdir()) == []


def exchange_fails(
    patch: pytest.MonkeyPatch, at: int, fail: Callable[[], Any]
) -> Callable[[], int]:
    """Makes one of the steps fail in which old files leave and new ones come; counts them."""
    taken = 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def take(*given: Any, **named: Any) -> Any:
            nonlocal taken
            taken += 1
            return fail() if taken == at else real(*given, **named)

        return take

    patch.setattr(os, "rename", failing(os.rename))
    patch.setattr(files, "place", failing(files.place))
    return lambda: taken


SIX = 6  # files of two pairs with their truth
STEPS = [*range(1, 2 * SIX + SIX + 2)]  # each is written, the old one leaves, the new one comes


@pytest.mark.parametrize("step", STEPS)
def test_a_set_that_is_torn_by_a_kill_is_told(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = sets()
    write(old, Path("set"), files=2)
    child = os.fork()
    if not child:
        exchange_fails(monkeypatch, step, lambda: os.kill(os.getpid(), signal.SIGKILL))
        write(new, Path("set"), files=2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert bool(status) == (step < STEPS[-1])
    if SIX + 1 < step < STEPS[-1]:  # a label has left, and not all have come
        with pytest.raises(DataError, match=r"no labels beside|holds no dataN\.npy"):
            open_data("set")
    else:
        np.testing.assert_array_equal(open_data("set").sums, (new if step > 9 else old).sums)
    with reserved_folder(Path("set"), names_of_files(2), overwrite=True):
        write(new, Path("set"), files=2)
    assert len(contents("set")) == SIX  # nothing of the killed run is left


@pytest.mark.parametrize("step", STEPS)
def test_a_set_goes_back_if_the_exchange_fails(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "the disk fails")

    old, new = sets()
    write(old, Path("set"), files=2)
    before = contents()
    taken = exchange_fails(monkeypatch, step, fail)
    if step == STEPS[-1]:
        write(new, Path("set"), files=2)
        assert taken() == 3 * SIX
    else:
        with pytest.raises(OutputError, match=r"cannot write set.*: the disk fails"):
            write(new, Path("set"), files=2)
        assert contents() == before


def test_an_old_set_keeps_links_and_permissions() -> None:
    old, new = sets()
    write(old, Path("set"), files=1)
    Path("elsewhere").mkdir()
    Path("set/lab0.npy").rename("elsewhere/sums.npy")
    Path("set/lab0.npy").symlink_to("../elsewhere/sums.npy")
    Path("set/data0.npy").chmod(0o600)
    write(new, Path("set"), files=1)
    assert Path("set/lab0.npy").is_symlink()
    assert Path("set/data0.npy").stat().st_mode & 0o777 == 0o600
    np.testing.assert_array_equal(open_data("set").sums, new.sums)


def test_a_set_without_overwrite_takes_no_place_that_is_taken() -> None:
    old, new = sets()
    write(old, Path("set"), files=1)
    before = contents()
    with pytest.raises(OutputExistsError, match=r"set/data0\.npy exists by now"):
        write(new, Path("set"), files=1, overwrite=False)
    assert contents() == before
