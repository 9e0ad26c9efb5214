"""Whether everything works on a GPU: the first part of `gpu.py`."""

from __future__ import annotations

import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from gpu_session import ARCHS, Session, command, digitsum

from digitsum import compare, compose, load, open_data, train
from digitsum.checkpoint import load_checkpoint
from digitsum.checkpoint_paths import last_path
from digitsum.datasets.synthesis import write


def check(session: Session) -> None:
    """Whether everything works: trained, killed, resumed, scored, predicted, compared, exported."""
    folder, count = session.work / "strips", 30 if session.small else 1500
    write(compose("builtin" if session.small else "mnist", count, seed=7), folder, files=1)
    precisions = ("fp32",) if session.small else ("fp32", "bf16")
    found: dict[str, Any] = {}
    with ThreadPoolExecutor(2 if session.small else 12) as pool:  # what runs beside the GPU's work
        pairs = [(arch, precision) for precision in precisions for arch in ARCHS]
        resumed = {pair: pool.submit(killed, session, folder, *pair) for pair in pairs}
        for pair in pairs:
            run = path_of(session, *pair)
            result = train(folder, out=run, **short(session, *pair))
            losses = [record.train_loss for record in result.history]
            agreed = agreement(session, str(run), pair[1])
            found["_".join(pair)] = {"train_losses": losses, "agreement": agreed}
        found["bundled"] = {name: agreement(session, "reader", name) for name in precisions}
        # the reader's takes a minute and is none of a GPU's business
        exported = {
            arch: pool.submit(
                command, "export", run := path_of(session, arch, "fp32"), f"{run}.onnx"
            )
            for arch in (("cnn", "resnet") if session.small else ARCHS)
        }
        for name in precisions:
            runs = [path_of(session, arch, name) for arch in ARCHS]
            models = [load(run, device=session.device, precision=name) for run in runs]
            compared = compare(models, open_data(folder)).to_dict()
            found[f"compare_{name}"] = str(compared).replace(str(session.work), "")
        for pair, future in resumed.items():
            found["_".join(pair)]["resumed"] = {**future.result(), "apart": apart(session, *pair)}
            session.save("check", found)
        found["export"] = {arch: future.result() for arch, future in exported.items()}
        session.save("check", found)
    print(found, flush=True)


def path_of(session: Session, arch: str, precision: str) -> Path:
    """Checkpoint of a run that was left alone."""
    return session.work / f"{arch}_{precision}.pt"


def short(session: Session, arch: str, precision: str) -> dict[str, Any]:
    """Keys of a run of two epochs."""
    keys = {"arch": arch, "precision": precision, "device": session.device, "epochs": 2}
    keys |= {"limit": 8, "batch_size": 4} if session.small else {}
    return {**keys, **({"weights": "none"} if arch == "resnet" else {})}


def killed(session: Session, folder: Path, arch: str, precision: str) -> dict[str, Any]:
    """The same run through the commands, killed after its first epoch and resumed."""
    run = session.work / "killed" / path_of(session, arch, precision).name
    run.parent.mkdir(exist_ok=True)
    words = [
        w for key, v in short(session, arch, precision).items() for w in ("--set", f"{key}={v}")
    ]
    begun = subprocess.Popen(
        digitsum("train", "--data", folder, "--out", run, "--arch", arch, *words),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while not last_path(run).exists() and begun.poll() is None:
        time.sleep(0.005)
    begun.send_signal(signal.SIGKILL)
    ended = {"exit_code_killed": begun.wait()}
    if not last_path(run).exists():
        assert begun.stderr is not None
        return {**ended, "stderr": begun.stderr.read().decode()[-1500:]}
    epochs = len(load_checkpoint(last_path(run)).history)
    resumed = command("train", "--resume", last_path(run), "--device", session.device)
    return {**ended, "after_epoch": epochs, **resumed}


def apart(session: Session, arch: str, precision: str) -> float | None:
    """How far the weights of a run and of the killed and resumed one are from each other."""
    run = last_path(path_of(session, arch, precision))
    if not (other := run.parent / "killed" / run.name).exists():
        return None
    a, b = load_checkpoint(run).weights, load_checkpoint(other).weights
    return max(float((a[key].double() - b[key].double()).abs().max()) for key in a)


def agreement(session: Session, model: str, precision: str) -> dict[str, float]:
    """How far predictions of 500 strips are from those of the CPU in float32."""
    count = 8 if session.small else 500
    images = session.strips("mnist-test").images()[:count]
    here = load(model, device=session.device, precision=precision).predict(images)
    there = load(model, device="cpu", precision="fp32").predict(images)
    apart = {
        "strips": count,
        "same_sum": int((here.sum == there.sum).sum()),
        "value_apart": float(np.abs(here.value - there.value).max()),
    }
    if here.confidence is not None and there.confidence is not None:
        apart["confidence_apart"] = float(np.abs(here.confidence - there.confidence).max())
    return apart
