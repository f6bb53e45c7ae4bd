"""The page of the confirmatory comparison: Holm's correction, and which differences are tested."""

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.claims import command, compared_with, holm


def test_holm_multiplies_the_smallest_most_and_never_changes_the_order():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]


def test_holm_leaves_out_what_was_not_tested():
    corrected = holm([np.nan, 0.02, 0.5])
    assert np.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.04, 0.5])


def test_under_no_difference_holm_finds_one_in_at_most_five_of_a_hundred_families():
    rng = np.random.default_rng(0)
    families = rng.random((2000, 8))
    assert np.mean([min(holm(family)) <= 0.05 for family in families]) == pytest.approx(0.05, abs=0.012)


def test_the_best_other_is_tested_and_neither_is_the_agent():
    names = ("random", "sqrt_counts", "class_presence", "pal", "entropy_sum", "mgral", "mgral_greedy")
    heights = {name: np.array([height, height]) for name, height in zip(names, (1, 2, 3, 5, 4, 9, 8), strict=True)}
    found = list(compared_with(heights))
    assert [name for name, tested in found if tested] == ["random", "sqrt_counts", "class_presence", "pal"]
    assert [name for name, tested in found if not tested] == ["entropy_sum", "mgral"]


def test_where_a_named_one_is_the_best_it_is_tested_once():
    heights = {
        name: np.array([height])
        for name, height in zip(("random", "sqrt_counts", "class_presence"), (1, 7, 3), strict=True)
    }
    found = list(compared_with({**heights, "mgral_greedy": np.array([8.0]), "mgral": np.array([8.0])}))
    assert found == [("random", True), ("sqrt_counts", True), ("class_presence", True), ("mgral", False)]


def test_the_page_is_made_of_the_files_beside_the_sets_pages_and_says_that_seeds_are_missing(tmp_path):
    config = tmp_path / "config.yaml"
    names = ("random", "sqrt_counts", "class_presence", "mgral", "mgral_greedy")
    config.write_text(f"experiment: made\nseeds: [0, 1, 2, 3]\ncycles: 1\nstrategies: [{', '.join(names)}]\n")
    scores = ["map", "ap50", "ap75", "map_small", "map_medium", "map_large"]
    lines = [",".join(["strategy", "cycle", "seed", "images", "boxes", *scores])]
    for place, name in enumerate(names):
        for seed in range(3):
            for cycle in range(2):
                height = 0.2 + 0.1 * cycle + 0.01 * place * cycle + 0.001 * seed * place * cycle
                lines.append(",".join(map(str, [name, cycle, seed, 40 + 40 * cycle, 90 + 99 * cycle, *[height] * 6])))
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "detectors.csv").write_text("\n".join(lines))
    page = tmp_path / "claims.md"
    done = CliRunner().invoke(command, [str(config), "--output", str(page)], catch_exceptions=False)
    assert done.exit_code == 0
    text = page.read_text()
    assert "The protocol has 4 seeds; so far there are 3." in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| made")]
    # Half of 4 x 0.01 and 4 x 0.001 a seed: the area below a straight line.
    assert rows[0][1:4] == ["random", "3", "+2.2"]
    assert [row[1] for row in rows] == ["random", "sqrt_counts", "class_presence", "mgral"]
    assert rows[-1][6] == "–"
