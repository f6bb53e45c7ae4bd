"""What the report says first: whether the method beats random, the labels that it saves, and what to do next."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mgral.config import Config, SyntheticData
from mgral.data.groups import Groups
from mgral.engine.installed import program_in_results
from mgral.evaluation.learnt import learnt_nothing
from mgral.report.bootstrap import FEWEST_SEEDS
from mgral.report.curves import costs_of
from mgral.report.detectors import Array
from mgral.report.labels import LabelsNeeded, counted
from mgral.report.partial import Missing
from mgral.report.ranking import COUNTS, RankingRow, listed, subject_of
from mgral.report.spread import PairedDifference, difference_in_words, points, points_interval, rounds_to_zero
from mgral.report.styles import baseline_of, first_of_type

GOOD_SEEDS = 5
"""Number of seeds that is advised if there are too few; three give intervals, but wide ones."""
POWER = 0.8
"""Power of the test: how often the advised number of seeds shows a difference of the size that was found."""
MOST_SEEDS = 100
"""A difference that needs more is none in practice."""
STEPS = 3
"""Most next steps that are named."""


@dataclass(frozen=True)
class NextStep:
    """Something to do next."""

    text: str
    command: str = ""
    link: str = ""
    """Id of the part of the page that says more."""


@dataclass(frozen=True)
class Verdict:
    """The first screen of the report, in words."""

    subject: str
    """The strategy that it is about."""
    others: tuple[str, ...]
    """Strategies that it is compared with in words."""
    headline: str
    unused: str
    """In how many rounds the lookup tables of the subject were not used, and what decided; empty if in none."""
    more: tuple[str, ...]
    """Further sentences: how it compares with the others, and what its tables cost."""
    saved: str
    """How many labels it saves against random, and how many the simple baseline."""
    steps: tuple[NextStep, ...]


@dataclass(frozen=True)
class Evidence:
    """What the verdict is made from."""

    config: Config
    ranked: Mapping[str, list[RankingRow]]
    """Ranking by mAP by kind of labels, that of the budget first."""
    saved: Mapping[str, LabelsNeeded]
    """Labels that each strategy needs for what random ends with, in the budget's kind of labels."""
    full: Array
    """[seeds]: mAP of the detector of all labels."""
    notes: Mapping[str, Sequence[str]]
    """How each strategy chose in its rounds where that was not its usual way, and empty text where it was."""
    table_cost_in_detectors: Mapping[str, float]
    """Images that the lookup tables of a strategy with tables are trained on, in units of a detector of cycle 0."""
    groups: Groups | None
    missing: Missing | None

    @property
    def learnt_nothing_sentence(self) -> str:
        """The sentence on a detector that has learnt almost nothing, or empty."""
        return learnt_nothing(self.full.tolist())

    @property
    def cost(self) -> str:
        """The kind of labels that the budget counts."""
        return costs_of(self.config)[0]

    @property
    def rows(self) -> list[RankingRow]:
        """The ranking by the kind of labels that the budget counts."""
        return self.ranked[self.cost]

    @property
    def random(self) -> str | None:
        """The instance that others are compared with."""
        return baseline_of(self.config)

    def row(self, strategy: str) -> RankingRow:
        """Return a strategy's row of the ranking."""
        return next(row for row in self.rows if row.strategy == strategy)


def verdict(evidence: Evidence) -> Verdict:
    """Report what an experiment has found, in plain words."""
    subject = subject_of(evidence.config, evidence.rows)
    counts = first_of_type(evidence.config, COUNTS)
    first_other = next((row.strategy for row in evidence.rows if row.strategy != subject), None)
    others = tuple(dict.fromkeys(name for name in (evidence.random, counts, first_other) if name and name != subject))
    return Verdict(
        subject,
        others,
        _headline(evidence, subject),
        "" if evidence.learnt_nothing_sentence else _unused_tables_sentence(evidence, subject),
        tuple(_further_sentences(evidence, subject, counts)),
        _labels_saved_sentence(evidence, subject) + _baseline_saves_sentence(evidence, subject, counts),
        tuple(_next_steps(evidence, subject))[:STEPS],
    )


