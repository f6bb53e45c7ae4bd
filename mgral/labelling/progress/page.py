"""The page of a project: how good its detectors are, what labelling took, and whether to go on, in one file."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mgral.evaluation.intervals import Interval
from mgral.labelling.batch_files import SHEET
from mgral.labelling.experiments.comparing import cross_validated_lines
from mgral.labelling.opening import round_folder
from mgral.labelling.progress.advice import MEANS, Progress, advice, target_lines, times_in_words
from mgral.labelling.progress.curve import Curve, Point, Score
from mgral.labelling.progress.effort import Accepted
from mgral.labelling.records import CONFIRMED, State
from mgral.labelling.results import LEAST_BOXES
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import Project
from mgral.labelling.status import WORDS, spent
from mgral.report.drawing import FAINT, FEW_LINES, INK, draw, legend_above, legend_height
from mgral.report.rendering import environment
from mgral.report.spread import points, points_interval
from mgral.report.styles import METHOD, class_colours

PAGE = "report.html"
COSTS = {"pictures": "labelled pictures", "boxes": "labelled boxes", "hours": "hours of labelling"}


@dataclass(frozen=True)
class Drawn:
    """A figure of the page."""

    title: str
    caption: str
    svg: str
    """The element alone."""


@dataclass(frozen=True)
class RoundRow:
    """A line on a round."""

    number: int
    sheet: str
    """Where its contact sheet is, from the project's folder; empty where it is not."""
    sent: int
    done: int
    """Labelled, or checked and empty."""
    other_states: str
    """What became of the others, as text."""
    hours: float | None
    accepted: Accepted | None


def progress_page(folder: Path, settings: ProjectSettings, project: Project, progress: Progress) -> str:
    """Return the page (HTML) of the project in a folder; it needs no other file and no network."""
    jinja = environment("mgral.labelling.progress")
    jinja.filters |= {"points": points, "interval": points_interval, "hours": _hours, "score": _with_interval}
    counts = project.counts()
    return (
        jinja.get_template("page.html.jinja").render(
            settings=settings,
            progress=progress,
            curve=progress.curve,
            facts=_facts(settings, project, progress),
            states=[(state, counts[state], WORDS[state]) for state in get_args(State) if counts[state]],
            advice=advice(progress),
            target=target_lines(progress),
            cross_validated=cross_validated_lines(folder, project),
            odd_times=times_in_words(progress),
            figures=_curve_figures(progress) if progress.curve.points else [],
            classes=project.classes,
            class_figure=_class_figure(progress.curve, project.classes),
            rounds=[_round_row(folder, project, progress, number) for number in sorted(project.rounds)],
            means=MEANS,
            least=LEAST_BOXES,
        )
        + "\n"
    )


def _facts(settings: ProjectSettings, project: Project, progress: Progress) -> list[tuple[str, str]]:
    counts, times = project.counts(), progress.effort.times
    hours, per_picture = times.hours(), progress.hours_of_picture
    labelled = sum(counts[state] for state in CONFIRMED)
    facts = [
        ("Pictures", f"{len(project.pictures):,}, {labelled:,} of them labelled"),
        ("Budget", f"{spent(project):,} of {settings.budget:,} pictures used"),
        ("Measured on", f"{progress.curve.images:,} pictures with {sum(progress.curve.boxes.values()):,} boxes"),
    ]
    if progress.target is not None:
        facts.append(("Target", f"{points(progress.target)} % {progress.name}"))
    if hours is not None and per_picture is not None:
        boxes = f", {3600 * hours / times.boxes:.0f} s a box" if times.boxes else ""
        facts.append(("Labelling", f"{hours:.1f} hours, {3600 * per_picture:.0f} s a picture{boxes}"))
        if left := progress.budget_left:
            facts.append(("To the end of the budget", f"{left:,} pictures, {left * per_picture:.1f} hours"))
    return facts


def _round_row(folder: Path, project: Project, progress: Progress, number: int) -> RoundRow:
    images = project.of_round(number)
    states = Counter(project.images[image].state for image in images)
    other_states = ", ".join(f"{count} {state}" for state, count in sorted(states.items()) if state not in CONFIRMED)
    sheet = round_folder(Path(), number) / SHEET
    return RoundRow(
        number=number,
        sheet=sheet.as_posix() if (folder / sheet).is_file() else "",
        sent=len(images),
        done=sum(states[state] for state in CONFIRMED),
        other_states="trains on all labels, chooses nothing" if number in project.trainings else other_states,
        hours=progress.effort.times.hours(images) if images else None,
        accepted=progress.effort.accepted.get(number),
    )


