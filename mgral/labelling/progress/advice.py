"""Whether it is worth going on: the curve, its forecast, what labelling takes, and one sentence of advice."""

import math
from dataclasses import dataclass
from pathlib import Path

from mgral.errors import number_of
from mgral.labelling.opening import usable_label
from mgral.labelling.progress.curve import Curve, project_curve
from mgral.labelling.progress.effort import Effort, effort
from mgral.labelling.progress.forecast import FEWEST_ROUNDS, Expected, Law, fit_law
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import Project, project_lines
from mgral.labelling.status import spent

BATCHES = 3
"""Batches that the forecast looks ahead."""
LITTLE = 0.01
"""Rise of a score, 0 to 1, over these batches that hardly is worth their labels."""
SHOWN = 5
"""Rounds that are listed on a terminal, the last ones."""
FAR = 20
"""Multiple of the present pictures beyond which the pictures needed for a target are not predicted."""
MEANS = {"map": "mAP", "ap50": "AP50"}
"""Scores of all classes, and how people know them."""


@dataclass(frozen=True)
class Progress:
    """How a project is getting on."""

    score: str
    """What is forecast and compared with the target: `map` or `ap50`."""
    target: float | None
    """Of that score, 0 to 1."""
    curve: Curve
    effort: Effort
    labelled: int
    """Training pictures that are labelled, or that people have and did not finish yet."""
    budget_left: int
    """Pictures of the budget that are not used."""
    law: Law | None
    expected: tuple[Expected, ...]
    """Forecasts after each of the next batches, with gains counted from `labelled` pictures. If the last detector
    learnt from fewer, a forecast for `labelled` comes first. Empty without a law, and where no picture is left."""

    @property
    def name(self) -> str:
        """What people call the score."""
        return MEANS[self.score]

    @property
    def hours_of_picture(self) -> float | None:
        """Mean hours of labelling a picture so far; None where they are not known."""
        mean = self.effort.times.mean
        return None if mean is None else mean / 3600

    @property
    def needed(self) -> tuple[float, float, float] | None:
        """Training pictures, in all, that the target needs: 2.5th percentile, median and 97.5th percentile."""
        return self.law.needed(self.target) if self.law is not None and self.target is not None else None


def project_progress(folder: Path, settings: ProjectSettings, project: Project) -> Progress:
    """Return how the project in a folder is getting on."""
    labelling_effort = effort(project_lines(folder), project)
    curve = project_curve(folder, settings, project, labelling_effort.times)
    score, target = settings.target_score
    points = [point for point in curve.points if not math.isnan(point.scores[score].value)]
    law = fit_law(
        [point.pictures for point in points],
        [point.scores[score].value for point in points],
        curve.scatter.get(score, 0.0),
    )
    images = [image for image in project.images.values() if not image.role]
    labelled = sum(
        usable_label(project, image, settings.conflicts) is not None or image.state in ("sent", "draft")
        for image in images
    )
    pool = sum(image.state == "untouched" for image in images)
    counts = [min(labelled + settings.batch * (number + 1), labelled + pool) for number in range(BATCHES)]
    counts = list(dict.fromkeys([labelled, *counts] if law and labelled > law.pictures else counts)) if pool else []
    return Progress(
        score=score,
        target=target,
        curve=curve,
        effort=labelling_effort,
        labelled=labelled,
        budget_left=max(0, settings.budget - spent(project)),
        law=law,
        expected=tuple(law.at(count, labelled) for count in counts) if law else (),
    )


def advice(progress: Progress) -> str:
    """Return one sentence of advice.

    The first rule that applies decides: there is no score; the lower end of the last score's interval, or the score
    alone, has reached the target; fewer than three rounds have a score; no picture is left; by the forecast the next
    batches add surely less than a point, likely less, surely more, or likely more.
    """
    last_score = progress.curve.points[-1].scores[progress.score] if progress.curve.points else None
    if last_score is None or math.isnan(last_score.value):
        return "no round has a score yet, so there is no advice"
    if progress.target is not None and last_score.value >= progress.target:
        if last_score.interval.low >= progress.target:
            return f"the target of {percent(progress.target)} % {progress.name} is reached"
        unsure = "there is no interval" if math.isnan(last_score.interval.low) else "the score's interval contains it"
        return f"the target of {percent(progress.target)} % {progress.name} may be reached: {unsure}"
    if progress.law is None:
        count = len({point.pictures for point in progress.curve.points})
        return f"continue: {count} of the {FEWEST_ROUNDS} rounds that a forecast needs have a score"
    if not progress.expected:
        return "no picture is left to label"
    forecast = progress.expected[-1]
    low, high = forecast.gain_interval
    gain = f"{percent(forecast.gain)} points of {progress.name} ({percent(low)} to {percent(high)})"
    pictures, per_picture = forecast.pictures - progress.labelled, progress.hours_of_picture
    next_pictures = (
        f"the next {pictures} pictures{'' if per_picture is None else f' ({pictures * per_picture:.1f} hours)'} add"
    )
    if high < LITTLE:
        return f"stop, unless a point is worth it to you: {next_pictures} {gain}"
    if forecast.gain < LITTLE:
        return f"more labels likely bring little: {next_pictures} {gain}"
    if low >= LITTLE:
        return f"continue: {next_pictures} {gain}"
    return f"continuing likely pays off: {next_pictures} {gain}"


