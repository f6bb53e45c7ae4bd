"""What the report says first, of experiments whose answer is known."""

import re
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
from run_workflow import ROOT
from scipy import stats

from mgral.config import resolve_config
from mgral.data.groups import Groups, NearCopy
from mgral.report.curves import lead
from mgral.report.labels import LabelsNeeded
from mgral.report.partial import Missing
from mgral.report.ranking import differences_in_words, rank
from mgral.report.results import Results, notes_of
from mgral.report.spread import PairedDifference
from mgral.report.verdict import Evidence, Verdict, seeds_needed, verdict

NO_SETTINGS = ("groups", "missing", "full", "notes", "tables")
LEVELS = np.array([0.20, 0.50, 0.30, 0.45, 0.25])
WOBBLE = np.array([0.010, -0.012, 0.004, -0.008, 0.012])
"""Differences of paired seeds, of mean 0.0012."""


def said(
    values: Mapping[str, Any],
    others: Mapping[str, Any] | None = None,
    needed: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Verdict:
    """Return the verdict on heights of curves by strategy, [seeds], and by the other labels where they differ."""
    arrays = {name: np.array(of) for name, of in values.items()}
    seeds = len(next(iter(arrays.values())))
    kinds = {name: {"type": "random" if name == "random" else name} for name in values}
    config = resolve_config(
        {"strategies": {**kinds, **settings.pop("strategies", {})}, "seeds": list(range(seeds))}
        | {"detector": {"name": "small_ssd"}}
        | {key: value for key, value in settings.items() if key not in NO_SETTINGS}
    )
    random = "random" if "random" in values else None
    costs = ("boxes", "images") if isinstance(settings.get("budget"), Mapping) else ("images", "boxes")
    ranked = dict(zip(costs, (rank(of, random) for of in (arrays, dict(others or arrays))), strict=True))
    given = {name: np.array((needed or {}).get(name, [100.0] * seeds)) for name in values}
    last = np.full(seeds, 160.0)
    labels = {
        name: LabelsNeeded(name, of, last, None if name == "random" else given["random"])
        for name, of in given.items()
        if random
    }
    full = np.full(seeds, settings.get("full", 0.6))
    notes, tables = settings.get("notes", {}), settings.get("tables", {})
    more = settings.get("groups"), settings.get("missing")
    return verdict(Evidence(config, ranked, labels, full, notes, tables, *more))


def test_a_clear_winner_is_to_be_used() -> None:
    found = said(
        {"mgral": LEVELS + 0.02 + WOBBLE / 4, "random": LEVELS, "sqrt_counts": LEVELS + 0.001 + WOBBLE},
        needed={"mgral": [80.0, 85, 90, 80, 85]},
    )
    assert found.headline == (
        "mgral is clearly above random, by 2.0 points of mAP (95 % interval +1.7 to +2.4, 5 seeds)."
    )
    assert found.more[0].startswith(
        "Compared with sqrt_counts, the simple baseline that only counts objects: clearly above, +1.8 points (+0."
    )
    assert found.saved.startswith(
        "Labels saved: for the final mAP of random, mgral needs 84 images and random 100. That is 16 fewer "
        "(95 % interval +11 to +21 saved: clearly fewer"
    )
    (step,) = found.steps
    assert step.text.startswith("Use it to choose which of your own pictures to label, with the name of their folder")
    assert step.command.endswith("--budget 300 --strategy mgral")
    assert not re.search("FILE|FOLDER", step.command)


def test_no_clear_difference_says_how_many_seeds_one_would_need() -> None:
    found = said({"mgral": LEVELS + WOBBLE, "random": LEVELS})
    assert found.headline.startswith(
        "No clear difference between mgral and random: +0.1 points of mAP (95 % interval −"
    )
    assert found.more[0] == "The simple baseline, sqrt_counts, was not run: add it to strategies."
    assert "That is 0 fewer (95 % interval 0 to 0 saved: no clear difference)" in found.saved
    (step,) = found.steps
    assert "more than 100 seeds are needed (a rough estimate from the spread of 5 paired differences)" in step.text
    larger = said({"mgral": LEVELS + 0.008 + WOBBLE, "random": LEVELS}).steps[0]
    assert larger.text.startswith(
        "About 13 seeds would show a difference of this size four times in five (a rough estimate "
    )
    assert larger.command.endswith('--config "seeds=[0,1,2,3,4,5,6,7,8,9,10,11,12]"')


def test_seeds_needed_are_those_of_which_four_in_five_experiments_are_clear() -> None:
    wanted = seeds_needed(PairedDifference.of(WOBBLE + 0.008, 0 * WOBBLE))
    assert wanted is not None
    effect, deviation = float((WOBBLE + 0.008).mean()), float(WOBBLE.std(ddof=1))
    for seeds, low, high in ((wanted, 0.78, 1), (wanted - 2, 0, 0.8)):
        trials = np.random.default_rng(0).normal(effect, deviation, (4000, seeds))
        assert low < (stats.ttest_1samp(trials, 0, axis=1).pvalue < 0.05).mean() < high
    assert seeds_needed(PairedDifference.of(LEVELS, LEVELS)) is None


def test_too_few_seeds_give_no_verdict_and_the_command_for_more() -> None:
    two = said({"mgral": LEVELS[:2] + 0.02, "random": LEVELS[:2]})
    assert two.headline == (
        "Too few seeds for a verdict: mgral is 2.0 points of mAP above random in the mean of 2 seeds."
    )
    assert two.saved.endswith("That is 0 fewer (2 seeds: too few for an interval).")
    assert two.steps[0].command.endswith(
        'mgral snakemake --cores all --configfile results/synthetic/config.yaml --config "seeds=[0,1,2,3,4]"'
    )
    one = said({"mgral": LEVELS[:1] - 0.02, "random": LEVELS[:1]}, experiment="mine")
    assert one.headline == "Too few seeds for a verdict: mgral is 2.0 points of mAP below random in one seed."
    assert " --configfile results/mine/config.yaml " in one.steps[0].command


def test_in_a_clone_commands_are_paths_from_the_working_directory(monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv" / "bin" / "python"))
    for folder, start in ((ROOT, ""), (ROOT / "docs", "../")):
        monkeypatch.chdir(folder)
        for values in ({"mgral": LEVELS[:2]}, {"mgral": LEVELS + 0.02}):
            step = said({**values, "random": LEVELS[: len(values["mgral"])]}).steps[0]
            assert step.command.startswith(f"{start}.venv/bin/mgral ")


def test_the_first_screen_says_when_tables_were_not_used_and_what_they_cost() -> None:
    values = {"mgral_greedy": LEVELS + 0.02, "random": LEVELS}
    notes = {"mgral_greedy": ["", "the tables predict nothing, so images decide", "the tables predict nothing"]}
    found = said(values, notes=notes, tables={"mgral_greedy": 10.96})
    assert found.unused == "In 2 of 3 rounds the tables predict nothing, so images decide."
    assert "Its lookup tables train on as many images as 11.0 detectors of cycle 0." in found.more
    silent = said(values, notes={"mgral_greedy": ["", ""], "random": ["x"]})
    assert silent.unused == ""
    assert "tables" not in " ".join(silent.more)


def test_what_the_simple_baseline_saves_stands_beside() -> None:
    values = {"mgral": LEVELS + 0.02, "random": LEVELS, "sqrt_counts": LEVELS + 0.01}
    needed = {"mgral": [80.0, 85, 90, 80, 85], "sqrt_counts": [90.0, 95, 90, 90, 95]}
    assert said(values, needed=needed).saved.endswith(" sqrt_counts, the simple baseline, saves 8.")


def test_what_is_worse_than_random_is_not_to_be_used() -> None:
    found = said({"mgral": LEVELS - 0.02 + WOBBLE / 4, "random": LEVELS}, needed={"mgral": [np.nan] * 5})
    assert found.headline.startswith("mgral is clearly below random, by 2.0 points of mAP")
    assert found.saved == "Labels saved: none. mgral reaches the final mAP of random in no seed."
    assert [step.text for step in found.steps] == [
        "Do not use mgral on data like these: random is better and costs nothing."
    ]
    with_better = said({"mgral": LEVELS - 0.02, "random": LEVELS, "margin": LEVELS + 0.02})
    assert with_better.more[1].startswith(
        "mgral is number 3 of 3; compared with margin, the best other: clearly below, −4.0"
    )
    assert (
        with_better.more[2] == "margin was chosen as the best of 3 by the same seeds: its lead may be partly chance."
    )
    assert with_better.steps[0].text.startswith("Use margin, which is clearly above random,")


def test_labels_saved_have_a_bound_where_some_seeds_never_reach_random() -> None:
    found = said({"mgral": LEVELS[:3], "random": LEVELS[:3]}, needed={"mgral": [20.0, 30, np.nan]})
    # Random needs 100 in each seed, and the last seed at least 160: (80 + 70 - 60) / 3.
    assert found.saved == (
        "Labels saved: at most 30 images. mgral reaches the final mAP of random in only 2 of 3 seeds."
    )


def test_a_difference_that_rounds_to_zero_is_none() -> None:
    for tiny in (-0.0004, 0.0, 0.0004):
        few = said({"mgral": LEVELS[:2] + tiny, "random": LEVELS[:2], "sqrt_counts": LEVELS[:2]})
        assert few.headline == (
            "Too few seeds for a verdict: no difference between mgral and random in the mean of 2 seeds."
        )
        assert few.more[0].endswith("only counts objects: no difference.")
    even = WOBBLE - WOBBLE.mean()
    found = said({"mgral": LEVELS + even - 0.0002, "random": LEVELS, "sqrt_counts": LEVELS})
    assert found.headline.startswith("No difference between mgral and random in the mean (95 % interval −")
    assert "only counts objects: no difference (−" in found.more[0]
    sure = said({"mgral": LEVELS + 0.0003, "random": LEVELS, "sqrt_counts": LEVELS})
    assert sure.headline == (
        "mgral is clearly above random, by less than 0.1 points of mAP (95 % interval 0.0 to 0.0, 5 seeds)."
    )
    assert "clearly above, less than 0.1 points (0.0 to 0.0)" in sure.more[0]


def test_a_detector_that_learnt_nothing_has_no_verdict_and_is_to_be_trained_longer() -> None:
    values = {"mgral": LEVELS[:2] / 100, "random": LEVELS[:2] / 90}
    missing = Missing({1: "a file"}, {}, {})
    found = said(values, full=0.0199, missing=missing, data={"format": "coco", "root": "there"})
    assert found.headline.startswith("The detector has learnt almost nothing: its mAP with all labels is 2.0 %.")
    assert found.steps[0].command == ""
    assert found.steps[1].command.endswith("mgral data --configfile results/synthetic/config.yaml")
    assert found.steps[0].text.startswith("Train longer: raise iterations.detector")
    assert "seed" not in " ".join([found.headline, found.saved, *(step.text for step in found.steps)])
    assert found.more == ()
    assert len(said(values, full=0.0199).steps) == 1  # labels of synthetic images are right
    assert said(values, full=0.02).headline.startswith("Too few seeds")
    assert said(values, full=np.nan).headline.startswith("Too few seeds")


def test_without_random_or_another_there_is_nothing_to_compare() -> None:
    alone = said({"mgral": LEVELS})
    assert alone.headline == (
        "No verdict: only mgral was run, so there is nothing to compare it with; its curve has a mean mAP of 34.0 %."
    )
    assert alone.saved.startswith("Labels saved compared with random: unknown")
    assert alone.steps[0].text.startswith("Run random too")
    random = said({"random": LEVELS})
    assert random.steps[0].text.startswith("Run the strategy that you want to try too")
    two = said({"mgral": LEVELS + 0.01, "margin": LEVELS})
    assert two.headline.startswith("Random was not run. mgral is clearly above margin, by 1.0 points")


def test_scores_that_are_missing_are_no_verdict() -> None:
    nothing = np.full(5, np.nan)
    found = said({"mgral": nothing, "random": nothing}, needed={"mgral": nothing, "random": nothing})
    assert found.headline == "No verdict: mgral has no mAP, because the test images have no boxes to score."
    assert found.more == ()
    assert found.saved == "Labels saved: unknown, because random has no final mAP in some seeds."
    assert found.steps[0].text.startswith("Check the labels of the test images")
    some = np.where([True, True, True, True, False], LEVELS + 0.02 + WOBBLE / 4, np.nan)
    assert "4 seeds)" in said({"mgral": some, "random": LEVELS}).headline


def test_without_a_method_under_test_the_best_is_spoken_of_and_called_lucky() -> None:
    found = said({"random": LEVELS, "margin": LEVELS + 0.01, "entropy_anchors": LEVELS + 0.02})
    assert found.headline.startswith("entropy_anchors is clearly above random")
    assert (
        "entropy_anchors was chosen as the best of 3 by the same seeds: its lead may be partly chance." in found.more
    )


def test_of_many_strategies_the_method_has_its_place() -> None:
    names = [f"m{place}" for place in range(29)]
    many = {name: LEVELS + 0.01 + 0.001 * place for place, name in enumerate(names)}
    found = said(
        {**many, "mgral": LEVELS + 0.0155, "random": LEVELS}, strategies={n: {"type": "margin"} for n in names}
    )
    assert "mgral is number 24 of 31; compared with m28, the best other: clearly below" in found.more[1]
    assert found.others == ("random", "m28")


def test_a_budget_in_boxes_is_judged_by_boxes_and_the_images_are_named_where_they_differ() -> None:
    budget = {"unit": "boxes", "amount": 20}
    values = {"mgral": LEVELS + WOBBLE, "random": LEVELS}
    other = {"mgral": LEVELS + 0.02, "random": LEVELS}
    found = said(values, other, budget=budget)
    assert found.headline.startswith("No clear difference between mgral and random")
    assert (
        found.more[-1]
        == "By labelled images it is different: compared with random, clearly above, +2.0 points (+2.0 to +2.0)."
    )
    assert " 100 boxes " in found.saved
    assert "different" not in " ".join(said(values, budget=budget).more)
    few, below = ({"mgral": LEVELS[:2] + added, "random": LEVELS[:2]} for added in (0.02, -0.01))
    assert said(few, below).more[-1] == "By labelled boxes it is different: compared with random, −1.0 points."
    assert "different" not in " ".join(said(few).more)


def test_what_is_wrong_comes_first_of_what_to_do() -> None:
    groups = Groups((), (NearCopy(1, 2, 0.5),), 20, 0)
    missing = Missing({1: "a file"}, {"margin": "a file", "ppal": "a file"}, {})
    found = said({"mgral": LEVELS + 0.02, "random": LEVELS}, groups=groups, missing=missing)
    assert [step.link for step in found.steps] == ["partial", "data", ""]
    assert found.steps[0].text.startswith(
        "Finish the experiment: this is a partial report, without 2 strategies and 1 seed."
    )
    assert "1 of 20 test images have one in training" in found.steps[1].text
    assert found.steps[2].text.startswith("Use it")


def test_a_replay_is_gone_on_with_by_its_own_commands() -> None:
    data = {"format": "coco", "root": "replay2/data"}
    few = said({"mgral": LEVELS[:2], "random": LEVELS[:2]}, experiment="replay2", data=data)
    assert few.steps[0].command.endswith("mgral project replay --seeds 5")
    clear = said({"mgral": LEVELS + 0.02, "random": LEVELS}, experiment="replay2", data=data)
    assert clear.steps[0].text.endswith("in project.yaml, strategy: mgral")


def test_where_a_curve_lies_above_another_by_hand() -> None:
    labels = np.array([10.0, 20, 30, 40])
    random = np.array([0.1, 0.2, 0.3, 0.4])
    assert lead(labels, np.array([0.1, 0.15, 0.35, 0.5]), labels, random) == (1, 30)
    assert lead(labels, np.array([0.1, 0.25, 0.35, 0.5]), labels, random) == (1, 20)
    assert lead(labels, np.array([0.1, 0.25, 0.35, 0.3]), labels, random) == (-1, 40)
    assert lead(labels, random, labels, random) == (0, 40)
    # At 25, where the other curve ends, it is above: there random is at 0.25.
    assert lead(labels, random, np.array([10.0, 25]), np.array([0.1, 0.2])) == (1, 20)


def test_differences_are_named_by_what_is_clear() -> None:
    values = {"random": LEVELS, "margin": LEVELS + 0.02, "ppal": LEVELS - 0.02, "core_set": LEVELS + WOBBLE}
    assert differences_in_words(rank(values, "random"), "random") == (
        "Clearly above random: margin; clearly below random: ppal; no clear difference: 1 more."
    )
    equal = {"random": LEVELS, "margin": LEVELS + WOBBLE}
    assert differences_in_words(rank(equal, "random"), "random") == "No strategy is clearly above or below random."
    few = {name: of[:2] for name, of in values.items()}
    assert differences_in_words(rank(few, "random"), "random") == (
        "1 of 3 are above random on average; there are too few seeds for a conclusion."
    )


def test_rounds_that_were_drawn_at_random_are_noted_too():
    batches = pd.DataFrame(
        {"strategy": ["mgral"] * 3, "note": [None, "by counts", None], "reason": ["no table", None, None]}
    )
    found = notes_of(cast(Results, SimpleNamespace(batches=batches)))
    assert found == {"mgral": ["the batch was drawn at random: no table", "by counts", ""]}