def _curve_figures(progress: Progress) -> list[Drawn]:
    """Draw both scores by pictures, and the forecast one by boxes and by hours too, where these are known."""
    other_score = next(name for name in MEANS if name != progress.score)
    figures = [_curve_figure(progress, progress.score, "pictures"), _curve_figure(progress, other_score, "pictures")]
    figures.append(_curve_figure(progress, progress.score, "boxes"))
    if all(point.hours is not None for point in progress.curve.points):
        figures.append(_curve_figure(progress, progress.score, "hours"))
    return figures


def _curve_figure(progress: Progress, score: str, cost: str) -> Drawn:
    with_forecast = cost == "pictures" and score == progress.score and bool(progress.expected)
    target = progress.target if score == progress.score else None

    def paint(axes: Axes) -> None:
        costs = [float(getattr(point, cost)) for point in progress.curve.points]
        scores = [point.scores[score] for point in progress.curve.points]
        _paint_points(axes, costs, scores, METHOD.colour, f"{MEANS[score]} of the rounds")
        if with_forecast:
            pictures = [float(expected.pictures) for expected in progress.expected]
            low, high = zip(*(expected.interval for expected in progress.expected), strict=True)
            axes.fill_between(pictures, low, high, color=FAINT, alpha=0.25, linewidth=0)
            axes.plot(
                pictures, [expected.score for expected in progress.expected], "o--", color=FAINT, label="forecast"
            )
        if target is not None:
            axes.axhline(target, color=INK, linestyle=":", linewidth=1.2, label=f"target {points(target)}")
        _in_percent(axes, COSTS[cost], f"{MEANS[score]} (%)")

    names = [f"{MEANS[score]} of the rounds", "forecast", "target"]
    captions = {
        "pictures": "Pictures: those that each detector was trained on.",
        "boxes": "Boxes: those in the training pictures.",
        "hours": "Hours: of labelling the training pictures, without the audit set.",
    }
    bars = " Bars: 95 % intervals over resamples of the evaluated pictures."
    grey = " Grey: 95 % intervals for the next detectors." if with_forecast else ""
    drawing = draw(f"{score}_by_{cost}", 5.0, 3.2 + legend_height(names), paint)
    title = f"{MEANS[score]} against {COSTS[cost]}"
    return Drawn(title, captions[cost] + bars + grey, drawing.inline)


def _paint_points(axes: Axes, costs: Sequence[float], scores: Sequence[Score], colour: str, label: str) -> None:
    values = [score.value for score in scores]
    if not any(math.isnan(score.interval.low) for score in scores):
        reach = [
            [max(0.0, score.value - score.interval.low) for score in scores],
            [max(0.0, score.interval.high - score.value) for score in scores],
        ]
        axes.errorbar(costs, values, yerr=reach, fmt="none", ecolor=colour, elinewidth=1.2, capsize=3, alpha=0.7)
    axes.plot(costs, values, "o-", color=colour, markeredgecolor="white", label=label)


def _class_figure(curve: Curve, classes: Mapping[int, str]) -> Drawn | None:
    """Draw the AP of the classes with the most boxes to measure by; nothing where none has enough."""
    scored = [label for label in classes if any(label in point.by_class for point in curve.points)]
    shown = sorted(scored, key=lambda label: -curve.boxes[label])[:FEW_LINES]
    if not shown:
        return None

    def paint(axes: Axes) -> None:
        for label, colour in zip(shown, class_colours(len(shown)), strict=True):
            known_points: list[Point] = [point for point in curve.points if label in point.by_class]
            heights = [point.by_class[label].value for point in known_points]
            axes.plot([point.pictures for point in known_points], heights, "o-", color=colour, label=classes[label])
        _in_percent(axes, COSTS["pictures"], "AP@[.5:.95] (%)")

    drawing = draw("by_class", 5.0, 3.2 + legend_height([classes[label] for label in shown]), paint)
    which = f"The {len(shown)} classes with the most boxes in these pictures." if len(scored) > len(shown) else ""
    return Drawn("AP of classes against labelled pictures", which, drawing.inline)


def _in_percent(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    legend_above(axes)


def _hours(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _with_interval(score: Score | None, sign: bool = False) -> str:
    """Write a score in percent with its interval."""
    if score is None or math.isnan(score.value):
        return "–"
    interval: Interval = score.interval
    return points(score.value, sign=sign) + (f" ({points_interval(interval, sign=sign)})" if interval.known else "")
