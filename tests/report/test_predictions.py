"""How well tables predict: the correlation within tables, and its figures."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from fabricated_results import fabricate
from scipy import stats

from mgral.cli.steps.report import command
from mgral.report.agent import _line
from mgral.report.drawing import SEED_COLOURS
from mgral.report.lut import _compare_with_counts, _conclude, _describe, _table_names, rank_correlation


def test_points_have_the_colour_of_their_table(tmp_path: Path) -> None:
    fabricate(tmp_path, strategies=("mgral", "random"), episodes=4)
    paths = ["--config", tmp_path / "config.yaml", "--results", tmp_path, "--output", tmp_path / "report.html"]
    CliRunner().invoke(command, [str(path) for path in paths], catch_exceptions=False)
    for name in ("agreement_regression", "leave_one_out_regression"):
        drawing = (tmp_path / "figures" / f"{name}.svg").read_text()
        fills = re.findall(r'<use [^>]*style="fill: (#\w+)', drawing.lower())
        # Two seeds with two splits: a table of five variants each, and its entry of the legend.
        assert {colour: fills.count(colour) for colour in {*fills} & {c.lower() for c in SEED_COLOURS}} == {
            colour.lower(): 5 + 1 for colour in SEED_COLOURS[:4]
        }


def test_tables_are_named_by_what_differs() -> None:
    keys = {"round": ["initial", "strategies/cold"], "seed": [0, 0], "cycle": [0, 1], "split": [1, 1]}
    rows = pd.DataFrame(keys)
    assert _table_names(rows) == ("strategy/seed/cycle/split", ["initial/0/0/1", "cold/0/1/1"])
    assert _table_names(rows[:1]) == ("seed/split", ["0/1"])


def test_rank_correlation_is_not_fooled_by_the_level_of_a_table() -> None:
    generator = np.random.default_rng(0)
    measured = [level + 0.01 * generator.standard_normal(8) for level in (0.2, 0.6)]
    # As a table that knows nothing: the mean of the others.
    predicted = [(values.sum() - values) / 7 for values in measured]
    pooled = stats.spearmanr(np.concatenate(measured), np.concatenate(predicted)).statistic
    within = rank_correlation(measured, predicted, seed=0)
    assert pooled > 0.3
    assert within.mean == pytest.approx(-1)
    assert within.p_value > 0.99


def test_rank_correlation_of_one_table_is_spearmans() -> None:
    generator = np.random.default_rng(1)
    measured, predicted = generator.random(7), generator.random(7)
    found = rank_correlation([measured], [predicted], seed=0)
    exact = stats.permutation_test(
        (measured,),
        lambda values: stats.spearmanr(values, predicted).statistic,
        permutation_type="pairings",
        alternative="greater",
        n_resamples=np.inf,
    )
    assert found.mean == pytest.approx(stats.spearmanr(measured, predicted).statistic)
    assert found.p_value == pytest.approx(exact.pvalue, abs=0.02)


def test_rank_correlation_of_equal_values_is_undefined() -> None:
    found = rank_correlation([np.full(4, 0.3)], [np.arange(4.0)], seed=0)
    assert np.isnan(found.mean)
    assert found.tables == 0


def test_counts_alone_are_compared_where_variants_differ() -> None:
    """Two tables: the second cannot be ranked, and with equal values in both there is nothing to predict."""
    of = dict.fromkeys(("table", "reward"), "default")
    rows = of | {"round": "initial", "seed": [0, 0, 0, 1, 1, 1], "cycle": 0, "split": 0}
    measured, predicted = [-0.1, 0.0, 0.1, 0.02, 0.02, 0.02], [-0.1, 0.1, 0.0, 0.0, 0.1, 0.2]
    found = pd.DataFrame(rows | {"measured": measured, "predicted": predicted})
    assert _compare_with_counts(found, found) == (
        " R² −1.79; by the roots of object counts alone, fitted likewise, −1.79, with a rank correlation of +0.50."
    )
    same = found.assign(measured=0.02)
    assert _compare_with_counts(same, same) == ""
    assert "rank correlation" not in _compare_with_counts(found, found.assign(predicted=0.1))


def test_a_correlation_of_a_regression_has_no_p_value() -> None:
    found = rank_correlation([np.arange(5.0)], [np.arange(5.0)], seed=0)
    assert "better than chance" in _conclude(found, "agreement", tested=True)
    assert "p = " in _describe(found, tested=True)
    assert _conclude(found, "agreement", tested=False) == (
        "The tables of other splits predict variants with a rank correlation of +1.00."
    )
    assert "p = " not in _describe(found, tested=False)


def test_tables_that_were_not_tested_are_not_called_validated() -> None:
    columns = ("selected_reward", "greedy_reward", "random_mean", "standard_deviations_above", "random_best_as_often")
    agents = pd.DataFrame({name: [0.1, 0.2] for name in (*columns, "held_out_gain")} | {"p_value": [np.nan, np.nan]})
    assert _line("paper", 0, agents, 2)["validated"] == "–"
    assert _line("paper", 0, agents.assign(p_value=[0.01, 0.5]), 2)["validated"] == "1 of 2"
