"""The step `fidelity`: correlations, the noise ceiling, and the page."""

import csv
import shutil

import numpy as np
import pytest
from scipy.stats import spearmanr

from mgral.artefacts.files import read_csv, read_json, write_csv, write_json
from mgral.cli.main import mgral
from mgral.cli.steps.lookup import COLUMNS
from mgral.config import Config, load_config, resolve_config
from mgral.errors import InputError
from mgral.method.fidelity.correlation import fidelity, noise_ceiling, spearman
from mgral.method.fidelity.lookups import NO_TABLE, LookupKind
from mgral.report.fidelity_trials import configured_kind, load_trial

KINDS = [
    configured_kind(Config()),
    LookupKind("consistency", "warm", "cycle", "exact", "nearest"),
    LookupKind("consistency", "cold", "initial", "sliced", "kernel"),
]
COUNTED = LookupKind(NO_TABLE, "", "cycle", "", "total_objects")
EVERY_KIND = {"cycle": 1, "batches": 12, "repeats": 3, "tables": "all"}
TABLES = resolve_config({"fidelity": EVERY_KIND}).fidelity_tables()
BATCHES, REPEATS = EVERY_KIND["batches"], EVERY_KIND["repeats"]


def fabricate(folder, seeds=(0, 1), counted=0.0, by_prior=False):
    """Write trials in which the second kind of lookup knows the truth, the first some, the third its opposite.

    They know it by all three tables together; by fewer they rank batches by their numbers. A reward without a table
    is 500 and the truth times `counted`. One half of the batches is drawn at random, and the other chosen.
    """
    config = {"seeds": list(seeds), "fidelity": EVERY_KIND, "lut": {"splits": 3, "variants_per_job": 18}}
    write_json(folder / "config.yaml", config)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=BATCHES)
        place = folder / f"seed{seed}" / "fidelity" / "cycle1"
        gains = [{"batch": 0, "map": [0.2] * REPEATS}]
        for batch in range(BATCHES):
            noisy = 0.3 + 0.02 * truth[batch] + 0.004 * rng.normal(size=REPEATS)
            gains.append({"batch": batch + 1, "map": noisy.tolist()})
        place.mkdir(parents=True)
        write_json(place / "gains0-5.json", {"gains": gains[:6]})
        write_json(place / "gains6-11.json", {"gains": gains[6:12]})
        write_json(place / "gains12-12.json", {"gains": gains[12:]})
        sources = [None, *["random", "mixture"] * (BATCHES // 4), *["core_set", "k_means"] * (BATCHES // 4)]
        batches = [{"batch": b, "source": one, "images": [b] * (b > 0)} for b, one in enumerate(sources)]
        write_json(place / "candidates.json", {"batches": batches})
        said = [truth + 1.5 * rng.normal(size=BATCHES), truth, -truth]
        values = (500 + counted * truth).tolist()
        alone = [
            {**COUNTED._asdict(), "splits": 0, "batch": b, "looked_up": v, "by_prior": False}
            for b, v in enumerate(values, start=1)
        ]
        for table, kind, values in zip(TABLES[: len(KINDS)], KINDS, said, strict=True):
            rows = [
                {**kind._asdict(), "splits": splits, "batch": b, "looked_up": v + error * b, "by_prior": by_prior}
                for splits, error in ((1, -5), (2, 5), (3, 0))
                for b, v in enumerate(values.tolist(), start=1)
            ]
            write_csv(place / table / "lookups.csv", [*rows, *alone], COLUMNS)
        for table in TABLES[len(KINDS) :]:
            write_csv(place / table / "lookups.csv", alone, COLUMNS)


def run(folder):
    paths = ["--config", folder / "config.yaml", "--results", folder, "--output", folder / "fidelity" / "report.html"]
    mgral(["fidelity", *map(str, paths)], standalone_mode=False)


def test_spearman_is_scipys_with_ties_and_along_rows():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, (2, 6, 15)).astype(float)
    expected = [spearmanr(one, other).statistic for one, other in zip(first, second, strict=True)]
    assert spearman(first, second).tolist() == pytest.approx(expected)
    assert spearman(np.ones(5), np.arange(5.0)) == 0


def test_a_reversed_ranking_has_a_fidelity_of_minus_one_and_seeds_are_averaged():
    gains = [np.arange(10.0), np.arange(10.0)]
    found = fidelity([-gains[0], gains[1]], gains, seed=0)
    assert found.by_seed == pytest.approx((-1, 1))
    assert found.mean == pytest.approx(0)
    same = fidelity(gains, gains, seed=0)
    assert (same.mean, same.high) == pytest.approx((1, 1))
    assert same.low > 0.99


def test_the_ceiling_by_hand():
    order = np.arange(5.0)
    assert noise_ceiling(np.stack([order, order])) == pytest.approx(1)
    assert noise_ceiling(np.stack([order, -order])) == 0
    # Ranks 0 1 2 3 4 and 0 2 4 1 3 correlate by 1 - 6 (0 + 1 + 4 + 4 + 1) / 120 = 0.5; of two repeats 2 r / (1 + r).
    assert noise_ceiling(np.stack([order, [0.0, 2.0, 4.0, 1.0, 3.0]])) == pytest.approx(np.sqrt(2 * 0.5 / 1.5))


def test_the_ceiling_is_what_the_truth_itself_reaches():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(200, 60))
    noisy = truth[:, None] + rng.normal(size=(200, 3, 60))
    reached = spearman(truth, noisy.mean(axis=1)).mean()
    assert np.mean([noise_ceiling(one) for one in noisy]) == pytest.approx(reached, abs=0.02)


