"""Training a model on strips whose only label is the sum of their digits.

    trainer.py      the loop: epochs, validation, restarts
    state.py        the model with its optimizers, schedules and average; one step
    checkpoints.py  what a run writes, and when
    resuming.py     a run that stopped, checked and restored
    data.py         the strips in memory, their split, their batches
    events.py       what a run reports and gives back
    adapting.py     a hand learnt from a few strips
    teaching.py     a hand learnt from ten, in seconds and in memory
    pace.py         speeds and the time left
    progress.py     the bar and the lines of a run, for a terminal or a notebook

Importing this package loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from digitsum.files import check_checkpoint_paths
from digitsum.training.distributed import World

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from digitsum.datasets import Sources
    from digitsum.datasets.strips import StripSet
    from digitsum.recipe import Recipe
    from digitsum.training.events import OnEvent, Result
    from digitsum.training.resuming import StoppedRun


ONE_RUN = RLock()  # torch's generators of random numbers are there once for a process


def train(
    data: StripSet | Sources = "builtin",
    recipe: Recipe | None = None,
    *,
    out: Path | str | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    on_event: OnEvent | None = None,
    counts: ArrayLike | None = None,
    fit: bool = False,
    **keys: Any,
) -> Result:
    """Trains a model from the start: `digitsum.train("mine", arch="cnn", epochs=5)`.

    Runs in several threads of a process take turns. What torch draws afterwards is what it would
    have drawn without the run.

    Args:
        data: Strips and sums, of both splits, or what `digitsum.open_data` takes.
        recipe: What to do.
        out: Where the checkpoint of lowest validation loss goes, by default `ARCH.pt`; the one to
            resume from is written beside it (`cnn.last.pt` for `cnn.pt`).
        overwrite: Whether checkpoints that exist are overwritten.
        progress: Whether to show a bar and a line for each epoch; by default only in a notebook.
        on_event: Called with all that happens; see `digitsum.training.events`.
        counts: How many digits each strip holds, (N,), where that differs and does not come with
            the strips. Then they are what is known, and not the recipe's `digits_per_strip`.
        fit: Whether `.npy` strips of other heights are brought to 40 rows; see `open_data`.
        **keys: Keys of the recipe, such as `digits_per_strip=3` or `"any"`; they come after those
            of `recipe`.

    Raises:
        RecipeError, UsageError: A key, a value or the architecture is not allowed, or another run
            is writing the checkpoints.
        OutputExistsError: A checkpoint exists, and `overwrite` is False.
        DataError, WeightsError: Strips or weights cannot be had, or do not suit the recipe.
        TrainingError: The loss is not finite; checkpoints written before stay as they are.
        CheckpointError: A checkpoint cannot be written.
    """
    from digitsum.recipe import Recipe

    given = recipe.to_dict() if recipe else {}
    asked = Recipe.from_dict({**given, **keys})
    path = Path(out or default_path(asked.arch))
    if World.from_environment().is_main:  # the others would find what it has just written
        check_checkpoint_paths(path, overwrite, [Path(asked.weights)])

    from digitsum.datasets import as_strip_set
    from digitsum.models import resolve_options
    from digitsum.training.trainer import Trainer, undisturbed

    asked = resolve_options(asked)
    strips = as_strip_set(data, fit).with_counts(counts)
    with ONE_RUN, undisturbed(asked), shown(progress, on_event) as report:
        return Trainer(asked, strips, path, report).fit(overwrite)


def default_path(arch: str) -> Path:
    """Where the best checkpoint goes by default: `cnn.pt`, or `tiny.pt` for `my_module:Tiny`."""
    return Path(f"{arch.rpartition(':')[2].lower()}.pt")


def resume(
    stopped: StoppedRun | Path | str,
    data: StripSet | Sources | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    on_event: OnEvent | None = None,
    fit: bool = False,
) -> Result:
    """Resumes a run after its last finished epoch, as if it had never stopped.

    Args:
        stopped: The run, or the path of its `.last.pt`; its two checkpoints are overwritten.
        data: The strips that it began with; by default found by the name that was typed then.
        given: Keys of the recipe that must be the run's; the device may differ.
        progress: As `train`.
        on_event: As `train`.
        fit: As `train`; a run on strips that were fitted needs it again.

    Raises:
        UsageError: A key differs, these are not the strips of the run, or it is finished.
        CheckpointError: The checkpoint cannot be read, or holds no state to resume from.
        DataError, TrainingError: As `train`.
    """
    from digitsum.datasets import DataOptions, as_strip_set
    from digitsum.errors import UsageError
    from digitsum.evaluation.overlap import given_or_own
    from digitsum.training.resuming import StoppedRun, restore_run
    from digitsum.training.trainer import Trainer, undisturbed

    with ONE_RUN:
        if not isinstance(stopped, StoppedRun):
            stopped = StoppedRun.open(Path(stopped), given)
        if stopped.finished:
            raise UsageError(f"{last_name(stopped)} is of a finished run: nothing is left to do")
        runs = [(str(stopped.path), stopped.checkpoint)]
        own = DataOptions(fit=fit)
        strips = given_or_own(own, runs) if data is None else as_strip_set(data, fit)
        with undisturbed(stopped.recipe), shown(progress, on_event) as report:
            trainer = Trainer(stopped.recipe, strips, stopped.path, report, pretrained=False)
            done = stopped.checkpoint.history
            trainer.world.compare({"epochs done": len(done), "the last one": done[-1:]})
            restore_run(trainer, stopped.checkpoint)
            return trainer.fit()


def last_name(stopped: StoppedRun) -> str:
    """Name of the checkpoint that a run resumes from."""
    from digitsum.checkpoint_paths import last_path

    return str(last_path(stopped.path))


def shown(progress: bool | None, on_event: OnEvent | None) -> AbstractContextManager[OnEvent]:
    """What a run reports to: the person's callable, a display, both, or nobody."""
    from digitsum.training.progress import TrainingDisplay, in_notebook

    def ignore(event: Any) -> None:
        """Nobody asked."""

    if not (in_notebook() if progress is None else progress):
        return nullcontext(on_event or ignore)
    return TrainingDisplay(then=on_event or ignore)
