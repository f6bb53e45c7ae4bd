"""The page itself: every section's figures and numbers in one file that needs no network."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from mgral.config import BudgetConfig, CocoData, Config, ProjectData, RewardConfig, SyntheticData, in_words
from mgral.method.lut.validation import ERROR_RATE
from mgral.report.agent import agent_figures, agent_lines
from mgral.report.bootstrap import RESAMPLES, percentile_coverage
from mgral.report.choices import balance_figures, cycle_figures
from mgral.report.costs import cost_rows, costs_table, table_costs, table_costs_table
from mgral.report.curves import (
    SummaryRow,
    costs_of,
    curve_figures,
    curve_tables,
    strategies_with_seeds,
    summary,
    summary_table,
)
from mgral.report.drawing import FEW_LINES, Figure, Table
from mgral.report.labels import (
    SHARE,
    LabelsNeeded,
    Target,
    counted,
    labels_needed,
    labels_table,
    needed_in_words,
)
from mgral.report.lut import table_sections
from mgral.report.partial import Missing
from mgral.report.picks import SHOWN, contact_sheets, legend, picks_table
from mgral.report.random_rounds import random_rounds, random_rounds_table
from mgral.report.ranking import (
    beyond_counts,
    conclusions,
    difference_figures,
    ranking_by_seed,
    ranking_table,
    rankings,
)
from mgral.report.rendering import render
from mgral.report.results import FULL_DATA, Results, images_labelled
from mgral.report.scores import SCORE_NAMES, class_scores, overall_scores, score_rows
from mgral.report.spread import points, points_interval, points_with_spread


@dataclass(frozen=True)
class Report:
    """The page and the files beside it."""

    html: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    """Those behind figures included."""
    summary: tuple[SummaryRow, ...]


def build_report(results: Results, missing: Missing | None = None) -> Report:
    """Draw all figures of an experiment and render the page.

    Parameters
    ----------
    results
        Of the whole experiment, or of its complete strategies.
    missing
        What the others lack; None for the whole.
    """
    config, random = results.config, results.baseline
    rows = summary(results)
    sheets = contact_sheets(results)
    ranked = rankings(results)
    by_map = {cost: ranked[cost, "map"] for cost in costs_of(config)}
    costs, of_tables = cost_rows(results, by_map[costs_of(config)[0]]), table_costs(results)
    lookup = table_sections(results)
    figures = {
        "curves": curve_figures(results),
        "balance": balance_figures(results),
        "cycles": cycle_figures(results),
        "differences": difference_figures(results, ranked),
        "agent": agent_figures(results),
    }
    overall, classes = overall_scores(results), class_scores(results)
    tables = [summary_table(rows), *curve_tables(results)]
    tables += [picks_table(sheets, results.class_names), ranking_table(ranked)]
    tables += [ranking_by_seed(ranked, config.seeds), labels_table(results), costs_table(costs)]
    tables += [overall, *classes.values()]
    tables += [Table("agents", results.agents)] if len(results.agents) else []
    tables += [table_costs_table(of_tables)] if of_tables else []
    at_random = random_rounds_table(results)
    tables += [at_random] if len(at_random.rows) else []
    html = render(
        "report.html.jinja",
        {
            "points": points,
            "spread": points_with_spread,
            "interval": points_interval,
            "counted": counted,
            "needed": needed_in_words,
        },
        config,
        results=results,
        notes=results.notes,
        missing=missing,
        facts=_facts(results),
        labelled=_at_the_end(results),
        oracle=_knows_boxes(config),
        instances=_instances(config),
        figures=figures,
        lookup=lookup,
        summary=rows,
        rankings=by_map,
        conclusions={
            cost: conclusions(rows, config.agents, random)
            + beyond_counts({row.strategy: row.by_seed for row in rows}, config)
            for cost, rows in by_map.items()
        },
        random=random,
        with_random=random is not None and len(config.strategies) > 1,
        resamples=min(RESAMPLES, len(config.seeds) ** len(config.seeds)),
        coverage=percentile_coverage(len(config.seeds)),
        full_labels=_needed(results, "full"),
        random_labels=_needed(results, "random"),
        share=SHARE,
        costs=costs,
        table_costs=of_tables,
        with_seeds=strategies_with_seeds(results),
        many=len(config.strategies) > FEW_LINES,
        sheets=sheets,
        shown=SHOWN,
        legend=legend(results),
        agent_lines=agent_lines(results),
        error_rate=ERROR_RATE,
        random_rounds=random_rounds(at_random, len(config.seeds) > 1),
        overall=score_rows(overall),
        classes={key: score_rows(table) for key, table in classes.items()},
        score_names=SCORE_NAMES,
        compared=(*config.strategies, FULL_DATA),
    )
    drawn = [figure for section in figures.values() for figure in section]
    drawn += [figure for section in lookup for figure in (*section.agreement, *section.own)]
    # Several figures can share a table.
    written = {table.stem: table for table in (*(figure.table for figure in drawn), *tables)}
    return Report(html, tuple(drawn), tuple(written.values()), tuple(rows))


def _needed(results: Results, target: Target) -> dict[str, dict[str, LabelsNeeded]]:
    """Return the labels needed for a target by kind of labels and strategy."""
    return {
        cost: {line.strategy: line for line in labels_needed(results, "map", cost, target)}
        for cost in costs_of(results.config)
    }


def _knows_boxes(config: Config) -> bool:
    """Whether the pool was made with knowledge that only an oracle has: which images hold an object."""
    return isinstance(config.data, CocoData) and config.data.pool == "with_boxes"


def _instances(config: Config) -> list[tuple[str, str, str]]:
    """Return name, type and own settings of each strategy; none where all have the experiment's settings."""
    written = config.model_dump(mode="json")["strategies"]
    rows = [(name, own.pop("type"), ", ".join(_flat(own))) for name, own in written.items()]
    return rows if any(name != kind or own for name, kind, own in rows) else []