def progress_lines(progress: Progress) -> list[str]:
    """Return what a person wants to know of it, as lines for a terminal."""
    lines = [*_curve_lines(progress), *_forecast_lines(progress), *_proposal_lines(progress), *_cost_lines(progress)]
    return [*lines, f"advice: {advice(progress)}"] if progress.curve.points else lines


def _curve_lines(progress: Progress) -> list[str]:
    curve = progress.curve
    if not curve.points:
        return [f"  {note}" for note in curve.notes]
    which = "last rounds" if len(curve.points) > SHOWN else "rounds"
    measured = f"on {number_of(curve.images, 'picture')} with today's labels (95 % intervals):"
    lines = [f"{progress.name} of the {which} in %, {measured}"]
    rows = list(zip(curve.points, (None, *curve.gains[progress.score]), (None, *curve.agreement), strict=True))
    for point, gain, agrees in rows[-SHOWN:]:
        ap = point.scores[progress.score]
        line = f"  round {point.round}, of {point.pictures:>4} pictures: {percent(ap.value):>5}{_within(ap.interval)}"
        if gain is not None:
            line += f"; {percent(gain.value, sign=True)}{_within(gain.interval, sign=True)} to the one before"
        if agrees is not None:
            line += f"; {100 * agrees:.0f} % of the boxes agree"
        lines.append(line)
    return lines + [f"  {note}" for note in curve.notes]


def _forecast_lines(progress: Progress) -> list[str]:
    if not progress.expected:
        return []
    forecasts = [
        f"{percent(expected.score)}{_within(expected.interval)} of {expected.pictures} pictures"
        for expected in progress.expected
    ]
    return [f"forecast of {progress.name}: {', '.join(forecasts)}"]


def _proposal_lines(progress: Progress) -> list[str]:
    shares = [
        f"{100 * accepted.share:.0f} % of {accepted.proposed} in round {number}"
        for number, accepted in progress.effort.accepted.items()
        if accepted.share is not None
    ]
    return [f"proposed boxes that people left as they were: {', '.join(shares[-SHOWN:])}"] if shares else []


def _cost_lines(progress: Progress) -> list[str]:
    times = progress.effort.times
    hours, per_picture = times.hours(), progress.hours_of_picture
    if hours is None or per_picture is None:
        return ["hours of labelling: unknown, because fewer than half of the labels have a time"] * bool(times.labels)
    line = f"labelling: {hours:.1f} hours so far, {3600 * per_picture:.0f} s a picture"
    line += f", {3600 * hours / times.boxes:.0f} s a box" if times.boxes else ""
    if left := progress.budget_left:
        line += f"; {left * per_picture:.1f} hours for the {left} pictures that are left of the budget"
    lines = [line]
    if note := times_in_words(progress):
        lines.append(f"  {note}")
    return lines + target_lines(progress)


def times_in_words(progress: Progress) -> str:
    """Return how many labels have no time, and why; empty where all have one."""
    times = progress.effort.times
    if not times.without_time:
        return ""
    left_open = f", or that of a page that was left open ({times.left_open})" if times.left_open else ""
    return (
        f"{times.without_time} of {times.labels} labels have no time{left_open}, and count as the mean of the others"
    )


def target_lines(progress: Progress) -> list[str]:
    """Return how far the target is, in pictures and hours; no line without one, and once it is reached."""
    if progress.target is None or progress.needed is None:
        return []
    low, middle, high = (max(0.0, pictures - progress.labelled) for pictures in progress.needed)
    start = f"to {percent(progress.target)} % {progress.name}: "
    if middle > FAR * progress.labelled:
        return [
            start
            + (
                "beyond what this curve can predict"
                if low > FAR * progress.labelled
                else f"{_many(low)} more pictures at least"
            )
        ]
    per_picture = progress.hours_of_picture
    line = f"{start}{_many(middle)} more pictures ({_many(low)} to {_many(high)})"
    if per_picture is not None:
        line += f", {middle * per_picture:.1f} hours ({low * per_picture:.1f} to {_many(high * per_picture, '.1f')})"
    return [line] if high else []


def _many(value: float, form: str = ",.0f") -> str:
    """Return a number; what no number of pictures reaches in words."""
    return f"{value:{form}}" if math.isfinite(value) else "never"


def percent(value: float, sign: bool = False) -> str:
    """Return a score, 0 to 1, in percent."""
    return "-" if math.isnan(value) else f"{100 * value:{'+' if sign else ''}.1f}"


def _within(interval: tuple[float, float], sign: bool = False) -> str:
    """Return an interval in percent, in brackets; empty where there is none."""
    low, high = interval
    return "" if math.isnan(low) else f" ({percent(low, sign)} to {percent(high, sign)})"