def _headline(evidence: Evidence, subject: str) -> str:
    """Report how the subject compares with random, or why there is no verdict."""
    row, random = evidence.row(subject), evidence.random
    if evidence.learnt_nothing_sentence:
        return evidence.learnt_nothing_sentence
    if row.mean.n == 0:
        return f"No verdict: {subject} has no mAP, because the test images have no boxes to score."
    if len(evidence.rows) == 1:
        final = f"its curve has a mean mAP of {points(row.mean.mean)} %"
        return f"No verdict: only {subject} was run, so there is nothing to compare it with; {final}."
    if row.to_random is None:
        assert row.to_best is not None
        return f"Random was not run. {_comparison_sentence(subject, row.best_other, row.to_best)}"
    assert random is not None
    return _comparison_sentence(subject, random, row.to_random)


def _unused_tables_sentence(evidence: Evidence, subject: str) -> str:
    """Report in how many rounds the subject did not choose in its usual way, and how; empty if in none."""
    notes = [note for note in evidence.notes.get(subject, ()) if note]
    return f"In {len(notes)} of {len(evidence.notes[subject])} rounds {notes[0]}." if notes else ""


def _comparison_sentence(subject: str, other: str, difference: PairedDifference) -> str:
    """Report how two strategies compare, as a sentence."""
    seeds, gap = difference.spread.n, _gap(difference)
    side = "below" if difference.spread.mean < 0 else "above"
    if seeds == 0:
        return f"No verdict: {subject} and {other} cannot be compared, because no seed has the mAP of both."
    if seeds < FEWEST_SEEDS:
        seeds_in_words = "one seed" if seeds == 1 else f"the mean of {seeds} seeds"
        if rounds_to_zero(difference.spread.mean):
            return f"Too few seeds for a verdict: no difference between {subject} and {other} in {seeds_in_words}."
        return f"Too few seeds for a verdict: {subject} is {gap} {side} {other} in {seeds_in_words}."
    interval = f"95 % interval {points_interval(difference.interval, sign=True)}, {seeds} seeds"
    if difference.clear:
        return f"{subject} is clearly {side} {other}, by {gap} ({interval})."
    if rounds_to_zero(difference.spread.mean):
        return f"No difference between {subject} and {other} in the mean ({interval})."
    signed = f"{points(difference.spread.mean, sign=True)} points of mAP"
    return f"No clear difference between {subject} and {other}: {signed} ({interval})."


def _gap(difference: PairedDifference) -> str:
    """Write the size of a difference."""
    mean = difference.spread.mean
    return f"{'less than 0.1' if rounds_to_zero(mean) else points(abs(mean))} points of mAP"


def _further_sentences(evidence: Evidence, subject: str, counts: str | None) -> Iterator[str]:
    """Report how it compares with the simple baseline and with the first of the others, and by the other labels."""
    row = evidence.row(subject)
    if row.mean.n == 0 or evidence.learnt_nothing_sentence:
        return
    if counts is None:
        yield f"The simple baseline, {COUNTS}, was not run: add it to strategies."
    elif counts != subject:
        to_counts = PairedDifference.of(row.by_seed, evidence.row(counts).by_seed)
        compared = difference_in_words(to_counts)
        yield f"Compared with {counts}, the simple baseline that only counts objects: {compared}."
    else:
        yield f"{subject} is the simple baseline: it only counts objects."
    if row.to_best and evidence.random and row.best_other not in (evidence.random, counts):
        rank = f"number {row.rank} of {len(evidence.rows)}"
        compared = difference_in_words(row.to_best)
        yield f"{subject} is {rank}; compared with {row.best_other}, the best other: {compared}."
    best = subject if not evidence.config.methods else _winner(evidence, subject)
    if best and best not in evidence.config.methods and len(evidence.rows) > 2:
        number = len(evidence.rows)
        yield f"{best} was chosen as the best of {number} by the same seeds: its lead may be partly chance."
    for cost, rows in list(evidence.ranked.items())[1:]:
        by_other_labels = next(ranked_row for ranked_row in rows if ranked_row.strategy == subject).to_random
        if row.to_random and by_other_labels:
            different = " it is different" if _verdicts_differ(row.to_random, by_other_labels) else ""
            compared = difference_in_words(by_other_labels)
            yield f"By labelled {cost}{different}: compared with {evidence.random}, {compared}."
    if subject in evidence.table_cost_in_detectors:
        detectors = evidence.table_cost_in_detectors[subject]
        yield f"Its lookup tables train on as many images as {detectors:.1f} detectors of cycle 0."


