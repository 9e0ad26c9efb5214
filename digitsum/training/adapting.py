"""Learning a hand from totals: a reader that reads already, and a few strips of a hand it does not.

The run is short and its rate high, and batch norm keeps the statistics of the start: a few strips
have none of their own. What is kept is a mean of the weights before and after (Wortsman et al.,
2022, "Robust fine-tuning of zero-shot models"): it reads the new hand nearly as well as the weights
after the run, and the hands that the start knew nearly as well as those before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from digitsum.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, without_state
from digitsum.checkpoint_paths import locate_checkpoint
from digitsum.datasets import Sources, as_strip_set
from digitsum.datasets.split import VALIDATION, Split, folds, split_rows
from digitsum.datasets.strips import StripSet
from digitsum.display import Column, Table, Tabular
from digitsum.errors import UsageError
from digitsum.evaluation.comparison import Comparison, pooled, side_by_side
from digitsum.files import reserved_output
from digitsum.inference import LoadedModel, make_ready
from digitsum.models import resolve_options
from digitsum.recipe import Recipe, Scalar
from digitsum.temporary_files import temporary_folder
from digitsum.training import ONE_RUN, shown
from digitsum.training.distributed import World
from digitsum.training.events import Estimate, Event, OnEvent, Progress, Start
from digitsum.training.trainer import Trainer, undisturbed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FEW = 600  # strips below which there are five runs
PASSES = 4_000  # training strips in all epochs together
PASSES_OF_FIVE = 2_000  # the same in each of five runs
EPOCHS = (5, 25)  # fewest and most
KEPT = 0.5  # weight of the start in what is written
DEFAULT = Path("adapted.pt")


@dataclass(frozen=True)
class Adaptation(Tabular):
    """What a reader gained.

    Attributes:
        comparison: The reader before and after, on the validation strips.
        val_loss: Mean loss of these strips before and after, in nats.
        path: The checkpoint that was written.
        runs: How many runs there were. Of several, each was validated on another fifth.
    """

    comparison: Comparison
    val_loss: tuple[float, float]
    path: Path
    runs: int = 1

    @property
    def better(self) -> bool:
        """Whether the loss is lower after; if not, the weights written are those of the start."""
        before, after = self.val_loss
        return after < before

    def __repr__(self) -> str:
        before, after = (row.metrics.exact_accuracy for row in self.comparison.models)
        return f"Adaptation({self.path}: {before:.2f}% before, {after:.2f}% after)"

    def to_dict(self) -> dict[str, object]:
        """The JSON of `digitsum adapt`."""
        own = {"path": str(self.path), "better": self.better, "val_loss": list(self.val_loss)}
        return {**own, **self.comparison.to_dict()}

    def table(self) -> Table:
        """Loss and exact-match accuracy before and after, and what the paired test says."""
        before, after = self.comparison.models
        pair = self.comparison.pair(1, 0)
        low, high = pair.ci95
        rows = [before.metrics, after.metrics]
        return Table(
            f"on {self.comparison.count:,} validation strips"
            + (", each read by a run without it" if self.runs > 1 else ""),
            [
                Column("", ["before", "after"], numeric=False),
                Column("loss", [f"{loss:.4f}" for loss in self.val_loss]),
                Column("exact-match %", [f"{row.exact_accuracy:.2f}" for row in rows]),
                Column("MAE", [f"{row.mae:.3f}" for row in rows], priority=1),
                Column("difference", ["", f"{pair.difference:+.2f}"]),
                Column("95% interval", ["", f"{low:+.2f} to {high:+.2f}"], priority=2),
                Column("McNemar p", ["", f"{pair.p_value:.3f}"]),
            ],
            "the weights after are kept, as the loss is lower"
            if self.better
            else "the weights before are kept, as the loss is not lower",
        )


@dataclass(frozen=True)
class _Run:
    """One run: how it ended, and what it gained on the strips that it did not learn from."""

    ended: Checkpoint
    comparison: Comparison
    losses: tuple[float, float]  # before and after, summed over these strips


class _Adapter(Trainer):
    """A run that leaves batch norm the statistics that it has."""

    def begin_epoch(self) -> None:
        super().begin_epoch()
        rest_batch_norm(self.state.model)

    def run(self) -> Checkpoint:
        """Trains all epochs; what is scored is not how they end, but its mean with the start."""
        with self.checkpoints.locked(), self.device.repeatable():
            self.run_epochs()
            return self.checkpoints.load(self.checkpoints.last_path)

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
    Of fewer than `FEW` strips that says little, and one run is a matter of chance: there are five,
    each of which leaves out another fifth. What is written is their mean, and all strips decide.

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
        UsageError: The model is no reader, `keep` is not in 0..1, these are several processes, or
            another run is writing the checkpoint.
        OutputExistsError: The file exists, and `overwrite` is False.
        CheckpointError, DataError, RecipeError: As `digitsum.train`.
    """
    if not 0 <= keep <= 1:
        raise UsageError(f"keep {keep:g} is not allowed: it must be in 0..1")
    if World.from_environment().size > 1:
        raise UsageError("a reader is adapted in one process: start digitsum without torchrun")
    path, source = Path(out), locate_checkpoint(model)
    with reserved_output(path, overwrite, [source]):
        reader = load_reader(model)
        start = reader.checkpoint
        strips = as_strip_set(data, fit).with_counts(counts)
        recipe = resolve_options(
            Recipe.from_dict(_keys(reader.recipe, len(strips), str(model), keys))
        )
        splits = _splits(len(strips), recipe)
        names = str(model), str(path)
        with ONE_RUN, undisturbed(recipe), shown(progress, on_event) as report:
            told = [_through(report, number, len(splits)) for number in range(len(splits))]
            runs = [
                _run(start, recipe, strips, split, keep, names, tell)
                for split, tell in zip(splits, told, strict=True)
            ]
        comparison = pooled([run.comparison for run in runs], strips)
        before, after = (
            sum(run.losses[side] for run in runs) / comparison.count for side in (0, 1)
        )
        found = Adaptation(comparison, (before, after), path, len(runs))
        kept = _mixed(start, [run.ended for run in runs], keep)
        if not found.better:
            kept = replace(kept, weights=start.weights)
        val = comparison.models[int(found.better)].metrics.to_dict()
        kept = replace(kept, metrics={"epoch": kept.metrics["epoch"], "val": val})
        save_checkpoint(kept, path, overwrite)
        return found


