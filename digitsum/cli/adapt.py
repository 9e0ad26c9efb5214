"""`digitsum adapt`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from digitsum.cli import completion, options
from digitsum.cli.loading import digit_notes, model_files, strip_files
from digitsum.files import check_output

EXAMPLES = (
    "digitsum adapt mine --out mine.pt",
    "digitsum adapt scans/ --digits-per-strip any --keep 0 --out mine.pt",
)


def adapt(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="50 to 2,000 strips of the hand with their sums, as for train --data.",
            autocompletion=completion.data,
        ),
    ],
    labels: options.Labels = None,
    mnist_root: options.MnistRoot = None,
    fit: options.Fit = False,
    model: Annotated[
        Path,
        options.model("What to start from: a reader's checkpoint, or reader, the bundled weights."),
    ] = Path("reader"),
    digits_per_strip: options.DigitsPerStrip = None,
    keep: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="How much of the start is kept, 0 to 1: more keeps more of the hands that it "
            "reads, 0 is for the new hand alone.",
            rich_help_panel=options.RUN,
        ),
    ] = 0.5,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of passes over the training strips.",
            show_default="5 to 25, the more the fewer strips there are",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    lr: Annotated[
        float,
        typer.Option(
            metavar="RATE",
            help="Learning rate, the highest one of the run.",
            rich_help_panel=options.RUN,
        ),
    ] = 0.002,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Random seed for order and augmentation.",
            rich_help_panel=options.RUN,
        ),
    ] = 0,
    device: options.Device = "auto",
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.pt", help="The checkpoint to write.", rich_help_panel=options.OUTPUT
        ),
    ] = Path("adapted.pt"),
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Teach a reader a hand, from strips with their sums.

    A fifth of the strips is not learnt from, and read before and after; of fewer than 600 strips
    each fifth in turn, by five runs whose mean is kept. If they are not read better after, the
    checkpoint holds the weights of the start, and a line says so. No strip's digits are labelled.
    """
    check_output(out, overwrite, [*strip_files(data, labels, mnist_root), *model_files([model])])

    from digitsum.cli.display import say, show_table, stderr
    from digitsum.cli.writers import to_json
    from digitsum.datasets import DataOptions
    from digitsum.training.adapting import adapt as adapt_reader
    from digitsum.training.adapting import load_reader
    from digitsum.training.events import Event, Progress, Start
    from digitsum.training.progress import TrainingDisplay

    strips = DataOptions(data, labels, mnist_root, fit).open()
    known = load_reader(model).recipe.digits_per_strip
    if (asked := options.digit_count(digits_per_strip)) is not None:
        known = None if asked == "any" else asked
    notes = list(digit_notes(known, asked is not None, strips))
    for note in strips.notes:
        say(note)
    given = {"epochs": epochs, "digits_per_strip": asked}
    keys = {key: value for key, value in given.items() if value is not None}
    with TrainingDisplay(stderr) as display:

        def told(event: Event) -> None:
            if isinstance(event, Start):  # said once nothing is wrong: an error stands alone
                for note in notes:
                    say(note)
            elif isinstance(event, Progress):  # the table says what came of it
                display(event)

        found = adapt_reader(
            strips, model, out=out, overwrite=overwrite, keep=keep, progress=False,
            on_event=told, lr=lr, seed=seed, device=device, **keys,
        )  # fmt: skip
    if as_json:
        typer.echo(to_json(found.to_dict()))
    else:
        show_table(found.table())
    if not found.better:
        say("the validation strips are not read better: these are the weights of the start")
    say(f"wrote {out}")
