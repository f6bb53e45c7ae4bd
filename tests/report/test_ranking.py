"""The ranking's statistics: against enumeration by hand, scipy, and curves whose answer is known."""

import csv
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fabricated_results import fabricate
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mgral.cli.steps.report import command
from mgral.config import registry, resolve_config
from mgral.report.bootstrap import (
    RESAMPLES,
    Interval,
    percentile_coverage,
    percentile_interval,
    rank_interval,
    resampled_seeds,
    student_interval,
)
from mgral.report.choices import evenness
from mgral.report.labels import LabelsNeeded, counted, first_crossing, needed_in_words
from mgral.report.ranking import beyond_counts, conclusions, rank, ranks_of
from mgral.report.spread import PairedDifference, Spread, points
from mgral.report.styles import BASELINE, METHOD, strategy_styles

# The mean heights of five paired seeds, whose level differs far more between seeds than between strategies.
LEVELS = np.array([0.20, 0.50, 0.30, 0.45, 0.25])


def test_interval_of_three_seeds_is_that_of_all_27_resamples() -> None:
    values = np.array([0.1, 0.4, 0.7])
    means = sorted(sum(drawn) / 3 for drawn in product(values, repeat=3))
    assert len(means) == 27
    # 0.025 x 26 = 0.65 of the way from the lowest (three times 0.1) to the second lowest (0.1, 0.1, 0.4).
    assert percentile_interval(values) == pytest.approx((0.1 + 0.65 * 0.1, 0.7 - 0.65 * 0.1))
    assert percentile_interval(values) == pytest.approx(np.quantile(means, [0.025, 0.975]))


def test_interval_of_many_seeds_is_scipys() -> None:
    values = np.random.default_rng(1).normal(0.3, 0.05, 9)
    known = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=200_000, rng=2).confidence_interval
    assert percentile_interval(values) == pytest.approx((known.low, known.high), abs=0.002)


def test_resamples_are_all_there_are_or_ten_thousand_and_the_same_each_time() -> None:
    assert [len(resampled_seeds(n)) for n in (1, 3, 5, 6, 10)] == [1, 27, 3125, RESAMPLES, RESAMPLES]
    assert len({tuple(row) for row in resampled_seeds(5).tolist()}) == 3125
    assert resampled_seeds(7).max() == 6
    again = resampled_seeds.__wrapped__(7)
    assert (again == resampled_seeds(7)).all()


def test_fewer_than_three_seeds_have_no_interval() -> None:
    assert not percentile_interval(np.array([0.1, 0.2])).known
    assert not student_interval(np.array([0.1, 0.2])).known
    assert PairedDifference.of([0.5, 0.6], [0.4, 0.4]).verdict() == "2 seeds: too few for an interval"
    assert PairedDifference.of([0.5], [0.4]).verdict() == "1 seed: too few for an interval"
    assert not PairedDifference.of([0.5, 0.6], [0.4, 0.4]).clear


def test_students_interval_is_scipys() -> None:
    known = stats.ttest_rel([0.5, 0.6, 0.4], [0.4, 0.45, 0.38]).confidence_interval(0.95)
    assert PairedDifference.of([0.5, 0.6, 0.4], [0.4, 0.45, 0.38]).student == pytest.approx((known.low, known.high))


def test_coverage_is_what_a_simulation_finds() -> None:
    samples = np.random.default_rng(3).standard_normal((1500, 5))
    covered = [low <= 0 <= high for low, high in map(percentile_interval, samples)]
    assert percentile_coverage(5) == pytest.approx(np.mean(covered), abs=0.03)
    assert percentile_coverage(5) < 0.9


def test_what_is_better_on_every_seed_excludes_zero_though_seeds_differ_more() -> None:
    better = LEVELS + np.array([0.010, 0.012, 0.008, 0.011, 0.009])
    difference = PairedDifference.of(better, LEVELS)
    assert difference.bootstrap.low > 0
    assert difference.clear
    # Unpaired, the seeds' levels would drown it.
    assert abs(difference.spread.mean) < 0.1 * LEVELS.std(ddof=1)


def test_identical_strategies_differ_by_nothing() -> None:
    difference = PairedDifference.of(LEVELS, LEVELS)
    assert difference.spread.mean == 0
    assert difference.bootstrap == Interval(0, 0)
    assert difference.verdict() == "no clear difference"


def test_verdict_asks_for_both_intervals() -> None:
    # All three seeds are above 0, and so is every resample; Student's quantile of two degrees of freedom is 4.3.
    difference = PairedDifference.of([0.01, 0.05, 0.09], [0, 0, 0])
    assert difference.bootstrap.excludes_zero
    assert not difference.student.excludes_zero
    assert difference.verdict() == "no clear difference"
    assert difference.interval == (difference.student.low, difference.student.high)