def load_reader(model: Path | str) -> LoadedModel:
    """What a run may start from.

    Args:
        model: A reader's checkpoint, or `reader`, the bundled weights.

    Raises:
        CheckpointError: It cannot be read.
        UsageError: It is of another architecture.
    """
    checkpoint = load_checkpoint(locate_checkpoint(model))
    if checkpoint.arch != "reader":
        raise UsageError(f"{model} is of '{checkpoint.arch}', and only a reader is adapted")
    return make_ready(checkpoint, str(model), "cpu", "fp32")


def _splits(count: int, recipe: Recipe) -> list[Split]:
    """Which strips each run trains on and which it validates on."""
    if count < FEW:
        return folds(count, recipe.split_seed)
    return [split_rows(count, recipe.split_seed, recipe.limit)]


def _run(
    start: Checkpoint,
    recipe: Recipe,
    strips: StripSet,
    split: Split,
    keep: float,
    names: tuple[str, str],
    report: OnEvent,
) -> _Run:
    """Trains on one part of the strips and reads the other one before and after."""
    with temporary_folder(Path(names[1])) as folder:
        adapter = _Adapter(recipe, strips, folder / "run.pt", report, split=split)
        ended = adapter.run()
    alike = replace(start, recipe=ended.recipe)  # as many digits are known before and after
    both = [
        make_ready(checkpoint, name, recipe.device, "fp32")
        for checkpoint, name in zip((alike, _mixed(start, [ended], keep)), names, strict=True)
    ]
    before, after = (len(split.val) * adapter.validation_loss(each) for each in both)
    return _Run(ended, side_by_side(both, strips, timed=False), (before, after))


def _through(report: OnEvent, number: int, runs: int) -> OnEvent:
    """Takes what run `number`, from 0, reports, and tells it as a part of one long run."""

    def told(event: Event) -> None:
        if isinstance(event, Progress):
            share = (event.epoch - 1 + event.step / event.steps) / event.epochs
            each = event.seconds_left / max(1 - share, 1e-9)
            event = replace(
                event,
                epoch=event.epoch + number * event.epochs,
                epochs=runs * event.epochs,
                seconds_left=event.seconds_left + (runs - 1 - number) * each,
            )
        elif isinstance(event, Start | Estimate) and number:
            return
        report(event)

    return told


def rest_batch_norm(model: nn.Module) -> None:
    """Batch norm of a model in training keeps its statistics: a few strips have none."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _keys(start: Recipe, strips: int, model: str, keys: dict[str, Scalar]) -> dict[str, Scalar]:
    """The recipe: that of the start, with a short run in the place of its long one."""
    fewest, most = EPOCHS
    train = max(1.0, (1 - VALIDATION) * strips)
    epochs = min(most, max(fewest, round((PASSES_OF_FIVE if strips < FEW else PASSES) / train)))
    short = {"epochs": epochs, "batch_size": 16, "lr": 0.002, "ema_decay": 0.98, "guide": 0.0}
    run = {"weights": model, "limit": None, "restarts": 0, "device": "auto", "precision": "auto"}
    return {**start.to_dict(), **short, **run, **keys}


def _mixed(start: Checkpoint, runs: Sequence[Checkpoint], keep: float) -> Checkpoint:
    """The end of runs with the mean of their weights and those that they began with.

    Several runs have together trained on all strips.
    """
    known = [*runs, start]
    split: dict[str, Any] = dict(runs[0].split)
    for name in ("trained_on", "selected_on"):
        split[name] = torch.unique(torch.cat([c.split[name] for c in known if name in c.split]))
    if len(runs) > 1:
        rows = torch.cat([split["train"], split["val"]])
        split |= {"train": rows.sort().values, "val": rows[:0]}
    weights = runs[0].weights
    for number, run in enumerate(runs[1:], 2):
        weights = mean_weights(weights, run.weights, 1 / number)
    weights = mean_weights(weights, start.weights, keep)
    return replace(without_state(runs[0]), weights=weights, split=split)


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