def _flat(settings: Mapping[str, Any], place: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{key}.")
        else:
            yield f"{place}{key}: {json.dumps(value)}".replace('"', "")


def _facts(results: Results) -> list[tuple[str, str]]:
    config = results.config
    train, test = results.train, results.full.iloc[0]
    plural = "s" * (len(config.seeds) > 1)
    width, height = results.settings[config.seeds[0]].detector.image_canvas.input_size
    lengths = sorted({str(one.iterations.detector) for one in results.settings.values()}, key=int)
    by_command = config.detector.command_gives is not None
    facts = [
        ("Data", _data_name(results)),
        ("Training images", f"{len(train.image_ids):,} with {int(results.class_counts.sum()):,} boxes"),
        ("Test images", f"{test['test_images']:,} with {test['test_boxes']:,} boxes"),
        ("Classes", str(len(train.categories))),
        (
            "Labels",
            f"{config.initial} images at the start, {in_words(config.budget)} a cycle, {config.cycles} cycles",
        ),
        ("At the end", _at_the_end(results)),
        (f"Seed{plural}", ", ".join(map(str, config.seeds))),
        *([("Detector", "external, by detector.command")] if by_command else []),
        ("Proxy" if by_command else "Detector", f"{config.detector.trained.name}, {width} × {height} px"),
        (
            "Training of the proxy" if by_command else "Training",
            f"{' or '.join(lengths)} iterations of {config.training.batch_size} images in cycle 0, "
            f"× (labelled / {config.initial})^{config.iterations.growth:g} later",
        ),
    ]
    facts += [(f"Seed {seed}, derived or set", "; ".join(lines)) for seed, lines in results.derived.items()]
    if results.devices:
        facts.append(("Computed on", results.devices))
    if _knows_boxes(config):
        facts.append(("Pool", "only images with a box: knowledge of an oracle"))
    if config.with_tables:
        # Of several, those that the experiment gives; what an instance has of its own is in the list of strategies.
        own = config.for_strategy(config.with_tables[0]) if len(config.with_tables) == 1 else config
        lut, reward = own.lut, own.reward
        labels, refresh = lut.labels.replace("_", " "), lut.refresh.replace("_", " ")
        facts += [
            ("Lookup tables", f"{lut.splits}, of {lut.variants} variants each; labels: {labels}; built {refresh}"),
            ("Reward", reward_named(reward)),
        ]
    if config.agents:
        own = config.for_strategy(config.agents[0]) if len(config.agents) == 1 else config
        facts.append(("Agent", f"{own.agent.episodes} episodes of {own.agent.samples} batches"))
    return facts


def _at_the_end(results: Results) -> str:
    config = results.config
    labelled = images_labelled(results, tuple(config.strategies), config.cycles)
    share = f"{labelled} images, {100 * labelled / len(results.train.image_ids):.0f} % of the training set"
    return f"{share}, in the mean of strategies" if isinstance(config.budget, BudgetConfig) else share


def reward_named(reward: RewardConfig) -> str:
    """Return how rewards are looked up, in words."""
    if reward.estimator == "regression":
        return "AP of each class, on a line through the variants by the number of its objects"
    of = {"by_class": "each class's object counts", "sliced": "embeddings, sliced", "exact": "embeddings, exact"}
    return f"Wasserstein distance of {of[reward.distance]}; {reward.estimator} estimate"


def _data_name(results: Results) -> str:
    data = results.config.data
    if isinstance(data, SyntheticData):
        return f"synthetic scenes, seed {data.seed}"
    if isinstance(data, ProjectData):
        return PurePath(data.snapshot).parent.name
    # The folder's own name only: its place on this machine says nothing about the experiment.
    return f"{PurePath(data.root).name} ({data.format.upper()} format)"
