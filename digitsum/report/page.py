"""The report as one HTML page that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from digitsum import __version__
from digitsum.evaluation import Misread
from digitsum.readings import said
from digitsum.report import figures, words
from digitsum.report.gather import Report
from digitsum.report.looks import Look


@dataclass(frozen=True)
class Picture:
    """A strip with a line below."""

    source: str  # data URI
    text: str


@dataclass(frozen=True)
class Section:
    """A heading, a drawing or pictures, and what to see in them."""

    title: str
    said: list[str]
    drawings: list[Markup] = field(default_factory=list)  # our own SVG, safe as it is
    pictures: list[Picture] = field(default_factory=list)


def render(report: Report) -> str:
    """The whole page. Everything that came from outside is escaped."""
    environment = Environment(
        loader=PackageLoader("digitsum.report", "."), autoescape=True, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        report=report,
        strips=words.strips_in_words(report),
        headline=words.headline(report),
        digits=any(s.row.metrics.digit_accuracy is not None for s in report.subjects),
        sections=sections(report),
        version=__version__,
    )


def sections(report: Report) -> list[Section]:
    """All that follows the table."""
    subjects = report.subjects
    made = [
        Section(
            "How they learnt" if len(subjects) > 1 else "How it learnt",
            [words.curves(subject) for subject in subjects if subject.history],
            [Markup(figures.curves([s for s in subjects if s.history]))],
        ),
        Section(
            "Read against true",
            [words.read_against_true(report, subject) for subject in subjects],
            [Markup(figures.read_against_true(report))],
        ),
        Section(
            "Right by true sum",
            [words.by_sum(report, subject) for subject in subjects],
            [Markup(figures.by_sum(report))],
        ),
        Section("What it costs", [words.cost(report)], [Markup(figures.cost(report))]),
    ]
    if not any(subject.history for subject in subjects):
        del made[0]
    sure = [subject for subject in subjects if subject.readings.confidence is not None]
    if sure:
        said = [words.confidence(report, subject) for subject in sure]
        made.append(Section("How sure it is", said, [Markup(figures.confidence(report))]))
    for subject in subjects:
        made.append(_seen(subject.looks, f"What {subject.name} sees", words.looks(subject)))
    for subject in subjects:
        if subject.misread:
            made.append(_misread(subject.name, subject.misread))
    return made


def _seen(looks: list[Look], title: str, said: str) -> Section:
    if looks[0].kind == "columns":
        return Section(title, [said], [Markup(figures.columns(look)) for look in looks])
    pictures = [
        Picture(
            figures.picture(look.strip, look.map),
            f"read {look.reading.sum[0]}, value {look.reading.value[0]:.2f}",
        )
        for look in looks
    ]
    return Section(title, [said], pictures=pictures)


def _misread(name: str, misread: list[Misread]) -> Section:
    pictures = []
    for one in misread:
        text = f"{one.truth_in_words}; {said(one.reading, 0)}"
        pictures.append(Picture(figures.picture(one.strip), text))
    return Section(
        f"Where {name} is farthest off",
        [f"{name}: what stands there, and what was read."],
        pictures=pictures,
    )
