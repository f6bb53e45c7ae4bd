"""The step `lookup` with several reward splits, whose tables are looked up together as strategies do."""

import click
import numpy as np
import pytest
from made_embeddings import made_embeddings

from mgral.artefacts.files import write_json
from mgral.cli.steps.lookup import _load_splits
from mgral.config import EmbeddingConfig, RewardConfig
from mgral.method.fidelity.batches import Candidate
from mgral.method.fidelity.lookups import Split, lookup_everywhere
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.reward import RewardTable
from mgral.method.lut.table import Variant, VariantScores, table_arrays

REWARD, EMBEDDING = RewardConfig(projections=8), EmbeddingConfig()
IDS, VARIANTS = np.arange(60), 6
BATCHES = [(), (50, 51, 52), (53, 54, 55), (56, 57, 58)]
CANDIDATES = [Candidate(number, "random", images) for number, images in enumerate(BATCHES)]


def embeddings():
    rng = np.random.default_rng(0)
    return made_embeddings(IDS, rng.normal(size=(60, 3)), rng.gamma(1.0, size=(60, 2)), counted=IDS[:40])


def variants(seed):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.1, 0.5, size=(VARIANTS + 1, 2)).tolist()
    return [Variant(k, 4 * (k > 0), float(np.mean(of)), 0.5, of) for k, of in enumerate(values)]


def plan(seed):
    rng = np.random.default_rng(seed)
    subsets = [tuple(sorted(rng.choice(30, 4, replace=False).tolist())) for _ in range(VARIANTS)]
    return SubsetPlan("labels", "cold", reward=(38, 39), base=(), subsets=((), *subsets))


SPLITS = [Split(plan(seed), VariantScores.of(variants(seed))) for seed in (1, 2)]


def looked_up(splits):
    return lookup_everywhere(CANDIDATES, splits, {"cycle": embeddings()}, EMBEDDING, REWARD, 0)


def test_one_regression_learns_from_the_variants_of_all_splits():
    (found,) = [of.values for kind, of in looked_up(SPLITS).items() if kind.estimator == "regression"]
    arrays = [table_arrays(one.scores, one.plan, embeddings(), EMBEDDING, REWARD, 0)[0] for one in SPLITS]
    both = LearnedTables.of(arrays, embeddings()).reward(BATCHES[1:])
    first, second = (LearnedTables.of([one], embeddings()).reward(BATCHES[1:]) for one in arrays)
    assert found.tolist() == [pytest.approx(first), pytest.approx(both)]
    assert both != pytest.approx((first + second) / 2, abs=1e-4)


def test_other_rewards_are_means_over_the_tables():
    ids = [one.images for one in CANDIDATES[1:]]
    for kind, found in looked_up(SPLITS).items():
        if kind.estimator == "regression":
            continue
        own = REWARD.model_copy(update={"distance": kind.distance, "estimator": kind.estimator})
        tables = [
            RewardTable.of(table_arrays(one.scores, one.plan, embeddings(), EMBEDDING, own, 0)[0], own)
            for one in SPLITS
        ]
        first, second = (table.lookup(embeddings().features_of(ids, EMBEDDING)) for table in tables)
        assert found.values.tolist() == [pytest.approx(first), pytest.approx((first + second) / 2)]
        assert found.by_prior == (False, False)


def test_variants_go_with_the_plan_beside_them(tmp_path):
    for number, seed in enumerate((1, 2)):
        folder = tmp_path / f"split{number}"
        write_json(folder / "subsets.json", plan(seed).to_json())
        listed = [one._asdict() for one in variants(seed)]
        write_json(folder / "variants0-3.json", {"variants": listed[:4]})
        write_json(folder / "variants4-6.json", {"variants": listed[4:]})
    plans = [tmp_path / f"split{number}" / "subsets.json" for number in (0, 1)]
    files = sorted(tmp_path.glob("split*/variants*.json"), reverse=True)
    for found, wanted in zip(_load_splits(plans, files), SPLITS, strict=True):
        assert found.plan == wanted.plan
        assert found.scores.maps.tolist() == wanted.scores.maps.tolist()
    with pytest.raises(click.UsageError, match=r"no --subsets beside .*split1/variants4-6\.json"):
        _load_splits(plans[:1], files)
