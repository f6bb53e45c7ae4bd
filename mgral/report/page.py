"""The page itself: every section's figures and numbers in one file that needs no network."""

from dataclasses import dataclass
from importlib import resources
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from mgral.config import SyntheticData
from mgral.report.agent import agent_figures, agent_lines, agent_table
from mgral.report.choices import balance_figure, boxes_figure
from mgral.report.curves import SummaryRow, curve_figures, curve_table, summary, summary_table
from mgral.report.drawing import STRATEGY_COLOURS, Figure, Table
from mgral.report.lut import leave_one_out_figures, variants_figure
from mgral.report.picks import SHOWN, contact_sheets, legend, picks_table
from mgral.report.results import Results
from mgral.report.scores import REFERENCE, class_rows, overall_rows, scores_table
from mgral.report.spread import Difference, points, points_with_spread
from mgral.report.times import STAGES, Job, costs_table, cycle_costs, cycles_table, duration, step_costs


@dataclass(frozen=True)
class Report:
    """The page and the files beside it."""

    html: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    """Those behind figures included."""
    summary: tuple[SummaryRow, ...]


def build_report(results: Results, jobs: list[Job], steps: tuple[str, ...]) -> Report:
    """Draw all figures and render the page.

    Parameters
    ----------
    results
        The experiment's artefacts.
    jobs
        Snakemake's benchmarks; an empty list gives a page that says how to get them.
    steps
        The pipeline's steps in their order, for the table of costs.
    """
    strategies = results.settings.strategies
    rows = summary(results)
    sheets = contact_sheets(results)
    figures = {
        "curves": curve_figures(results),
        "balance": [balance_figure(results, strategy) for strategy in strategies],
        "boxes": [boxes_figure(results)],
        "agent": agent_figures(results),
        "lut": [*leave_one_out_figures(results), variants_figure(results)] if results.tables else [],
    }
    overall, classes = overall_rows(results), class_rows(results)
    costs, cycles = step_costs(jobs, steps), cycle_costs(jobs, strategies)
    tables = [summary_table(rows), curve_table(results), picks_table(sheets, results.class_names)]
    tables += [scores_table("scores_overall", overall), scores_table("scores_by_class", classes)]
    tables += [agent_table(results)] if results.agents else []
    tables += [costs_table(costs), cycles_table(cycles)] if jobs else []
    html = _render(
        results=results,
        settings=results.settings,
        facts=_facts(results),
        figures=figures,
        summary=rows,
        sheets=sheets,
        shown=SHOWN,
        legend=legend(results),
        agent_lines=agent_lines(results) if results.agents else [],
        overall=overall,
        classes=classes,
        compared=(*strategies, REFERENCE),
        costs=costs,
        cycles=cycles,
        stages=STAGES,
    )
    drawn = tuple(figure for section in figures.values() for figure in section)
    return Report(html, drawn, (*(figure.table for figure in drawn), *tables), tuple(rows))


def _render(**values: Any) -> str:
    package = resources.files("mgral.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "points": points,
        "spread": points_with_spread,
        "duration": duration,
        "interval": _interval,
    }
    template = environment.from_string((package / "template.html.jinja").read_text(encoding="utf-8"))
    style = (package / "style.css").read_text(encoding="utf-8")
    return template.render(style=Markup(style), markup=Markup, colours=STRATEGY_COLOURS, **values) + "\n"


def _interval(difference: Difference) -> str:
    return f"{points(difference.low, sign=True)} to {points(difference.high, sign=True)}"


def _facts(results: Results) -> list[tuple[str, str]]:
    settings = results.settings
    train, test = results.train, results.full[settings.seeds[0]]
    labelled = settings.initial + settings.cycles * settings.budget
    plural = "s" * (len(settings.seeds) > 1)
    facts = [
        ("Data", _data_name(results)),
        ("Training images", f"{len(train.image_ids):,} with {int(results.class_counts.sum()):,} boxes"),
        ("Test images", f"{test.images:,} with {test.boxes:,} boxes"),
        ("Classes", str(len(train.categories))),
        ("Labels", f"{settings.initial} at the start, {settings.budget} a cycle, {settings.cycles} cycles"),
        ("At the end", f"{labelled} images, {100 * labelled / len(train.image_ids):.0f} % of the training set"),
        (f"Seed{plural}", ", ".join(map(str, settings.seeds))),
        ("Detector", f"{settings.detector.name}, {settings.detector.width} × {settings.detector.height} px"),
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
            ("Look-up table", f"{lut.variants} variants, {labels}, built {refresh}"),
            ("Reward", f"{reward.distance} Wasserstein distance, {reward.estimator} estimate"),
            ("Agent", f"{agent.episodes} episodes of {agent.samples} batches"),
        ]
    return facts


def _data_name(results: Results) -> str:
    data = results.settings.data
    if isinstance(data, SyntheticData):
        return f"synthetic scenes, seed {data.seed}"
    # The folder's own name only: where it lies on this machine says nothing about the experiment.
    return f"{PurePath(data.root).name} ({data.format.upper()} format)"
