"""Everything that is worth measuring on a GPU, in one run of some nine minutes.

Usage: python benchmarks/gpu.py --mnist FOLDER [--minutes 9] [--part check --part speed] [--small]

FOLDER holds MNIST's four files as they are published, gzipped. A checkout and a Python that has
torch, torchvision, numpy, scikit-learn, typer, rich, pyyaml and scipy are enough: nothing has to
be installed. The parts run in the order of `PARTS`, and every result is a JSON file as soon as it
is there. A part that fails does not take the rest along, and what does not fit into the minutes is
left out.

`--small` does all of it with a few strips on a CPU, to show that it runs.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import typer
from gpu_check import check
from gpu_session import ARCHS, Session, digitsum
from measuring import RESULTS
from torch.utils.data import DataLoader, TensorDataset
from training_speed import alone, convolutions, made, usual

from digitsum import LoadedModel, Recipe, evaluate, load, train
from digitsum.checkpoint import load_checkpoint
from digitsum.checkpoint_paths import last_path
from digitsum.cli.malloc import keep_freed
from digitsum.device import DeviceConfig
from digitsum.models import architecture, restore
from digitsum.training.events import EpochRecord

BEGUN = "begun"  # holds the name of the part that is under way
REPORT = 94.92  # % of validation strips that the technical report's pretrained ResNet-50 gets right
FROM_SCRATCH = {"arch": "resnet", "weights": "none"}
# a cycle of the rate, elastic distortion and averaged weights; the rest is what `recipes` compares
CYCLE = {**FROM_SCRATCH, "schedule": "one_cycle", "warp": 1.4, "ema_decay": 0.998}
CANDIDATES = {
    "adamw_0.001": {**CYCLE, "optimizer": "adamw", "lr": 0.001, "weight_decay": 0.01},
    "adamw_0.003": {**CYCLE, "optimizer": "adamw", "lr": 0.003, "weight_decay": 0.01},
}
LONG = {"arch": "reader", "epochs": 100, "warp": 1.8, "ema_decay": 0.999}
RUNS: dict[str, dict[str, Any]] = {
    "resnet_report": FROM_SCRATCH,
    "resnet_best": {**CANDIDATES["adamw_0.003"], "epochs": 30},
    **{f"cnn_seed{seed}": {"arch": "cnn", "seed": seed} for seed in range(3)},
    **{f"reader_seed{seed}": {"arch": "reader", "seed": seed} for seed in range(5)},
    "reader_long": LONG,
}
FILES = [
    f"{half}-{kind}-ubyte" for half in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
]


def trained(session: Session, name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """A whole run: its history as it grows, then metrics of its best and last weights.

    Args:
        session: As ever.
        name: Of the result.
        keys: Of the recipe.
    """
    small = {"epochs": 1, "limit": 8, "batch_size": 4} if session.small else {}
    keys = {**keys, "device": session.device, **small}
    data, path = session.strips(), session.work / f"{name}.pt"
    document: dict[str, Any] = {"keys": keys, "finished": False, "history": []}
    begun = time.perf_counter()

    def on_event(event: object) -> None:
        if not isinstance(event, EpochRecord):
            return
        elapsed = time.perf_counter() - begun
        document["history"].append({**asdict(event), "elapsed": elapsed})
        reached = [e["elapsed"] for e in document["history"] if e["val_exact_accuracy"] >= REPORT]
        document["seconds_to_94.92"] = min(reached, default=None)
        session.save(name, document)

    if not session.small:
        torch.cuda.reset_peak_memory_stats()
    result = train(data, out=path, overwrite=True, on_event=on_event, **keys)
    document["seconds"] = time.perf_counter() - begun
    document["recipe"] = load_checkpoint(path).recipe
    document["peak_gib"] = 0 if session.small else torch.cuda.max_memory_allocated() / 2**30
    test = session.strips("mnist-test")
    for kind, scores in (("best", result.best), ("last", result.last)):
        model = load(path if kind == "best" else last_path(path), device=session.device)
        document[kind] = {
            "epoch": scores.epoch,
            "train": scores.train.to_dict(),
            "val": scores.val.to_dict(),
            "mnist-test": evaluate(model, test).splits["data"].to_dict(),
        }
    document["finished"] = True
    session.save(name, document)
    if keys["arch"] != "resnet":  # whose weights are too large to keep
        shutil.copy(path, session.out / f"{name}.pt")
    exact = (
        document["best"]["val"]["exact_accuracy"],
        document["best"]["mnist-test"]["exact_accuracy"],
    )
    print(f"{name}: {document['seconds']:.1f} s, exact {exact[0]:.2f} {exact[1]:.2f}", flush=True)
    return document


# the parts


def recipes(session: Session) -> None:
    """Which learning rate suits ResNet-50 from scratch, on runs of four epochs."""
    for name, keys in CANDIDATES.items():
        document = trained(session, f"resnet_short_{name}", {**keys, "epochs": 4})
        print(name, [round(e["val_exact_accuracy"], 2) for e in document["history"]], flush=True)


def speed(session: Session) -> None:
    """Training and prediction in strips/s, beside the usual recipe on the same device."""
    rows = []
    for arch in ARCHS:
        for batch, steps in ((4, 4),) if session.small else ((32, 100), (512, 20)):
            row = {"arch": arch, "batch": batch, **speeds(session, arch, batch, steps)}
            rows.append(row)
            session.save("speed", {"rows": rows})
            print({key: round(v, 3) if type(v) is float else v for key, v in row.items()})


def speeds(session: Session, arch: str, batch: int, steps: int) -> dict[str, Any]:
    """One architecture and batch size."""
    start = {"weights": "none"} if arch == "resnet" else {}
    recipe = Recipe(arch, epochs=3, batch_size=batch, device=session.device, **start)
    strips, path = made(recipe, steps), session.work / "speed.pt"
    device = DeviceConfig.resolve(recipe.device, recipe.precision)
    row: dict[str, Any] = {"precision": device.precision}
    with peak(session) as most:
        limit = batch * steps
        result = train(strips, recipe, out=path, overwrite=True, limit=limit, restarts=0)
        row["train_gib"] = most()
    row["train"] = max(record.strips_per_second for record in result.history)
    row["usual_train"] = usual(recipe, device.device, strips)
    row["train_ratio"] = row["train"] / row["usual_train"]
    row["convolutions"] = alone(convolutions(recipe, device, strips), device, batch, steps)
    row["of_convolutions"] = row["train"] / row["convolutions"]
    model = load(path, device=session.device)
    images = np.resize(strips.images(), (8 if session.small else 8192, 40, 168))
    known = model.recipe.digits_per_strip
    with peak(session) as most:
        row["predict"] = rate(lambda: model.predict_strips(images, known), images, session)
        row["predict_gib"] = most()
    plain = partial(usually_predicted, model, images, batch, device)
    row["usual_predict"] = rate(plain, images, session)
    row["predict_ratio"] = row["predict"] / row["usual_predict"]
    return row


def rate(run: Callable[[], object], images: np.ndarray, session: Session) -> float:
    """Strips per second of the second call."""
    run()
    begun = time.perf_counter()
    run()
    if not session.small:
        torch.cuda.synchronize()
    return len(images) / (time.perf_counter() - begun)


def usually_predicted(
    model: LoadedModel, images: np.ndarray, batch: int, device: DeviceConfig
) -> None:
    """The same predictions as most people would write them: float32, NCHW, a DataLoader."""
    cls = architecture(model.arch)
    plain = restore(cls, model.width, model.recipe.options, model.checkpoint.weights)
    plain.to(device.device).eval()
    strips = TensorDataset(torch.from_numpy(images).float().unsqueeze(1) / 255)
    pin_memory = device.device.type == "cuda"
    with torch.no_grad():
        for (pixels,) in DataLoader(strips, batch_size=batch, pin_memory=pin_memory):
            plain.predict(plain(pixels.to(device.device)), model.recipe.digits_per_strip)


@contextmanager
def peak(session: Session) -> Iterator[Callable[[], float]]:
    """Gives what tells the most memory that tensors held meanwhile, in GiB."""
    if not session.small:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield lambda: 0.0 if session.small else torch.cuda.max_memory_allocated() / 2**30


def million(session: Session) -> None:
    """`digitsum predict` on 1,000,000 strips, start and output included."""
    images = session.strips("mnist-test").images()
    times = 2 if session.small else 100
    path, out = session.work / "many.npy", session.work / "many.csv"
    shape = (times * len(images), *images.shape[1:])
    many = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    for number in range(times):
        many[number * len(images) : (number + 1) * len(images)] = images
    many.flush()
    del many
    begun = time.perf_counter()
    words = digitsum("predict", path, "--out", out, "--device", session.device)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    document = {"strips": shape[0], "seconds": seconds, "strips_per_second": shape[0] / seconds,
                "exit_code": done.returncode, "stderr": done.stderr[-500:]}  # fmt: skip
    session.save("million", document)
    print(document, flush=True)


def memory(session: Session) -> None:
    """What `digitsum train` says when a GPU's memory is not enough."""
    if session.small:
        session.save("memory", {"left_out": "a CPU has no such limit"})
        return
    words = ["train", "--data", "mnist", *("--batch-size", 24000), "--precision", "fp32"]
    words += ["--arch", "resnet", "--weights", "none", "--out", session.work / "memory.pt"]
    done = subprocess.run(digitsum(*words), capture_output=True, text=True, check=False)
    left = [path.name for path in session.work.glob("memory*")]
    document = {"exit_code": done.returncode, "stderr": done.stderr[-2000:], "files": left}
    session.save("memory", document)
    print(document, flush=True)