def test_seeds_without_a_score_are_left_out() -> None:
    assert PairedDifference.of([0.5, float("nan"), 0.7, 0.6], [0.4, 0.4, 0.4, 0.4]).spread.n == 3


@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=6))
def test_spread_encloses_its_mean(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.n == sum(value == value for value in values)
    if spread.n:
        assert spread.minimum - 1e-12 <= spread.mean <= spread.maximum + 1e-12
    assert np.isnan(spread.std) == (spread.n < 2)


def test_text_of_numbers() -> None:
    assert [points(0.1234), points(-0.05, sign=True), points(float("nan"))] == ["12.3", "−5.0", "–"]


def test_equal_means_share_the_better_place() -> None:
    assert ranks_of(np.array([0.3, 0.5, 0.3, 0.1, 0.5])).tolist() == [3, 1, 3, 5, 1]
    rows = rank(
        {"random": LEVELS, "entropy_anchors": LEVELS + 0.1, "margin": LEVELS, "mgral": LEVELS + 0.1}, "random"
    )
    assert [(row.strategy, row.rank) for row in rows] == [
        ("entropy_anchors", 1),
        ("mgral", 1),
        ("random", 3),
        ("margin", 3),
    ]
    assert [row.ranks for row in rows] == [(1, 1), (1, 1), (3, 3), (3, 3)]
    assert [row.first_share for row in rows] == [1, 1, 0, 0]


def test_places_over_all_27_resamples_by_hand() -> None:
    # a - b is +3, -1, -1: a is above where it is drawn twice or more often, or once beside two others (3 - 2 > 0).
    rows = {row.strategy: row for row in rank({"a": np.array([3.0, 0, 0]), "b": np.array([0, 1.0, 1.0])}, None)}
    # It is never drawn in 2 x 2 x 2 of the 27 resamples.
    assert rows["a"].first_share == pytest.approx(19 / 27)
    assert rows["b"].first_share == pytest.approx(8 / 27)
    assert rows["a"].ranks == (1, 2)
    assert rank_interval(np.repeat([1, 2, 7], [1, 98, 1])) == (2, 2)


def test_each_is_compared_with_the_best_of_the_others() -> None:
    rows = rank({"random": LEVELS, "margin": LEVELS + 0.2, "mgral": LEVELS + 0.1}, "random")
    assert [(row.strategy, row.best_other) for row in rows] == [
        ("margin", "mgral"),
        ("mgral", "margin"),
        ("random", "margin"),
    ]
    assert rows[0].to_best is not None
    assert rows[0].to_best.spread.mean == pytest.approx(0.1)
    assert rows[2].to_random is None


def test_conclusions_say_plainly_where_mgral_is_not_first_and_what_random_beats() -> None:
    wobble = np.array([0.05, -0.06, 0.02, -0.04, 0.01])
    values = {"mgral": LEVELS - 0.1, "random": LEVELS}
    others = {"entropy_anchors": LEVELS + wobble - 0.001, "margin": LEVELS + 0.02}
    assert conclusions(rank(values | others, "random"), ("mgral",), "random") == [
        "mgral is not first: it is number 4 of 4; margin is 12.00 points of mAP ahead (clearly).",
        "random beats entropy_anchors and mgral on average, clearly only mgral.",
    ]
    assert conclusions(rank({"mgral": LEVELS + 0.1, "random": LEVELS}, "random"), ("mgral",), "random") == [
        "mgral is first, 10.00 points of mAP ahead of random (clearly).",
        "random beats none of the strategies.",
    ]
    assert conclusions(rank({"entropy_anchors": LEVELS}, None), (), None) == []
    assert conclusions(rank({"mgral": LEVELS}, None), ("mgral",), None) == []
    assert conclusions(rank({"entropy_anchors": LEVELS, "margin": LEVELS}, None), (), None) == []


def test_conclusions_are_of_instances_by_their_types_and_of_the_first_few() -> None:
    values = {name: LEVELS + level for name, level in zip("abcd", (0.4, 0.3, 0.2, 0.1), strict=True)}
    sentences = conclusions(rank({**values, "1-a_b": LEVELS}, "1-a_b"), tuple(values), "1-a_b")
    assert [sentence.split()[0] for sentence in sentences] == ["a", "b", "c", "1-a_b"]
    assert sentences[-1] == "1-a_b beats none of the strategies."


def test_how_far_mgral_is_above_counting_is_said_as_a_number() -> None:
    config = resolve_config({"strategies": {"mgral": {}, "counts": {"type": "sqrt_counts"}, "random": {}}})
    by_seed = {"mgral": LEVELS + 0.02, "counts": LEVELS, "random": LEVELS - 0.1}
    assert beyond_counts(by_seed, config) == [
        "mgral is 2.00 points of mAP above counts (95 % of the difference: +2.0 to +2.0): clearly above."
    ]
    worse = beyond_counts(by_seed | {"mgral": LEVELS[:2] - 0.01, "counts": LEVELS[:2]}, config)
    assert worse == ["mgral is 1.00 points of mAP below counts: 2 seeds: too few for an interval."]
    assert beyond_counts(by_seed, resolve_config({"strategies": ["mgral", "random"]})) == []


@pytest.mark.parametrize(
    ("value", "text"), [(1234.4, "+1,234"), (-3.2, "−3"), (0.4, "0"), (-0.4, "0"), (float("nan"), "–")]
)
def test_labels_are_whole_and_nothing_saved_has_no_sign(value: float, text: str) -> None:
    assert counted(value, sign=True) == text


def test_labels_are_interpolated_between_the_points_of_a_curve() -> None:
    labels, scores = np.array([100.0, 200, 300, 400]), np.array([0.1, 0.2, 0.4, 0.5])
    assert first_crossing(labels, scores, 0.3) == pytest.approx(250)
    assert first_crossing(labels, scores, 0.4) == pytest.approx(300)
    assert first_crossing(labels, scores, 0.05) == 100
    assert np.isnan(first_crossing(labels, scores, 0.51))


def test_the_first_crossing_counts_where_a_curve_falls_again() -> None:
    labels, scores = np.array([100.0, 200, 300, 400]), np.array([0.1, 0.5, 0.2, 0.6])
    assert first_crossing(labels, scores, 0.3) == pytest.approx(150)


def test_a_seed_that_never_gets_there_leaves_no_mean_of_the_others() -> None:
    last = np.array([500.0, 520, 510])
    random = np.array([340.0, 340, 340])
    all_there = LabelsNeeded("margin", np.array([300.0, 310, 320]), last, random)
    assert needed_in_words(all_there) == "310 (302 to 318)"
    assert all_there.saved is not None
    assert all_there.saved.spread.mean == 30
    assert np.isnan(all_there.saved_at_most)
    one_missing = LabelsNeeded("margin", np.array([300.0, np.nan, 320]), last, random)
    assert one_missing.saved is None
    assert one_missing.saved_at_most == pytest.approx((40 - 180 + 20) / 3)
    without = LabelsNeeded("margin", np.array([300.0, np.nan, 320]), last, np.array([340.0, np.nan, 340]))
    assert (without.saved, np.isnan(without.saved_at_most)) == (None, True)
    assert one_missing.spread is None
    assert one_missing.interval is None
    assert needed_in_words(one_missing) == "> 520 in 1 of 3 seeds"


def test_evenness_is_one_of_equal_shares_and_zero_of_one_class() -> None:
    shares = np.array([[0.25] * 4, [1, 0, 0, 0], [0.5, 0.5, 0, 0], [np.nan] * 4])
    assert evenness(shares) == pytest.approx([1, 0, 0.5, np.nan], nan_ok=True)


def test_every_instance_has_a_look_of_its_own_by_its_place() -> None:
    names = [f"{kind}-{n}" for kind in registry.strategies() for n in (1, 2)]
    styles = strategy_styles(resolve_config({"strategies": {name: {"type": name[:-2]} for name in names}}))
    assert list(styles) == names
    assert len(set(styles.values())) == len(names)
    assert (styles["mgral-1"], styles["random-1"]) == (METHOD, BASELINE)


def test_an_instance_named_mgral_is_orange_though_it_is_not_the_first() -> None:
    styles = strategy_styles(resolve_config({"strategies": {"paper": {"type": "mgral"}, "mgral": {}, "random": {}}}))
    assert (styles["mgral"], styles["random"]) == (METHOD, BASELINE)
    assert styles["paper"].colour not in (METHOD.colour, BASELINE.colour)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of all strategies, whose curves all pass 90 % of the full score but two of entropy's three."""
    folder = tmp_path_factory.mktemp("results")
    fabricate(folder, seeds=(0, 1, 2), strategies=tuple(registry.strategies()), episodes=4)
    for seed, strategy in product((0, 1, 2), ("full", *registry.strategies())):
        for cycle in (0,) if strategy == "full" else (1, 2):
            place = strategy if strategy == "full" else f"strategies/{strategy}"
            path = folder / f"seed{seed}" / place / f"cycle{cycle}" / "metrics.json"
            metrics = json.loads(path.read_text())
            last = 0.4 if strategy == "entropy_anchors" and seed else 0.5
            metrics["map"] = 0.5 if strategy == "full" else (0.3, last)[cycle - 1]
            path.write_text(json.dumps(metrics))
    arguments = ["--config", folder / "config.yaml", "--results", folder, "--output", folder / "report.html"]
    CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_labels_needed_by_hand(folder: Path) -> None:
    seeds, means = (
        [
            row
            for row in rows_of(folder / "tables" / f"{name}.csv")
            if (row["target"], row["score"]) == ("full", "map")
        ]
        for name in ("labels_needed_in_images", "labels_saved_in_images")
    )
    needed = {(row["strategy"], row["seed"]): row["needed"] for row in seeds}
    mean = {row["strategy"]: row for row in means}
    # 0.45 lies three quarters of the way from 0.3 at 10 images to 0.5 at 14.
    assert float(needed["margin", "1"]) == pytest.approx(13)
    assert [float(mean["margin"][name]) for name in ("needed", "low", "high", "saved")] == pytest.approx(
        [13, 13, 13, 0]
    )
    assert needed["entropy_anchors", "1"] == ""
    assert [mean["entropy_anchors"][name] for name in ("needed", "reached", "saved")] == ["", "1", ""]
    # 14 are bought, where random needs 13.
    assert float(mean["entropy_anchors"]["saved_at_most"]) == pytest.approx((0 - 1 - 1) / 3)
    assert "&gt; 14 in 2 of 3 seeds" in (folder / "report.html").read_text()


def test_mean_heights_by_hand(folder: Path) -> None:
    found = {
        (row["strategy"], row["seed"]): float(row["mean"])
        for row in rows_of(folder / "tables" / "ranking_by_seed.csv")
        if (row["labels"], row["score"]) == ("images", "map")
    }
    first = [json.loads((folder / f"seed{s}/initial/cycle0/metrics.json").read_text())["map"] for s in (0, 1, 2)]
    # Equal steps on the axis of images: half the ends and the whole of the middle.
    assert found["margin", "1"] == pytest.approx((first[1] / 2 + 0.3 + 0.5 / 2) / 2)
    ranking = {
        row["strategy"]: row
        for row in rows_of(folder / "tables" / "ranking.csv")
        if (row["labels"], row["score"]) == ("images", "map")
    }
    assert (ranking["random"]["rank"], ranking["entropy_anchors"]["rank"]) == ("1", str(len(registry.strategies())))
    # Two seeds end 0.1 lower, which is 0.025 of the mean height.
    assert float(ranking["entropy_anchors"]["to_random"]) == pytest.approx(-2 * 0.025 / 3)
    assert ranking["entropy_anchors"]["to_random_clear"] == "False"
    assert float(ranking["margin"]["to_random"]) == 0


def test_costs_by_hand(folder: Path) -> None:
    costs = {row["strategy"]: row for row in rows_of(folder / "tables" / "cost.csv")}
    # Of 40 images 34 and 30 are unlabelled; embeddings are of all 40.
    assert [float(costs[s]["forward_passes_a_cycle"]) for s in ("random", "margin", "core_set", "mgral")] == [
        0, 32, 40, 0
    ]  # fmt: skip
    # A head sees the batches of its detector's training: of 16 images, in 300 steps and 300 (10 / 6)^0.75 = 440.
    assert (costs["margin"]["head_images_a_cycle"], costs["llal"]["head_images_a_cycle"]) == ("0", "5920")
    # In each of two tables five variants learn 1, 2, 2, 3 and 4 of 6 images, the other 2 measure them and variant 0.
    # A variant takes 300 (n / 6)^0.75 steps, of 16 images.
    table, of_paper = rows_of(folder / "tables" / "cost_of_tables.csv")
    assert (table["table"], int(table["tables"]), int(of_paper["tables"])) == ("default", 2, 1)
    assert int(table["images_trained"]) == 2 * 16 * (78 + 2 * 132 + 178 + 221)
    assert int(table["images_seen"]) == 40 + 2 * 6 * 2
    assert (costs["mgral"]["table"], costs["margin"]["table"]) == ("default", "")
    coco = json.loads((folder / "dataset" / "train.json").read_text())
    boxes = [annotation["image_id"] for annotation in coco["annotations"]]
    ends = [
        json.loads((folder / f"seed{s}/strategies/margin/cycle2/labelled.json").read_text())["images"]
        for s in (0, 1, 2)
    ]
    detectors = rows_of(folder / "tables" / "detectors.csv")
    paid = [int(row["boxes"]) for row in detectors if (row["strategy"], row["cycle"]) == ("margin", "2")]
    assert paid == [sum(max(1, boxes.count(i)) for i in end) for end in ends]


def test_class_evenness_of_the_table_is_that_of_the_shares(folder: Path) -> None:
    shares = [
        float(row["chosen_share"])
        for row in rows_of(folder / "tables" / "class_balance.csv")
        if (row["strategy"], row["cycle"], row["seed"]) == ("margin", "1", "2")
    ]
    found = next(
        float(row["chosen_evenness"])
        for row in rows_of(folder / "tables" / "class_evenness.csv")
        if (row["strategy"], row["cycle"], row["seed"]) == ("margin", "1", "2")
    )
    assert found == pytest.approx(stats.entropy(shares) / np.log(len(shares)))
