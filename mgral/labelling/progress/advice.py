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
    left: int
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


def progress(folder: Path, settings: ProjectSettings, project: Project) -> Progress:
    """Return how the project in a folder is getting on."""
    work = effort(project_lines(folder), project)
    curve = project_curve(folder, settings, project, work.times)
    score, target = settings.target_score
    points = [one for one in curve.points if not math.isnan(one.scores[score].value)]
    law = fit_law(
        [one.pictures for one in points], [one.scores[score].value for one in points], curve.scatter.get(score, 0.0)
    )
    images = [one for one in project.images.values() if not one.role]
    labelled = sum(
        usable_label(project, one, settings.conflicts) is not None or one.state in ("sent", "draft") for one in images
    )
    pool = sum(one.state == "untouched" for one in images)
    ahead = [min(labelled + settings.batch * (number + 1), labelled + pool) for number in range(BATCHES)]
    ahead = list(dict.fromkeys([labelled, *ahead] if law and labelled > law.pictures else ahead)) if pool else []
    return Progress(
        score=score,
        target=target,
        curve=curve,
        effort=work,
        labelled=labelled,
        left=max(0, settings.budget - spent(project)),
        law=law,
        expected=tuple(law.at(one, labelled) for one in ahead) if law else (),
    )


def advice(found: Progress) -> str:
    """Return one sentence of advice.

    The first rule that applies decides: there is no score; the lower end of the last score's interval, or the score
    alone, has reached the target; fewer than three rounds have a score; no picture is left; by the forecast the next
    batches add surely less than a point, likely less, surely more, or likely more.
    """
    last = found.curve.points[-1].scores[found.score] if found.curve.points else None
    if last is None or math.isnan(last.value):
        return "no round has a score yet, so there is no advice"
    if found.target is not None and last.value >= found.target:
        if last.interval.low >= found.target:
            return f"the target of {percent(found.target)} % {found.name} is reached"
        unsure = "there is no interval" if math.isnan(last.interval.low) else "the score's interval contains it"
        return f"the target of {percent(found.target)} % {found.name} may be reached: {unsure}"
    if found.law is None:
        count = len({one.pictures for one in found.curve.points})
        return f"continue: {count} of the {FEWEST_ROUNDS} rounds that a forecast needs have a score"
    if not found.expected:
        return "no picture is left to label"
    end = found.expected[-1]
    low, high = end.gain_interval
    gain = f"{percent(end.gain)} points of {found.name} ({percent(low)} to {percent(high)})"
    more, each = end.pictures - found.labelled, found.hours_of_picture
    ahead = f"the next {more} pictures{'' if each is None else f' ({more * each:.1f} hours)'} add"
    if high < LITTLE:
        return f"stop, unless a point is worth it to you: {ahead} {gain}"
    if end.gain < LITTLE:
        return f"more labels likely bring little: {ahead} {gain}"
    if low >= LITTLE:
        return f"continue: {ahead} {gain}"
    return f"continuing likely pays off: {ahead} {gain}"


def progress_lines(found: Progress) -> list[str]:
    """Return what a person wants to know of it, as lines for a terminal."""
    lines = [*_curve_lines(found), *_forecast_lines(found), *_proposal_lines(found), *_cost_lines(found)]
    return [*lines, f"advice: {advice(found)}"] if found.curve.points else lines


def _curve_lines(found: Progress) -> list[str]:
    curve = found.curve
    if not curve.points:
        return [f"  {note}" for note in curve.notes]
    which = "last rounds" if len(curve.points) > SHOWN else "rounds"
    measured = f"on {number_of(curve.images, 'picture')} with today's labels (95 % intervals):"
    lines = [f"{found.name} of the {which} in %, {measured}"]
    rows = list(zip(curve.points, (None, *curve.gains[found.score]), (None, *curve.agreement), strict=True))
    for point, gain, agrees in rows[-SHOWN:]:
        own = point.scores[found.score]
        line = (
            f"  round {point.round}, of {point.pictures:>4} pictures: {percent(own.value):>5}{_within(own.interval)}"
        )
        if gain is not None:
            line += f"; {percent(gain.value, sign=True)}{_within(gain.interval, sign=True)} to the one before"
        if agrees is not None:
            line += f"; {100 * agrees:.0f} % of the boxes agree"
        lines.append(line)
    return lines + [f"  {note}" for note in curve.notes]


def _forecast_lines(found: Progress) -> list[str]:
    if not found.expected:
        return []
    ahead = [f"{percent(one.score)}{_within(one.interval)} of {one.pictures} pictures" for one in found.expected]
    return [f"forecast of {found.name}: {', '.join(ahead)}"]


def _proposal_lines(found: Progress) -> list[str]:
    shares = [
        f"{100 * own.share:.0f} % of {own.proposed} in round {number}"
        for number, own in found.effort.accepted.items()
        if own.share is not None
    ]
    return [f"proposed boxes that people left as they were: {', '.join(shares[-SHOWN:])}"] if shares else []


def _cost_lines(found: Progress) -> list[str]:
    times = found.effort.times
    hours, each = times.hours(), found.hours_of_picture
    if hours is None or each is None:
        return ["hours of labelling: unknown, because fewer than half of the labels have a time"] * bool(times.labels)
    line = f"labelling: {hours:.1f} hours so far, {3600 * each:.0f} s a picture"
    line += f", {3600 * hours / times.boxes:.0f} s a box" if times.boxes else ""
    rest = f"; {found.left * each:.1f} hours for the {found.left} pictures that are left of the budget"
    lines = [line + rest * bool(found.left)]
    if odd := times_in_words(found):
        lines.append(f"  {odd}")
    return lines + target_lines(found)


def times_in_words(found: Progress) -> str:
    """Return how many labels have no time, and why; empty where all have one."""
    times = found.effort.times
    if not times.without:
        return ""
    left_open = f", or that of a page that was left open ({times.left_open})" if times.left_open else ""
    return f"{times.without} of {times.labels} labels have no time{left_open}, and count as the mean of the others"


def target_lines(found: Progress) -> list[str]:
    """Return how far the target is, in pictures and hours; no line without one, and once it is reached."""
    if found.target is None or found.needed is None:
        return []
    low, middle, high = (max(0.0, one - found.labelled) for one in found.needed)
    start = f"to {percent(found.target)} % {found.name}: "
    if middle > FAR * found.labelled:
        return [
            start
            + (
                "beyond what this curve can predict"
                if low > FAR * found.labelled
                else f"{_many(low)} more pictures at least"
            )
        ]
    each = found.hours_of_picture
    line = f"{start}{_many(middle)} more pictures ({_many(low)} to {_many(high)})"
    if each is not None:
        line += f", {middle * each:.1f} hours ({low * each:.1f} to {_many(high * each, '.1f')})"
    return [line] if high else []


def _many(value: float, form: str = ",.0f") -> str:
    """Return a number; what no number of pictures reaches in words."""
    return f"{value:{form}}" if math.isfinite(value) else "never"


def percent(value: float, sign: bool = False) -> str:
    """Return a score, 0 to 1, in percent."""
    return "-" if math.isnan(value) else f"{100 * value:{'+' if sign else ''}.1f}"


def _within(interval: tuple[float, float], sign: bool = False) -> str:
    low, high = interval
    return "" if math.isnan(low) else f" ({percent(low, sign)} to {percent(high, sign)})"