PARTS: dict[str, Callable[[Session], object]] = {
    "check": check,
    "recipes": recipes,
    **{name: partial(trained, name=name, keys=keys) for name, keys in RUNS.items()},
    "speed": speed,
    "million": million,
    "memory": memory,
}


def measure(
    mnist: Annotated[
        Path | None, typer.Option(help="A folder with MNIST's four files, gzipped.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where results go.")] = RESULTS / "gpu",
    minutes: Annotated[float, typer.Option(help="For all of it.")] = 9,
    part: Annotated[list[str] | None, typer.Option(help="Only these, in this order.")] = None,
    small: Annotated[bool, typer.Option(help="A few strips on a CPU.")] = False,
    deadline: Annotated[float, typer.Option(hidden=True)] = 0,
) -> None:
    """Measures everything on a GPU."""
    if not small and not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device here: try --small, or another machine")
    out.mkdir(parents=True, exist_ok=True)
    parts = list(part or PARTS)
    if deadline:  # some parts, in this process
        keep_freed()
        for name in parts:
            (out / BEGUN).write_text(name)
            with TemporaryDirectory(prefix="digitsum-gpu-") as work:
                begun = time.time()
                PARTS[name](Session(out, Path(work), deadline, small))
                print(f"{name}: {time.time() - begun:.1f} s", flush=True)
        return
    deadline, unfinished = time.time() + 60 * minutes, []
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with TemporaryDirectory(prefix="digitsum-mnist-") as folder:
        if mnist is not None:
            unpack(mnist, Path(folder))
            environment["DIGITSUM_MNIST"] = folder
        while parts and (left := deadline - time.time()) > 0:
            words = [sys.executable, __file__, "--deadline", str(deadline), "--out", str(out)]
            words += ["--small"] if small else []
            words += [word for name in parts for word in ("--part", name)]
            (out / BEGUN).unlink(missing_ok=True)
            try:
                if not subprocess.run(words, env=environment, timeout=left, check=False).returncode:
                    break
            except subprocess.TimeoutExpired:
                print("the minutes are over", flush=True)
            failed = (out / BEGUN).read_text()
            print(f"{failed}: not finished", flush=True)
            unfinished.append(failed)
            parts = parts[parts.index(failed) + 1 :]  # what failed cannot take the rest along
    (out / BEGUN).unlink(missing_ok=True)
    raise typer.Exit(1 if unfinished else 0)


def unpack(source: Path, folder: Path) -> None:
    """MNIST's gzipped files into the layout of torchvision."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        with gzip.open(source / f"{name}.gz") as packed, open(raw / name, "wb") as plain:
            shutil.copyfileobj(packed, plain)


if __name__ == "__main__":
    typer.run(measure)
