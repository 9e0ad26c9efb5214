"""The report as one HTML page that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from digitsum._version import __version__
from digitsum.evaluation.scoring import MisreadStrip
from digitsum.report import captions, figures
from digitsum.report.content import ReportContent
from digitsum.report.explain import Explanation


@dataclass(frozen=True)
class Picture:
    """A strip with a line below."""

    source: str  # data URI
    text: str


@dataclass(frozen=True)
class Section:
    """A heading, a drawing or pictures, and what to see in them."""

    title: str
    captions: list[str]
    drawings: list[Markup] = field(default_factory=list)  # our own SVG, safe as it is
    pictures: list[Picture] = field(default_factory=list)


def render(report: ReportContent) -> str:
    """The whole page. Everything that came from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("digitsum.report", "."), autoescape=True, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        report=report,
        strips=captions.describe_strips(report),
        headline=captions.headline(report),
        digits=any(s.row.metrics.digit_accuracy is not None for s in report.subjects),
        sections=sections(report),
        version=__version__,
    )


def sections(report: ReportContent) -> list[Section]:
    """All that follows the table."""
    subjects = report.subjects
    made = [
        Section(
            "Learning curves" if len(subjects) > 1 else "Learning curve",
            [captions.curves(subject) for subject in subjects if subject.history],
            [Markup(figures.curves([s for s in subjects if s.history]))],
        ),
        Section(
            "Predicted against true",
            [captions.predicted_against_true(report, subject) for subject in subjects],
            [Markup(figures.predicted_against_true(report))],
        ),
        Section(
            "Accuracy by true sum",
            [captions.by_sum(report, subject) for subject in subjects],
            [Markup(figures.by_sum(report))],
        ),
        Section("Cost", [captions.cost(report)], [Markup(figures.cost(report))]),
    ]
    if not any(subject.history for subject in subjects):
        del made[0]
    confident = [subject for subject in subjects if subject.predictions.confidence is not None]
    if confident:
        said = [captions.confidence(report, subject) for subject in confident]
        made.append(Section("Confidence", said, [Markup(figures.confidence(report))]))
    for subject in subjects:
        title = f"What {subject.name} looks at"
        made.append(_explained(subject.explanations, title, captions.explanations(subject)))
    for subject in subjects:
        if subject.errors:
            made.append(_errors(subject.name, subject.errors))
    return made


def _explained(explanations: list[Explanation], title: str, caption: str) -> Section:
    if explanations[0].kind == "columns":
        return Section(title, [caption], [Markup(figures.columns(each)) for each in explanations])
    pictures = [
        Picture(figures.picture(each.strip, each.map), f"predicted {each.prediction}")
        for each in explanations
    ]
    return Section(title, [caption], pictures=pictures)


def _errors(name: str, errors: list[MisreadStrip]) -> Section:
    pictures = [
        Picture(
            figures.picture(error.strip), f"{error.truth_in_words}; predicted {error.prediction}"
        )
        for error in errors
    ]
    return Section(
        f"Largest errors of {name}",
        [f"{name}: what is in each strip, and what was predicted."],
        pictures=pictures,
    )