def _verdicts_differ(first: PairedDifference, second: PairedDifference) -> bool:
    """Return whether two differences have different verdicts; with too few seeds, whether their signs differ."""
    few = not (first.interval.known and second.interval.known)
    return first.spread.mean * second.spread.mean < 0 if few else first.verdict() != second.verdict()


def _labels_saved_sentence(evidence: Evidence, subject: str) -> str:
    """Report how many labels the subject saves against random at the same mAP, or why that is unknown."""
    if evidence.learnt_nothing_sentence:
        return "Labels saved: unknown, because the detector has learnt almost nothing."
    if evidence.random is None or subject == evidence.random:
        return "Labels saved compared with random: unknown, because there is no other strategy to compare."
    line, cost, random = evidence.saved[subject], evidence.cost, evidence.random
    seeds = len(line.by_seed)
    if line.random is None or np.isnan(line.random).any():
        return f"Labels saved: unknown, because {random} has no final mAP in some seeds."
    if line.saved is None:
        most = f"at most {counted(line.saved_at_most)} {cost}" if round(line.saved_at_most) > 0 else "none"
        in_seeds = f"only {line.reached} of {seeds} seeds" if line.reached else "no seed"
        return f"Labels saved: {most}. {subject} reaches the final mAP of {random} in {in_seeds}."
    needed, needed_by_random = counted(float(line.by_seed.mean())), counted(float(line.random.mean()))
    mean_saved = line.saved.spread.mean
    amount = f"{counted(abs(mean_saved))} {'fewer' if mean_saved >= 0 else 'more'}"
    interval = line.saved.interval
    certainty = line.saved.verdict("clearly fewer", "clearly more")
    if interval.known:
        certainty = (
            f"95 % interval {counted(interval.low, sign=True)} to {counted(interval.high, sign=True)} saved: "
            f"{certainty}"
        )
    comparison = f"for the final mAP of {random}, {subject} needs {needed} {cost} and {random} {needed_by_random}"
    return f"Labels saved: {comparison}. That is {amount} ({certainty})."


def _baseline_saves_sentence(evidence: Evidence, subject: str, counts: str | None) -> str:
    """Report what the simple baseline saves, to be read behind what the subject saves; empty if that is unknown."""
    line = evidence.saved.get(counts or "")
    subject_line = evidence.saved.get(subject)
    if evidence.learnt_nothing_sentence or counts == subject or line is None or line.saved is None:
        return ""
    if subject_line is None or subject_line.random is None:
        return ""
    return f" {counts}, the simple baseline, saves {counted(line.saved.spread.mean)}."


def _next_steps(evidence: Evidence, subject: str) -> Iterator[NextStep]:
    """Yield what to do next, the most urgent first."""
    config, row = evidence.config, evidence.row(subject)
    if evidence.learnt_nothing_sentence:
        yield from _steps_to_learn(config)
        return
    if evidence.missing is not None:
        yield NextStep(_missing_in_words(evidence.missing), link="partial")
    if evidence.groups and evidence.groups.pairs:
        share = f"{len(evidence.groups.pairs)} of {evidence.groups.test_images} test images"
        yield NextStep(
            f"Look at the near-copies: {share} have one in training, so scores may be too good.", link="data"
        )
    if row.mean.n == 0:
        yield NextStep("Check the labels of the test images: without boxes there is no score.")
        return
    if evidence.random is None or len(evidence.rows) == 1:
        others = "random" if evidence.random is None else "the strategy that you want to try"
        yield NextStep(f"Run {others} too: add it to strategies, and give the same command again.")
        return
    difference, seeds = row.to_random, len(config.seeds)
    if difference is None or difference.spread.n < FEWEST_SEEDS:
        yield NextStep(
            "Run more seeds: three give an interval, five are better. Finished seeds are kept.",
            _command_for_seeds(config, max(GOOD_SEEDS, seeds + 1)),
        )
        return
    winner = _winner(evidence, subject)
    if winner:
        yield _step_to_use(
            config, winner, "Use it" if winner == subject else f"Use {winner}, which is clearly above random,"
        )
    if not difference.clear:
        yield _more_seeds(config, difference, seeds)
    elif difference.spread.mean < 0 and winner is None:
        yield NextStep(f"Do not use {subject} on data like these: {evidence.random} is better and costs nothing.")


