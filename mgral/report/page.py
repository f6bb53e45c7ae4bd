"""The page itself: every section's figures and numbers in one file that needs no network."""

from dataclasses import dataclass

from mgral.method.lut.regression import ERROR_RATE
from mgral.report.agent import agent_figures, agent_lines
from mgral.report.bootstrap import RESAMPLES, percentile_coverage
from mgral.report.choices import balance_figures, cycle_figures
from mgral.report.costs import cost_rows, costs_table, table_costs, table_costs_table
from mgral.report.curves import (
    SummaryRow,
    costs_of,
    curve_figures,
    curve_tables,
    short_figure,
    strategies_with_seeds,
    summary,
    summary_table,
)
from mgral.report.detectors import FULL_DATA, detectors_table
from mgral.report.drawing import FEW_LINES, Figure, Table
from mgral.report.facts import experiment_line, facts, final_labels_in_words, instances, knows_boxes
from mgral.report.labels import (
    SHARE,
    LabelsNeeded,
    Target,
    counted,
    labels_needed,
    needed_in_words,
    needed_table,
    saved_table,
)
from mgral.report.lut import table_sections
from mgral.report.partial import Missing
from mgral.report.picks import SHOWN, contact_sheets, legend, picks_table
from mgral.report.ranking import (
    Rankings,
    beyond_counts,
    conclusions,
    difference_figures,
    ranking_by_seed,
    ranking_table,
    rankings,
)
from mgral.report.rendering import render
from mgral.report.results import Results, notes_of
from mgral.report.scores import SCORE_NAMES, class_scores, overall_scores, score_rows
from mgral.report.spread import points, points_interval, points_with_spread
from mgral.report.unusual_rounds import STEMS, unusual_rounds, unusual_rounds_table
from mgral.report.verdict import Evidence, Verdict, verdict


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
        Of the complete experiment, or of its complete strategies.
    missing
        What the others lack; None if all are complete.
    """
    config, random = results.config, results.baseline
    summary_rows = summary(results)
    sheets = contact_sheets(results)
    ranked = rankings(results)
    by_map = {cost: ranked[cost, "map"] for cost in costs_of(config)}
    full_labels, random_labels = _labels_needed_by_cost(results, "full"), _labels_needed_by_cost(results, "random")
    budget_cost = costs_of(config)[0]
    full = results.full["map"].to_numpy()
    costs, costs_of_tables = cost_rows(results, by_map[budget_cost]), table_costs(results)
    table_cost_in_detectors = {name: cost.detectors for cost in costs_of_tables for name in cost.strategies}
    first_screen = verdict(
        Evidence(
            config,
            by_map,
            random_labels[budget_cost],
            full,
            notes_of(results),
            table_cost_in_detectors,
            results.notes.groups,
            missing,
        )
    )
    sections = table_sections(results)
    figures = _figures(results, ranked, first_screen)
    overall, classes = overall_scores(results), class_scores(results)
    random_rounds, noted_rounds = (unusual_rounds_table(results, why) for why in STEMS)
    tables = [summary_table(summary_rows), detectors_table(results), *curve_tables(results)]
    tables += [picks_table(sheets), ranking_table(ranked), ranking_by_seed(ranked, config.seeds), costs_table(costs)]
    tables += [make_table(results, cost) for make_table in (needed_table, saved_table) for cost in costs_of(config)]
    tables += [overall, *classes.values()]
    tables += [Table("agents", results.agents)] if len(results.agents) else []
    tables += [table_costs_table(costs_of_tables)] if costs_of_tables else []
    tables += [table for table in (random_rounds, noted_rounds) if len(table.rows)]
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
        verdict=first_screen,
        context=experiment_line(results),
        facts=facts(results),
        labelled=final_labels_in_words(results),
        oracle=knows_boxes(config),
        instances=instances(config),
        in_short=figures["first"][0],
        figures=figures,
        lookup=sections,
        summary=summary_rows,
        rankings=by_map,
        conclusions={
            cost: conclusions(rows, config.methods, random)
            + beyond_counts({row.strategy: row.by_seed for row in rows}, config)
            for cost, rows in by_map.items()
        },
        random=random,
        with_random=random is not None and len(config.strategies) > 1,
        resamples=min(RESAMPLES, len(config.seeds) ** len(config.seeds)),
        coverage=percentile_coverage(len(config.seeds)),
        full_labels=full_labels,
        random_labels=random_labels,
        share=SHARE,
        costs=costs,
        table_costs=costs_of_tables,
        with_seeds=strategies_with_seeds(results),
        many=len(config.strategies) > FEW_LINES,
        sheets=sheets,
        shown=SHOWN,
        legend=legend(results),
        agent_lines=agent_lines(results),
        error_rate=ERROR_RATE,
        random_rounds=unusual_rounds(random_rounds, "reason", len(config.seeds) > 1),
        noted_rounds=unusual_rounds(noted_rounds, "note", len(config.seeds) > 1),
        overall=score_rows(overall),
        classes={key: score_rows(table) for key, table in classes.items()},
        score_names=SCORE_NAMES,
        compared=(*config.strategies, FULL_DATA),
    )
    all_figures = [figure for section in figures.values() for figure in section]
    all_figures += [figure for section in sections for figure in (*section.agreement, *section.left_out_figures)]
    # Several figures can share a table.
    all_tables = {table.stem: table for table in (*(figure.table for figure in all_figures), *tables)}
    return Report(html, tuple(all_figures), tuple(all_tables.values()), tuple(summary_rows))


def _figures(results: Results, ranked: Rankings, first_screen: Verdict) -> dict[str, list[Figure]]:
    """Return the figures of each section but that of the lookup tables."""
    return {
        "first": [short_figure(results, first_screen.subject, first_screen.others)],
        "curves": curve_figures(results, first_screen.subject),
        "balance": balance_figures(results),
        "cycles": cycle_figures(results),
        "differences": difference_figures(results, ranked),
        "agent": agent_figures(results),
    }


def _labels_needed_by_cost(results: Results, target: Target) -> dict[str, dict[str, LabelsNeeded]]:
    """Return the labels needed for a target by kind of labels and strategy."""
    return {
        cost: {line.strategy: line for line in labels_needed(results, "map", cost, target)}
        for cost in costs_of(results.config)
    }
