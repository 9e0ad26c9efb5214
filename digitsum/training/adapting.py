"""Learning a hand from totals: a reader that reads already, and a few strips of a hand it does not.

The run is short and its rate high, and batch norm keeps the statistics of the start: a few strips
have none of their own. What is kept is a mean of the weights before and after (Wortsman et al.,
2022, "Robust fine-tuning of zero-shot models"): it reads the new hand nearly as well as the weights
after the run, and the hands that the start knew nearly as well as those before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from digitsum.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, without_state
from digitsum.checkpoint_paths import last_path, locate_checkpoint
from digitsum.datasets import Sources, as_strip_set
from digitsum.datasets.split import VALIDATION
from digitsum.datasets.strips import StripSet
from digitsum.display import Column, Table, Tabular
from digitsum.errors import UsageError
from digitsum.evaluation.comparison import Comparison, side_by_side
from digitsum.files import check_output
from digitsum.inference import LoadedModel, make_ready
from digitsum.models import resolve_options
from digitsum.recipe import Recipe, Scalar
from digitsum.training import ONE_RUN, shown
from digitsum.training.distributed import World
from digitsum.training.events import OnEvent
from digitsum.training.trainer import Trainer, undisturbed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PASSES = 4_000  # training strips in all epochs together
EPOCHS = (5, 25)  # fewest and most
KEPT = 0.5  # weight of the start in what is written
DEFAULT = Path("adapted.pt")


@dataclass(frozen=True)
class Adaptation(Tabular):
    """What a reader gained.

    Attributes:
        comparison: The reader before and after, on the validation strips.
        better: Whether they are read better than before, by likelihood. If not, the weights that
            were written are those of the start.
        path: The checkpoint that was written.
    """

    comparison: Comparison
    better: bool
    path: Path

    def __repr__(self) -> str:
        before, after = (row.metrics.exact_accuracy for row in self.comparison.models)
        return f"Adaptation({self.path}: {before:.2f}% before, {after:.2f}% after)"

    def to_dict(self) -> dict[str, object]:
        """The JSON of `digitsum adapt`."""
        return {"path": str(self.path), "better": self.better, **self.comparison.to_dict()}

    def table(self) -> Table:
        """Exact-match accuracy before and after, and what the paired test says."""
        before, after = self.comparison.models
        pair = self.comparison.pair(1, 0)
        low, high = pair.ci95
        rows = [before.metrics, after.metrics]
        return Table(
            f"on {self.comparison.count:,} validation strips",
            [
                Column("", ["before", "after"], numeric=False),
                Column("exact-match %", [f"{row.exact_accuracy:.2f}" for row in rows]),
                Column("MAE", [f"{row.mae:.3f}" for row in rows], priority=1),
                Column("difference", ["", f"{pair.difference:+.2f}"]),
                Column("95% interval", ["", f"{low:+.2f} to {high:+.2f}"], priority=2),
                Column("McNemar p", ["", f"{pair.p_value:.3f}"]),
            ],
            "validation decided whether the weights after are kept",
        )


class _Adapter(Trainer):
    """A run that leaves batch norm the statistics that it has."""

    def begin_epoch(self) -> None:
        super().begin_epoch()
        rest_batch_norm(self.state.model)

    def validation_loss(self, model: LoadedModel) -> float:
        """Mean loss of a model on the validation strips."""
        return self.validate(model.module, self.data.val, 0)[0]


def adapt(
    data: StripSet | Sources,
    model: Path | str = "reader",
    *,
    out: Path | str = DEFAULT,
    overwrite: bool = False,
    keep: float = KEPT,
    progress: bool | None = None,
    on_event: OnEvent | None = None,
    counts: ArrayLike | None = None,
    fit: bool = False,
    **keys: Scalar,
) -> Adaptation:
    """Teaches a reader a hand, from strips whose only labels are sums.

    50 to 2,000 strips suffice; a fifth of them decides whether the result is better than the start.

    Args:
        data: Strips and sums, or what `digitsum.open_data` takes.
        model: What it starts from: a reader's checkpoint, or `reader`, the bundled weights.
        out: Where the checkpoint goes.
        overwrite: Whether a file that is there is overwritten.
        keep: Weight of the start in the mean of the weights before and after, 0..1. More of it
            keeps more of the hands that the start reads; 0 is for the new hand alone.
        progress: As `digitsum.train`.
        on_event: As `digitsum.train`.
        counts: As `digitsum.train`.
        fit: As `digitsum.train`.
        **keys: Keys of the recipe, such as `epochs` or `digits_per_strip`.

    Raises:
        UsageError: The model is no reader, `keep` is not in 0..1, or these are several processes.
        OutputExistsError: The file exists, and `overwrite` is False.
        CheckpointError, DataError, RecipeError: As `digitsum.train`.
    """
    if not 0 <= keep <= 1:
        raise UsageError(f"keep {keep:g} is not allowed: it must be in 0..1")
    if World.from_environment().size > 1:
        raise UsageError("a reader is adapted in one process: start digitsum without torchrun")
    path, source = Path(out), locate_checkpoint(model)
    check_output(path, overwrite, [source])
    start = load_checkpoint(source)
    if start.arch != "reader":
        raise UsageError(f"{model} is of '{start.arch}', and only a reader is adapted")
    strips = as_strip_set(data, fit).with_counts(counts)
    recipe = resolve_options(Recipe.from_dict(_keys(start, len(strips), str(model), keys)))
    with ONE_RUN, undisturbed(recipe), TemporaryDirectory() as folder:
        run = Path(folder) / "run.pt"
        with shown(progress, on_event) as report:
            adapter = _Adapter(recipe, strips, run, report)
            adapter.fit()
        ended = load_checkpoint(last_path(run))
        alike = replace(start, recipe=ended.recipe)  # as many digits are known before and after
        before = make_ready(alike, str(model), recipe.device, "fp32")
        after = make_ready(_mixed(start, ended, keep), str(path), recipe.device, "fp32")
        losses = [adapter.validation_loss(each) for each in (before, after)]
        comparison = side_by_side([before, after], strips)
    better = losses[1] < losses[0]
    kept = after.checkpoint if better else replace(after.checkpoint, weights=start.weights)
    val = comparison.models[int(better)].metrics.to_dict()
    kept = replace(kept, metrics={"epoch": kept.metrics["epoch"], "val": val})
    save_checkpoint(kept, path)
    return Adaptation(comparison, better, path)


def rest_batch_norm(model: nn.Module) -> None:
    """Batch norm of a model in training keeps its statistics: a few strips have none."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _keys(start: Checkpoint, strips: int, model: str, keys: dict[str, Scalar]) -> dict[str, Scalar]:
    """The recipe: that of the start, with a short run in the place of its long one."""
    fewest, most = EPOCHS
    train = max(1.0, (1 - VALIDATION) * strips)
    epochs = min(most, max(fewest, round(PASSES / train)))
    short = {"epochs": epochs, "batch_size": 16, "lr": 0.002, "ema_decay": 0.98, "guide": 0.0}
    run = {"weights": model, "limit": None, "restarts": 0, "device": "auto", "precision": "auto"}
    return {**start.recipe, **short, **run, **keys}


def _mixed(start: Checkpoint, ended: Checkpoint, keep: float) -> Checkpoint:
    """The end of a run with a mean of its weights and those that it began with."""
    seen: dict[str, Any] = {
        name: torch.unique(torch.cat([ended.split[name], start.split[name]]))
        for name in ("trained_on", "selected_on")
        if name in start.split
    }
    weights = mean_weights(ended.weights, start.weights, keep)
    return replace(without_state(ended), weights=weights, split={**ended.split, **seen})


def mean_weights(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """The mean of two sets of weights, in which those of `b` count by `share`.

    What is no float, such as how many batches a batch norm has seen, is that of `a`.
    """
    return {
        name: torch.lerp(weight, b[name], share) if weight.is_floating_point() else weight
        for name, weight in a.items()
    }
