"""The run that is prepared for a GPU, with a few strips on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_all_that_a_gpu_would_be_asked_runs_on_a_cpu() -> None:
    words = [sys.executable, SCRIPT, "--small", "--minutes", "30", "--out", "out"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {path.stem: json.loads(path.read_text()) for path in Path("out").glob("*.json")}
    runs = {name: run for name, run in found.items() if "history" in run}
    assert len(runs) == 13  # two short ones, resnet twice, cnn three times, reader six times
    for run in runs.values():
        assert run["finished"]
        assert run["best"]["mnist-test"]["count"] > 0
        assert run["history"][0]["elapsed"] > 0
    kept = {path.stem for path in Path("out").glob("*.pt")}
    assert kept == {name for name, run in runs.items() if run["keys"]["arch"] != "resnet"}
    check = found["check"]
    for arch in ("cnn", "reader", "resnet"):
        assert check[f"{arch}_fp32"]["agreement"]["same_sum"] == 8
        assert check[f"{arch}_fp32"]["resumed"] == {
            "exit_code_killed": -9,
            "after_epoch": 1,
            "exit_code": 0,
            "apart": 0.0,
        }
    assert all(ended == {"exit_code": 0} for ended in check["export"].values())
    assert {row["arch"] for row in found["speed"]["rows"]} == {"cnn", "reader", "resnet"}
    assert found["million"]["exit_code"] == 0
