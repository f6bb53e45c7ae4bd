"""Rankings by images and by boxes, and labels saved at equal mAP, of curves whose answers are known."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mgral.config import resolve_config
from mgral.report.curves import mean_height
from mgral.report.labels import labels_needed
from mgral.report.ranking import RankingRow, rankings
from mgral.report.results import Results

SEEDS = 4
LEVELS = np.array([0.0, 0.2, 0.05, 0.1])
"""Seeds differ more than strategies."""


def results(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]], budget: Any = 10
) -> Results:
    """Return results with the images, boxes and mAP of each strategy's points; AP50 is the same."""
    strategies = {name: {"type": "random" if name == "random" else "margin"} for name in curves}
    # The others need not know the same seeds, and so are shifted by a little of their own.
    own = {name: 0.001 * np.roll([1, -1, 1, -1], place) for place, name in enumerate(curves)}
    config = resolve_config(
        {
            "strategies": strategies,
            "seeds": list(range(SEEDS)),
            "cycles": 2,
            "budget": budget,
            "detector": {"name": "small_ssd"},
        }
    )

    def curve(strategy: str, column: str) -> np.ndarray[Any, Any]:
        images, boxes, scores = curves[strategy]
        if column in ("images", "boxes"):
            return np.tile(np.array(images if column == "images" else boxes, dtype=float), (SEEDS, 1))
        return np.array(scores) + LEVELS[:, None] + own[strategy][:, None]

    full = {score: np.full(SEEDS, 0.9) for score in ("map", "ap50")}
    return cast(Results, SimpleNamespace(config=config, baseline="random", curve=curve, full=full))


def places(rows: Sequence[RankingRow]) -> list[str]:
    return [row.strategy for row in rows]


IMAGES = [10, 20, 30]
RANDOM = (IMAGES, [20, 40, 60], [0.1, 0.2, 0.3])
CROWDED = (IMAGES, [20, 80, 140], [0.1, 0.25, 0.4])
EMPTY = (IMAGES, [20, 30, 40], [0.1, 0.1, 0.1])
"""Images without objects, which teach nothing and cost little."""
HARMFUL = (IMAGES, [20, 50, 80], [0.1, 0.05, 0.0])


def test_mean_height_by_hand() -> None:
    labels, scores = np.array([10.0, 20, 40]), np.array([0.0, 0.4, 0.8])
    assert mean_height(labels, scores, 40) == pytest.approx((10 * 0.2 + 20 * 0.6) / 30)
    # At 30 the curve is at 0.6.
    assert mean_height(labels, scores, 30) == pytest.approx((10 * 0.2 + 10 * 0.5) / 20)
    assert mean_height(labels, scores, 15) == pytest.approx(0.1)


def test_a_cycle_that_pays_nothing_has_no_width() -> None:
    labels, scores = np.array([10.0, 20, 20, 30]), np.array([0.0, 0.2, 0.4, 0.4])
    assert mean_height(labels, scores, 30) == pytest.approx((10 * 0.1 + 10 * 0.4) / 20)
    assert mean_height(labels, scores, 25) == pytest.approx((10 * 0.1 + 5 * 0.4) / 15)


def test_strategies_change_places_between_images_and_boxes() -> None:
    ranked = rankings(results({"random": RANDOM, "crowded": CROWDED}))
    by_images, by_boxes = ranked["images", "map"], ranked["boxes", "map"]
    assert (places(by_images), places(by_boxes)) == (["crowded", "random"], ["random", "crowded"])
    # By images all of both curves; by boxes up to the 60 of random, where the other is at 0.2.
    to_random = {cost: next(r.to_random for r in ranked[cost, "map"] if r.to_random) for cost in ("images", "boxes")}
    assert to_random["images"].spread.mean == pytest.approx(0.25 - 0.2)
    assert to_random["boxes"].spread.mean == pytest.approx(0.15 - 0.2)
    assert to_random["images"].clear
    assert to_random["boxes"].clear


@pytest.mark.parametrize("worse", [EMPTY, HARMFUL], ids=["empty", "harmful"])
@pytest.mark.parametrize("cost", ["images", "boxes"])
def test_what_is_worse_than_random_by_construction_is_below_it(worse: Any, cost: str) -> None:
    rows = rankings(results({"worse": worse, "crowded": CROWDED, "random": RANDOM}))[cost, "map"]
    of = {row.strategy: row for row in rows}
    assert of["worse"].rank == 3
    assert of["worse"].to_random is not None
    assert of["worse"].to_random.spread.mean < 0
    assert of["worse"].to_random.clear
    assert of["worse"].ranks == (3, 3)


def test_a_budget_in_boxes_ranks_by_boxes_first_and_over_the_images_that_all_have() -> None:
    cheap = ([10, 40, 70], [20, 40, 60], [0.1, 0.2, 0.3])
    ranked = rankings(results({"random": RANDOM, "cheap": cheap}, {"unit": "boxes", "amount": 20}))
    assert [cost for cost, _ in ranked] == ["boxes", "boxes", "images", "images"]
    # By boxes the same curves. By images up to 30, where the cheap one is two thirds of the way to 0.2.
    heights = {row.strategy: row.mean.mean - LEVELS.mean() for row in ranked["images", "map"]}
    assert heights == pytest.approx({"random": 0.2, "cheap": (0.1 + 0.1 + 0.1 * 2 / 3) / 2})
    equal = {row.strategy: row.mean.mean for row in ranked["boxes", "map"]}
    assert equal["cheap"] == pytest.approx(equal["random"])


def test_labels_saved_at_the_map_that_random_ends_with_by_hand() -> None:
    made_up = results({"random": RANDOM, "crowded": CROWDED, "empty": EMPTY})
    needed = {
        cost: {line.strategy: line for line in labels_needed(made_up, "map", cost, "random")}
        for cost in ("images", "boxes")
    }
    assert needed["images"]["random"].by_seed == pytest.approx([30] * SEEDS)
    assert needed["images"]["random"].saved is None
    # Random is moved by 0.001 and the other by as much the other way: 0.3 lies a third of the way from 0.25 to 0.4.
    found = needed["images"]["crowded"]
    assert found.by_seed == pytest.approx([20 + 10 * (0.05 + s * 0.002) / 0.15 for s in (1, -1, 1, -1)])
    assert found.saved is not None
    assert found.saved.spread.mean == pytest.approx(30 - 20 - 10 / 3)
    assert found.saved.clear
    by_boxes = needed["boxes"]["crowded"].saved
    assert by_boxes is not None
    assert by_boxes.spread.mean == pytest.approx(60 - (80 + 60 / 3))
    for cost, bound in (("images", 30 - 30), ("boxes", 60 - 40)):
        never = needed[cost]["empty"]
        assert (never.reached, never.saved, never.saved_at_most) == (0, None, pytest.approx(bound))


def test_of_a_falling_curve_the_first_crossing_counts_for_random_too() -> None:
    falling = (IMAGES, [20, 40, 60], [0.1, 0.3, 0.3])
    lines = labels_needed(results({"random": falling, "crowded": CROWDED}), "map", "images", "random")
    assert {line.strategy: line.by_seed[0] for line in lines}["random"] == pytest.approx(20)