def test_the_page_says_how_large_a_batch_is_of_either_budget(tmp_path):
    fabricate(tmp_path)
    config = read_json(tmp_path / "config.yaml")
    for budget, words in (
        (40, "12 batches of 40 images, from"),
        ({"unit": "boxes", "amount": 9}, "as strategies are asked for with a budget of 9 boxes, from"),
    ):
        write_json(tmp_path / "config.yaml", config | {"budget": budget})
        run(tmp_path)
        assert words in (tmp_path / "fidelity" / "report.html").read_text()


def test_the_page_ranks_kinds_of_look_up_and_names_the_configured_one(tmp_path):
    fabricate(tmp_path)
    run(tmp_path)
    with (tmp_path / "fidelity" / "tables" / "fidelity.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [LookupKind(*(row[name] for name in LookupKind._fields)) for row in rows] == [
        KINDS[1],
        KINDS[0],
        COUNTED,
        KINDS[2],
    ]
    assert [row["configured"] for row in rows] == ["False", "True", "False", "False"]
    best, ceiling = float(rows[0]["spearman"]), float(rows[0]["ceiling"])
    assert best > 0.9
    assert 0.9 < ceiling <= 1
    assert float(rows[0]["low"]) > 0.5
    page = (tmp_path / "fidelity" / "report.html").read_bytes()
    assert b"(configured)" in page
    run(tmp_path)
    assert (tmp_path / "fidelity" / "report.html").read_bytes() == page
    with (tmp_path / "fidelity" / "tables" / "splits.csv").open(newline="") as file:
        splits = {(row["seed"], row["splits"]): float(row["spearman"]) for row in csv.DictReader(file)}
    # One table ranks batches by their numbers, downwards, and two together upwards.
    assert (splits["0", "3"] + splits["1", "3"]) / 2 == pytest.approx(float(rows[1]["spearman"]))
    for seed in ("0", "1"):
        assert splits[seed, "1"] == pytest.approx(-splits[seed, "2"])
        assert splits[seed, "1"] != pytest.approx(splits[seed, "3"])
    gains = (tmp_path / "fidelity" / "tables" / "gains.csv").read_text().splitlines()
    assert len(gains) == 1 + 2 * BATCHES * REPEATS


def test_a_reward_without_a_table_can_be_the_best(tmp_path):
    fabricate(tmp_path, counted=1)
    for path in tmp_path.glob(f"seed*/fidelity/cycle1/{TABLES[1]}/lookups.csv"):
        write_csv(path, [row for row in read_csv(path) if row["labels"] == NO_TABLE], COLUMNS)
    run(tmp_path)
    page = (tmp_path / "fidelity" / "report.html").read_text()
    assert "Best: no table, cycle, total objects" in page
    values = [float(row["looked_up"]) for row in read_csv(tmp_path / "fidelity" / "tables" / "looked_up_best.csv")]
    assert 490 < min(values) < max(values) < 510


def test_gains_that_are_missing_are_an_error(tmp_path):
    fabricate(tmp_path, seeds=(0,))
    place = tmp_path / "seed0" / "fidelity" / "cycle1"
    (place / "gains0-5.json").unlink()
    with pytest.raises(InputError, match=r"gains0-5\.json"):
        load_trial(place, load_config(tmp_path / "config.yaml"))


def test_look_ups_in_other_than_all_tables_are_an_error(tmp_path):
    fabricate(tmp_path, seeds=(0,))
    place = tmp_path / "seed0" / "fidelity" / "cycle1"
    config = load_config(tmp_path / "config.yaml")
    with pytest.raises(InputError, match="not of batches 1 to 12 in 2 tables"):
        load_trial(place, config.model_copy(update={"lut": config.lut.model_copy(update={"splits": 2})}))
    path = place / TABLES[1] / "lookups.csv"
    content = path.read_text()
    path.write_text(content.replace("exact,nearest,2,7,", "exact,nearest,2,6,"))
    with pytest.raises(InputError, match="not of batches 1 to 12 in 3 tables"):
        load_trial(place, config)
    path.unlink()
    with pytest.raises(InputError, match=f"{TABLES[1]}/lookups.csv"):
        load_trial(place, config)


def test_files_of_earlier_settings_are_not_read(tmp_path):
    fabricate(tmp_path, seeds=(0,))
    place, config = tmp_path / "seed0" / "fidelity" / "cycle1", load_config(tmp_path / "config.yaml")
    before = load_trial(place, config)
    shutil.copytree(place / TABLES[1], place / "0a1b2c3d")
    for stale in ("gains0-0.json", "gains6-8.json", "gains13-24.json"):
        write_json(place / stale, {"gains": [{"batch": int(stale[5:].split("-")[0]), "map": [0.9]}]})
    after = load_trial(place, config)
    assert after.looked_up(KINDS[1]).tolist() == before.looked_up(KINDS[1]).tolist()
    assert after.gains.tolist() == before.gains.tolist()


@pytest.mark.parametrize("by_prior", [True, False])
def test_the_page_says_where_the_tables_did_not_pass_their_test(tmp_path, by_prior):
    fabricate(tmp_path, by_prior=by_prior)
    run(tmp_path)
    page = (tmp_path / "fidelity" / "report.html").read_text()
    assert ("In 2 of 2 seeds the tables did not pass their permutation test" in page) == by_prior