def _steps_to_learn(config: Config) -> Iterator[NextStep]:
    """Yield what to do where the detector has learnt almost nothing."""
    if isinstance(config.data, SyntheticData):
        yield NextStep("Train longer: raise iterations.detector.")
    else:
        yield NextStep(
            "Train longer: raise iterations.detector, or leave out the sections detector and iterations, so that "
            "they are derived from the data."
        )
        yield NextStep(
            "Check the labels and the names of the classes:",
            f"{program_in_results()} data {_configfile_option(config)}",
        )


def _missing_in_words(missing: Missing) -> str:
    """Report what a partial report lacks, and how to finish the experiment."""
    parts = [
        f"{len(left_out)} {singular if len(left_out) == 1 else plural}"
        for left_out, singular, plural in (
            (missing.strategies, "strategy", "strategies"),
            (missing.seeds, "seed", "seeds"),
        )
        if left_out
    ]
    lacking = f", without {listed(parts)}" if parts else ""
    return f"Finish the experiment: this is a partial report{lacking}. Give the same command again."


def _winner(evidence: Evidence, subject: str) -> str | None:
    """Return the strategy to use: the subject if it is clearly above random and none is clearly above it."""
    above = [row for row in evidence.rows if row.to_random and row.to_random.clear and row.to_random.spread.mean > 0]
    names = [row.strategy for row in above]
    to_best = evidence.row(subject).to_best
    if subject in names and not (to_best and to_best.clear and to_best.spread.mean < 0):
        return subject
    return names[0] if names else None


def _step_to_use(config: Config, strategy: str, advice: str) -> NextStep:
    """Return how to use a strategy for one's own pictures; `advice` is the beginning of the sentence."""
    kind = config.strategies[strategy].type
    if _is_replay(config):
        return NextStep(f"{advice} from the next round on: in project.yaml, strategy: {kind}")
    command = (
        f"{program_in_results()} project init mine --pictures photos --classes car,dog --budget 300 --strategy {kind}"
    )
    substitutions = "with the name of their folder in the place of photos, and your classes in that of car,dog"
    return NextStep(f"{advice} to choose which of your own pictures to label, {substitutions}:", command)


def _more_seeds(config: Config, difference: PairedDifference, seeds: int) -> NextStep:
    """Return how many seeds would show a difference that is not clear yet, and the command that runs them."""
    needed = seeds_needed(difference)
    basis = f"a rough estimate from the spread of {difference.spread.n} paired differences"
    if needed is None:
        advice = "treat the two as equal, and take the one that costs less"
        return NextStep(
            f"To show a difference this small, more than {MOST_SEEDS} seeds are needed ({basis}): {advice}."
        )
    estimate = f"About {needed} seeds would show a difference of this size four times in five ({basis})"
    return NextStep(
        f"{estimate}. Run them, or treat the two as equal.", _command_for_seeds(config, max(needed, seeds + 1))
    )


def seeds_needed(difference: PairedDifference) -> int | None:
    """Return how many seeds find a difference of this size with a probability of `POWER`; None for too many.

    By Student's t test of paired differences that are normally distributed, with the standard deviation of these.
    """
    effect, deviation = abs(difference.spread.mean), difference.spread.std
    if not effect or not deviation > 0:
        return None
    for seeds in range(FEWEST_SEEDS, MOST_SEEDS + 1):
        least = stats.t.ppf(0.975, seeds - 1)
        if stats.nct.sf(least, seeds - 1, effect / deviation * np.sqrt(seeds)) >= POWER:
            return seeds
    return None


def _command_for_seeds(config: Config, seeds: int) -> str:
    """Return the command that runs so many seeds, those that there are first."""
    if _is_replay(config):
        return f"{program_in_results()} project replay --seeds {seeds}"
    more = [*config.seeds, *(seed for seed in range(seeds + len(config.seeds)) if seed not in config.seeds)][:seeds]
    listed_seeds = str(more).replace(" ", "")
    return (
        f'{program_in_results()} snakemake --cores all {_configfile_option(config)} --config "seeds={listed_seeds}"'
    )


def _configfile_option(config: Config) -> str:
    """Return the option with the only configuration whose name the report knows: that beside it."""
    return f"--configfile results/{config.experiment}/config.yaml"


def _is_replay(config: Config) -> bool:
    """Whether it is a replay of a project's labels, whose configuration is not a person's own."""
    return getattr(config.data, "root", None) == f"{config.experiment}/data"
