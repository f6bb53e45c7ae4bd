"""The page itself: every section's figures and numbers in one file that needs no network."""

from dataclasses import dataclass
from pathlib import PurePath

from mgral.config import SyntheticData
from mgral.evaluation.coco import CURVE_SCORES
from mgral.report.agent import agent_figures, agent_lines, agent_table
from mgral.report.bootstrap import RESAMPLES, percentile_coverage
from mgral.report.choices import balance_figure, boxes_figure, evenness_figure
from mgral.report.costs import cost_rows, costs_table
from mgral.report.curves import (
    COSTS,
    SummaryRow,
    curve_figures,
    curve_table,
    strategies_with_seeds,
    summary,
    summary_table,
)
from mgral.report.drawing import FEW_LINES, Figure, Table
from mgral.report.labels import SHARE, counted, labels_needed, labels_table, needed_in_words
from mgral.report.lut import agreement_figures, leave_one_out_figures, variants_figure
from mgral.report.picks import SHOWN, contact_sheets, legend, picks_table
from mgral.report.ranking import conclusions, difference_figure, ranking, ranking_by_seed, ranking_table
from mgral.report.rendering import render
from mgral.report.results import Results
from mgral.report.scores import CLASS_TABLES, REFERENCE, SCORE_NAMES, class_rows, overall_rows, scores_table
from mgral.report.spread import points, points_interval, points_with_spread


@dataclass(frozen=True)
class Report:
    """The page and the files beside it."""

    html: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    """Those behind figures included."""
    summary: tuple[SummaryRow, ...]


def build_report(results: Results) -> Report:
    """Draw all figures of an experiment and render the page."""
    strategies, seeds = results.settings.strategies, results.settings.seeds
    rows = summary(results)
    sheets = contact_sheets(results)
    rankings = {score: ranking(results, score) for score in CURVE_SCORES}
    costs = cost_rows(results, rankings["map"])
    needed = {cost: {line.strategy: line for line in labels_needed(results, "map", cost)} for cost in COSTS}
    with_random = "random" in strategies and len(strategies) > 1
    figures = {
        "curves": curve_figures(results),
        "balance": [balance_figure(results, strategy) for strategy in strategies],
        "cycles": [evenness_figure(results), boxes_figure(results)],
        "differences": [difference_figure(rankings[score], score, seeds) for score in CURVE_SCORES if with_random],
        "agent": agent_figures(results),
        "agreement": agreement_figures(results),
        "lut": [*leave_one_out_figures(results), variants_figure(results)] if results.tables else [],
    }
    overall, classes = overall_rows(results), class_rows(results)
    tables = [summary_table(rows), curve_table(results), picks_table(sheets, results.class_names)]
    tables += [ranking_table(rankings), ranking_by_seed(rankings, seeds), labels_table(results), costs_table(costs)]
    tables += [scores_table("scores_overall", overall)]
    tables += [scores_table(CLASS_TABLES[key], rows) for key, rows in classes.items()]
    tables += [agent_table(results)] if results.agents else []
    html = render(
        "report.html.jinja",
        {
            "points": points,
            "spread": points_with_spread,
            "interval": points_interval,
            "counted": counted,
            "needed": needed_in_words,
        },
        results=results,
        settings=results.settings,
        facts=_facts(results),
        figures=figures,
        summary=rows,
        ranking=rankings["map"],
        conclusions=conclusions(rankings["map"]),
        with_random=with_random,
        resamples=min(RESAMPLES, len(seeds) ** len(seeds)),
        coverage=percentile_coverage(len(seeds)),
        labels=needed,
        share=SHARE,
        costs=costs,
        with_seeds=strategies_with_seeds(results),
        many=len(strategies) > FEW_LINES,
        sheets=sheets,
        shown=SHOWN,
        legend=legend(results),
        agent_lines=agent_lines(results) if results.agents else [],
        overall=overall,
        classes=classes,
        score_names=SCORE_NAMES,
        compared=(*strategies, REFERENCE),
    )
    drawn = tuple(figure for section in figures.values() for figure in section)
    return Report(html, drawn, (*(figure.table for figure in drawn), *tables), tuple(rows))


def _facts(results: Results) -> list[tuple[str, str]]:
    settings = results.settings
    train, test = results.train, results.full[settings.seeds[0]]
    labelled = settings.initial + settings.cycles * settings.budget
    plural = "s" * (len(settings.seeds) > 1)
    width, height = settings.detector.image_canvas.input_size
    facts = [
        ("Data", _data_name(results)),
        ("Training images", f"{len(train.image_ids):,} with {int(results.class_counts.sum()):,} boxes"),
        ("Test images", f"{test.images:,} with {test.boxes:,} boxes"),
        ("Classes", str(len(train.categories))),
        ("Labels", f"{settings.initial} at the start, {settings.budget} a cycle, {settings.cycles} cycles"),
        ("At the end", f"{labelled} images, {100 * labelled / len(train.image_ids):.0f} % of the training set"),
        (f"Seed{plural}", ", ".join(map(str, settings.seeds))),
        ("Detector", f"{settings.detector.name}, {width} × {height} px"),
        (
            "Training",
            f"{settings.iterations.detector} iterations of {settings.training.batch_size} images in cycle 0, "
            f"× (labelled / {settings.initial})^{settings.iterations.growth:g} later",
        ),
    ]
    if "mgral" in settings.strategies:
        lut, agent, reward = settings.lut, settings.agent, settings.reward
        labels = lut.labels.replace("_", " ").replace("semi supervised", "semi-supervised")
        refresh = lut.refresh.replace("_", " ")
        facts += [
            ("Lookup tables", f"{lut.splits}, of {lut.variants} variants each; labels: {labels}; built {refresh}"),
            ("Reward", f"Wasserstein distance, {reward.distance.replace('_', ' ')}; {reward.estimator} estimate"),
            ("Agent", f"{agent.episodes} episodes of {agent.samples} batches"),
        ]
    return facts


def _data_name(results: Results) -> str:
    data = results.settings.data
    if isinstance(data, SyntheticData):
        return f"synthetic scenes, seed {data.seed}"
    # The folder's own name only: where it lies on this machine says nothing about the experiment.
    return f"{PurePath(data.root).name} ({data.format.upper()} format)"
