"""Correlations of rewards with true gains over all batches, over those drawn at random and over those chosen."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from mgral.config import Config
from mgral.errors import StepError
from mgral.method.fidelity.batches import Candidate
from mgral.method.fidelity.correlation import Fidelity, difference, fidelity, noise_ceiling
from mgral.method.fidelity.lookups import NO_TABLE, LookupKind
from mgral.report.fidelity import build_fidelity_report, comparison_in_words
from mgral.report.fidelity_trials import (
    PARTS,
    CountsComparison,
    Trial,
    ceilings_by_seed,
    compare_with_counts,
    configured_kind,
    fidelity_rows,
)

CONFIG = Config(seeds=(0,), fidelity={"batches": 8, "repeats": 2}, lut={"splits": 2})
USED = configured_kind(CONFIG)
ROOTS, TOTAL = (LookupKind(NO_TABLE, "", "cycle", "", name) for name in ("roots_of_objects", "total_objects"))
SOURCES = ("random", "random", "mixture", "mixture", "core_set", "k_means", "entropy_sum", "core_set")


def trial(used, roots, repeats=None):
    """Eight batches with gains of 1 to 8 points, four of each half."""
    gains = np.arange(1.0, 9) / 100
    used, roots = np.array(used, float), np.array(roots, float)
    return Trial(
        baseline=0.2,
        repeats=0.2 + np.stack([gains, gains]) if repeats is None else np.array(repeats, float),
        tables={USED: np.stack([-used, used]), ROOTS: roots[None], TOTAL: -roots[None]},
        candidates=[Candidate(number, source, (number,)) for number, source in enumerate(SOURCES, start=1)],
    )


# Within the random half the reward in use is right, and within the other upside down.
MIXED = trial(used=[1, 2, 3, 4, 8, 7, 6, 5], roots=[4, 3, 2, 1, 5, 6, 7, 8])


def test_correlations_by_half_by_hand():
    (row,) = (row for row in fidelity_rows([MIXED], USED, 0) if row.configured)
    assert {part: one.mean for part, one in row.by_part.items()} == {
        # Squared differences of ranks: 9 + 1 + 1 + 9 = 20; 1 - 6 * 20 / (8 * 63).
        "all": pytest.approx(1 - 120 / 504),
        "random": pytest.approx(1),
        "strategies": pytest.approx(-1),
    }
    assert row.fidelity is row.by_part["all"]


def test_ceilings_are_of_the_same_half():
    """Repeats agree on the random half and not on the other."""
    repeats = [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 8, 7, 6, 5]]
    found = ceilings_by_seed({5: trial(range(8), range(8), repeats)})
    assert list(found) == list(PARTS)
    assert found["random"] == {5: pytest.approx(1)}
    assert found["strategies"] == {5: 0}
    assert found["all"] == {5: pytest.approx(noise_ceiling(np.array(repeats, float)))}


def test_the_reward_in_use_is_compared_with_the_best_without_a_table():
    found = compare_with_counts(fidelity_rows([MIXED], USED, 0), [MIXED], dict.fromkeys(PARTS, 0.5), 0)
    assert [one.counts.mean for one in found.values()] == pytest.approx([1 - 120 / 504, -1, 1])
    assert [one.difference.mean for one in found.values()] == pytest.approx([0, 2, -2])
    assert [found["random"].difference.low, found["random"].difference.high] == pytest.approx([2, 2])
    assert found["random"].reached == pytest.approx(2)


def test_without_the_tables_in_use_there_is_nothing_to_compare():
    rows = [row for row in fidelity_rows([MIXED], USED, 0) if not row.configured]
    with pytest.raises(StepError, match="could not be made"):
        compare_with_counts(rows, [MIXED], dict.fromkeys(PARTS, 0.5), 0)


def test_a_difference_is_on_the_same_resamples_of_batches():
    rng = np.random.default_rng(0)
    gains = [rng.normal(size=20) for _ in range(2)]
    first = [one + 0.5 * rng.normal(size=20) for one in gains]
    second = [one + 0.01 * rng.normal(size=20) for one in first]
    found = difference(first, second, gains, 0)
    expected = [
        spearmanr(one, of).statistic - spearmanr(other, of).statistic
        for one, other, of in zip(first, second, gains, strict=True)
    ]
    assert found.by_seed == pytest.approx(expected)
    assert found.low <= found.mean <= found.high
    alone = fidelity(first, gains, 0)
    # The two rank nearly alike, so their difference is far surer than either.
    assert found.high - found.low < (alone.high - alone.low) / 3


def comparison(low, high, ceiling=0.8):
    gap = Fidelity((low + high) / 2, low, high, ())
    return CountsComparison(Fidelity(0.6, 0.5, 0.7, ()), Fidelity(0.4, 0.3, 0.5, ()), gap, ceiling)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            comparison(0.1, 0.3),
            "The reward in use ranks batches better than counts alone, by +0.20 in rank correlation (95 %: +0.10 to "
            "+0.30); it reaches 75 % of the noise ceiling, +0.80.",
        ),
        (
            comparison(-0.3, -0.1),
            "The reward in use ranks batches worse than counts alone, by −0.20 in rank correlation (95 %: −0.30 to "
            "−0.10); it reaches 75 % of the noise ceiling, +0.80.",
        ),
        (
            comparison(-0.1, 0.3),
            "Whether the reward in use ranks batches better than counts alone stays open, with a difference of +0.10 "
            "in rank correlation (95 %: −0.10 to +0.30); it reaches 75 % of the noise ceiling, +0.80.",
        ),
        (
            comparison(0.1, 0.3, ceiling=0.0),
            "The reward in use ranks batches better than counts alone, by +0.20 in rank correlation (95 %: +0.10 to "
            "+0.30); repeated trainings disagree so much that no reward could rank these batches.",
        ),
    ],
)
def test_the_sentence(found, said):
    assert comparison_in_words(found) == said


def test_no_difference_is_claimed_from_rounding():
    assert comparison_in_words(comparison(1e-16, 0.3)).startswith("Whether")
    assert comparison_in_words(comparison(-0.3, -1e-16)).startswith("Whether")


def test_the_page_begins_with_the_sentence_and_its_tables_have_the_halves():
    report = build_fidelity_report(CONFIG, {0: MIXED})
    assert report.sentence == comparison_in_words(report.comparisons["all"])
    first = report.html.index(f'<p class="conclusion">{report.sentence}</p>')
    assert first < report.html.index("<td>chosen by strategies (4)</td>")
    assert "core set, k means, entropy sum" in report.html
    tables = {table.stem: table.rows for table in report.tables}
    used = tables["fidelity"].query("configured").iloc[0]
    assert [used["spearman"], used["random"], used["strategies"]] == pytest.approx([1 - 120 / 504, 1, -1])
    assert tables["counts_alone"]["batches"].tolist() == list(PARTS)
    assert tables["counts_alone"]["difference"].tolist() == pytest.approx([0, 2, -2])
    assert tables["looked_up_configured"]["source"].tolist() == list(SOURCES)
    # The first table alone is upside down; both together are the reward in use.
    assert tables["splits"]["spearman"].tolist() == pytest.approx([120 / 504 - 1, 1 - 120 / 504])
